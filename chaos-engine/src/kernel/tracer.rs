//! Programs in front of functions of the kernel (`fmod_ret`, kernel 5.7).
//!
//! aya has no such program type, so this takes the object apart with `aya_obj` and makes the
//! bpf(2) calls itself; aya's [`aya::programs::FEntry`] is the closest relative. Each program is
//! loaded once for each function, with constants that say what it stands for there. Nothing is pinned: a link is a file
//! descriptor, and closing it detaches.

mod calls;

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::LazyLock,
};

use aya::maps::{Map, MapData};
use aya_obj::{Function, Object, ProgramSection, btf::BtfFeature};
use chaos_ebpf_common::{
    object::{CALL_GUARD_ACCESS, CALL_GUARD_OPEN},
    tables::{COMPAT, NO_CALL, NUMBERS},
};
use chaos_plan::{Attachment, Backend, attachment, compat_numbers};

use self::calls::{constants, count_runs, load, load_btf, open_link, open_map};
use super::{
    KernelError,
    at_function::{AtFunction, Attached},
    btf::{Functions, Offsets},
};

/// Section of the constants, and the map they are in.
const CONSTANTS: &str = ".rodata";

static FUNCTIONS: LazyLock<io::Result<Functions>> = LazyLock::new(Functions::of_the_kernel);
static COMPAT_NUMBERS: LazyLock<[u16; COMPAT]> = LazyLock::new(compat_numbers);

/// The functions of this kernel that calls can be answered at.
pub(super) fn functions() -> Result<&'static Functions, &'static io::Error> {
    FUNCTIONS.as_ref()
}

/// The object and its maps, for programs that aya can't load.
pub(super) struct Tracer {
    /// Without the programs that aya loads.
    object: Object,
    btf: OwnedFd,
    maps: Vec<(String, OwnedFd)>,
    /// What was linked before: one program serves many functions.
    linked: Vec<(Attachment, Role, Linked)>,
    /// Whether the kernel asks BPF security modules; not known before it was tried.
    modules_act: Option<bool>,
}

/// How a program is put in front of a function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `fmod_ret`.
    ModifyReturn,
    /// `lsm`.
    Module,
}

/// What a program does there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Both,
    /// It looks at paths.
    Looks,
    Decides,
}

/// How security functions begin, and what the hooks of the BPF security module are called.
const SECURITY: &str = "security_";
pub(super) const MODULE: &str = "bpf_lsm_";

/// Functions whose modules are asked for something else than an errno.
const NOT_BY_MODULE: [&str; 1] = ["vm_enough_memory_mm"];

/// A program with its maps and its constants, ready to be loaded.
struct Linked {
    name: &'static str,
    function: Function,
    license: CString,
    /// The instructions name this map by its descriptor until they are loaded.
    _constants: OwnedFd,
}

impl Tracer {
    /// `maps` are those of the loaded object, by name, with their ids. Needs CAP_SYS_ADMIN.
    pub(super) fn new(object: &[u8], maps: &[(String, u32)]) -> Result<Self, KernelError> {
        let mut object = Object::parse(object).map_err(|error| broken(&error))?;
        let btf = object
            .fixup_and_sanitize_btf(|| Some(is_old_enough))
            .map_err(|error| broken(&error))?
            .ok_or_else(|| broken(&"it has no type information"))?
            .to_bytes();
        let foreign: Vec<String> = object
            .programs
            .iter()
            .filter(|(_, program)| !matches!(program.section, ProgramSection::FEntry { .. }))
            .map(|(name, _)| name.clone())
            .collect();
        for name in foreign {
            let program = object.programs.remove(&name);
            program.and_then(|program| object.functions.remove(&program.function_key()));
        }
        (object.btf, object.btf_ext) = (None, None);
        let btf = load_btf(&btf)
            .map_err(|source| KernelError::Call { call: "bpf(BPF_BTF_LOAD)", source })?;
        let maps = maps
            .iter()
            .map(|(name, id)| Ok((name.clone(), open_map(*id)?)))
            .collect::<io::Result<_>>()
            .map_err(|source| KernelError::Call { call: "bpf(BPF_MAP_GET_FD_BY_ID)", source })?;
        Ok(Self { object, btf, maps, linked: Vec::new(), modules_act: None })
    }

    /// Puts a program in front of a function; where a BPF security module is asked there, one that is never left out.
    pub(super) fn attach(
        &mut self,
        function: &str,
        attachment: &Attachment,
    ) -> Result<AtFunction, KernelError> {
        match self.module_hook(function) {
            Some(hook) => match self.attach_module(function, &hook, attachment) {
                Ok(attached) => Ok(attached),
                // There are hooks that take no program.
                Err(_) => self.attach_alone(function, attachment),
            },
            None => self.attach_alone(function, attachment),
        }
    }

    fn attach_alone(
        &mut self,
        function: &str,
        attachment: &Attachment,
    ) -> Result<AtFunction, KernelError> {
        let program = self.attach_as(Kind::ModifyReturn, function, attachment, Role::Both)?;
        Ok(AtFunction { decides: program, looks: None })
    }

    fn attach_module(
        &mut self,
        function: &str,
        hook: &str,
        attachment: &Attachment,
    ) -> Result<AtFunction, KernelError> {
        let asks_for_paths = [CALL_GUARD_OPEN, CALL_GUARD_ACCESS].contains(&attachment.program);
        let looks = if asks_for_paths {
            let role = Role::Looks;
            Some(self.attach_as(Kind::ModifyReturn, function, attachment, role)?)
        } else {
            None
        };
        let decides = self.attach_as(Kind::Module, hook, attachment, Role::Decides)?;
        Ok(AtFunction { decides, looks })
    }

    /// The hook of security modules that a security function asks, if BPF is among those that are asked.
    fn module_hook(&mut self, function: &str) -> Option<String> {
        let name = function.strip_prefix(SECURITY)?;
        if NOT_BY_MODULE.contains(&name) {
            return None;
        }
        let hook = format!("{MODULE}{name}");
        functions().ok()?.id(&hook)?;
        let acts = match self.modules_act {
            Some(acts) => acts,
            None => {
                let acts = self.try_module().unwrap_or(false);
                self.modules_act = Some(acts);
                acts
            }
        };
        acts.then_some(hook)
    }

    /// Whether the kernel asks a BPF security module: `lsm=` may leave it out, and a program can be attached all the
    /// same.
    fn try_module(&mut self) -> Result<bool, KernelError> {
        let (function, hook) = ("security_file_open", "bpf_lsm_file_open");
        let Some(attachment) = attachment(Backend::Security, function) else { return Ok(false) };
        // Programs are counted as long as this is there (kernel 5.8).
        let _counting = count_runs()
            .map_err(|source| KernelError::Call { call: "bpf(BPF_ENABLE_STATS)", source })?;
        let attached = self.attach_as(Kind::Module, hook, &attachment, Role::Decides)?;
        for _ in 0..3 {
            // Whatever it says: it has been asked about.
            drop(std::fs::File::open("/proc/self/stat"));
        }
        let info = attached.info();
        let info = info
            .map_err(|source| KernelError::Call { call: "bpf(BPF_OBJ_GET_INFO_BY_FD)", source })?;
        Ok(info.run_cnt > 0)
    }

    fn attach_as(
        &mut self,
        kind: Kind,
        function: &str,
        attachment: &Attachment,
        role: Role,
    ) -> Result<Attached, KernelError> {
        let known = functions().map_err(|error| KernelError::Call {
            call: "look for functions of the kernel",
            source: io::Error::new(error.kind(), error.to_string()),
        })?;
        let id = known
            .id(function)
            .ok_or_else(|| KernelError::NoFunction { function: function.to_owned() })?;
        let is_linked =
            |(linked, of, _): &(Attachment, Role, Linked)| linked == attachment && *of == role;
        let place = match self.linked.iter().position(is_linked) {
            Some(place) => place,
            None => {
                let linked = self.link(attachment, role, known.offsets())?;
                self.linked.push((attachment.clone(), role, linked));
                self.linked.len() - 1
            }
        };
        let loaded = load(&self.linked[place].2, kind, id, self.btf.as_fd()).map_err(
            |(source, complaint)| KernelError::LoadCall {
                function: function.to_owned(),
                source,
                complaint,
            },
        )?;
        let link = open_link(loaded.as_fd())
            .map_err(|source| KernelError::AttachCall { function: function.to_owned(), source })?;
        Ok(Attached { link, program: loaded })
    }

    /// The program with the maps and constants of its own.
    fn link(
        &self,
        attachment: &Attachment,
        role: Role,
        offsets: Option<Offsets>,
    ) -> Result<Linked, KernelError> {
        let Attachment { program: name, callers, calls, uring } = attachment;
        let name = *name;
        let mut object = self.object.clone();
        let mut guarded = [0_u64; NUMBERS as usize / 64];
        for call in calls {
            guarded[usize::from(call / 64)] |= 1 << (call % 64);
        }
        let guarded: Vec<u8> = guarded.into_iter().flat_map(u64::to_ne_bytes).collect();
        let compat: Vec<u8> = COMPAT_NUMBERS.iter().copied().flat_map(u16::to_ne_bytes).collect();
        let Offsets {
            task_credentials,
            task_files,
            files_table,
            table_size,
            table_files,
            file_path,
            file_inode,
            inode_number,
            inode_super,
            super_device,
        } = offsets.ok_or_else(|| KernelError::NoFunction {
            function: "tasks and files with the fields that are known".to_owned(),
        })?;
        let looks = u32::from(role != Role::Decides);
        let decides = u32::from(role != Role::Looks);
        let globals: [(&str, &[u8]); 16] = [
            ("LOOKS", &looks.to_ne_bytes()),
            ("DECIDES", &decides.to_ne_bytes()),
            ("TASK_CREDENTIALS", &task_credentials.to_ne_bytes()),
            ("TASK_FILES", &task_files.to_ne_bytes()),
            ("FILES_TABLE", &files_table.to_ne_bytes()),
            ("TABLE_SIZE", &table_size.to_ne_bytes()),
            ("TABLE_FILES", &table_files.to_ne_bytes()),
            ("FILE_PATH", &file_path.to_ne_bytes()),
            ("FILE_INODE", &file_inode.to_ne_bytes()),
            ("INODE_NUMBER", &inode_number.to_ne_bytes()),
            ("INODE_SUPER", &inode_super.to_ne_bytes()),
            ("SUPER_DEVICE", &super_device.to_ne_bytes()),
            ("ENTRY_CALLERS", &(*callers as u32).to_ne_bytes()),
            ("GUARD_CALLS", &guarded),
            ("GUARD_URING", &u32::from(uring.unwrap_or(NO_CALL)).to_ne_bytes()),
            ("COMPAT", &compat),
        ];
        object
            .patch_map_data(globals.into_iter().map(|(name, data)| (name, (data, true))).collect())
            .map_err(|error| broken(&error))?;
        let program = object
            .programs
            .get(name)
            .cloned()
            .ok_or(KernelError::Lacks { what: "program", name })?;
        // Only this one, and the functions that programs call: the others need not be linked.
        let others: HashSet<(usize, u64)> = object
            .programs
            .values()
            .map(|other| other.function_key())
            .filter(|key| *key != program.function_key())
            .collect();
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        object.functions.retain(|key, _| !others.contains(key));
        object.programs.retain(|other, _| other == name);

        let constants = constants(&object)?;
        let maps: HashMap<String, aya_obj::Map> = std::mem::take(&mut object.maps);
        let fds = self.maps.iter().map(|(name, fd)| (name.as_str(), fd.as_raw_fd()));
        let known: Vec<(&str, i32, &aya_obj::Map)> = fds
            .filter(|(name, _)| *name != CONSTANTS)
            .chain([(CONSTANTS, constants.as_raw_fd())])
            .filter_map(|(name, fd)| Some((name, fd, maps.get(name)?)))
            .collect();
        object.relocate_maps(known.into_iter(), &text).map_err(|error| broken(&error))?;
        object.relocate_calls(&text).map_err(|error| broken(&error))?;
        let function = object
            .functions
            .remove(&program.function_key())
            .ok_or(KernelError::Lacks { what: "program", name })?;
        Ok(Linked { name, function, license: program.license, _constants: constants })
    }
}

/// Type information that every kernel with `fmod_ret` takes; the rest is written in older terms.
fn is_old_enough(feature: BtfFeature) -> bool {
    match feature {
        BtfFeature::Func | BtfFeature::FuncGlobal | BtfFeature::DataSec => true,
        BtfFeature::DataSecZero
        | BtfFeature::Float
        | BtfFeature::DeclTag
        | BtfFeature::TypeTag
        | BtfFeature::Enum64 => false,
    }
}

fn broken(error: &dyn std::fmt::Display) -> KernelError {
    KernelError::Broken { reason: error.to_string() }
}

/// A map of the object, if it is of a kind that our object has.
pub(super) fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::CgroupStorage(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
