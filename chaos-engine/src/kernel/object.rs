//! Loads the BPF object, and attaches its programs.

use std::{os::fd::BorrowedFd, sync::LazyLock};

use aya::{
    Ebpf, EbpfLoader,
    maps::MapError,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use aya_log::EbpfLogger;
use chaos_ebpf_common::object::{LINE_ENTER, LINE_RETURN, QUEUE_ENTER, QUEUE_LEAVE, QUEUE_RETURN};
use chaos_plan::{Attachment, DelayLine, Hook, Position};

use super::{
    KernelError, Link, Naming, Trial,
    btf::{Functions, LayerOffsets, SocketOffsets},
    clsact::Side,
    links,
    tracer::{self, AtFunction, Tracer},
    trial,
};

/// Built by `build.rs`.
const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/chaos"));

/// What programs read to tell interfaces that are on top of one another apart; `None` where the kernel does
/// not tell, or does not let programs read it.
static LAYERS: LazyLock<Option<LayerOffsets>> = LazyLock::new(|| {
    let layers = tracer::functions().ok()?.layers()?;
    let reads =
        is_helper_supported(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_probe_read_kernel);
    reads.unwrap_or(false).then_some(layers)
});

/// Programs and maps in the kernel. Programs are loaded when they are first attached, so that a hook which this
/// kernel lacks does not stand in the way of the others. Dropping the object unloads everything.
pub struct Object {
    ebpf: Ebpf,
    logger: EbpfLogger<&'static dyn log::Log>,
    /// The kernel's ids, under which a tracer finds the maps: each has one descriptor, in whoever uses it.
    map_ids: Vec<(String, u32)>,
    /// Whether programs can tell whose socket one is.
    knows_sockets: bool,
    /// Made when the first call is to be answered.
    tracer: Option<Tracer>,
}

/// Whose frames the programs at interfaces ask about.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameOwner {
    /// The id of the cgroup.
    pub cgroup: u64,
    /// Its depth.
    pub level: u32,
}

impl FrameOwner {
    /// No frame is its own: the id is that of no cgroup.
    pub(super) const NOBODY: Self = Self { cgroup: u64::MAX, level: 0 };
}

impl Object {
    /// Creates the maps, with these numbers of entries where those of the object are not meant. Nothing is attached and
    /// nothing matches yet.
    pub(super) fn load(
        owner: FrameOwner,
        entries: &[(&'static str, u32)],
    ) -> Result<Self, KernelError> {
        // Not 0, which stands for no instance.
        let number = getrandom::u32()
            .map_err(|error| KernelError::Call {
                call: "getrandom",
                source: std::io::Error::other(error),
            })?
            .max(1);
        let sockets = tracer::functions().ok().and_then(Functions::sockets);
        let SocketOffsets {
            socket_state,
            socket_listener,
            socket_cgroup,
            socket_kernel,
            cgroup_level,
            cgroup_ancestors,
            ancestors_are_ids,
            cgroup_node,
            node_id,
        } = sockets.unwrap_or_default();
        let layers = *LAYERS;
        let LayerOffsets {
            frame_device,
            frame_socket,
            frame_route,
            frame_inner,
            route_device,
            socket_family,
            device_above,
            device_flags,
            device_private_flags,
            port_flags,
        } = layers.unwrap_or_default();
        let mut loader = EbpfLoader::new();
        for (map, entries) in entries {
            loader.map_max_entries(map, *entries);
        }
        let mut ebpf = loader
            .override_global("INSTANCE", &number, true)
            .override_global("TARGET_CGROUP", &owner.cgroup, true)
            .override_global("TARGET_LEVEL", &owner.level, true)
            .override_global("SOCKET_STATE", &socket_state, true)
            .override_global("SOCKET_LISTENER", &socket_listener, true)
            .override_global("SOCKET_CGROUP", &socket_cgroup, true)
            .override_global("SOCKET_KERNEL", &socket_kernel, true)
            .override_global("CGROUP_LEVEL", &cgroup_level, true)
            .override_global("CGROUP_ANCESTORS", &cgroup_ancestors, true)
            .override_global("ANCESTORS_ARE_IDS", &u32::from(ancestors_are_ids), true)
            .override_global("CGROUP_NODE", &cgroup_node, true)
            .override_global("NODE_ID", &node_id, true)
            .override_global("LAYERS_KNOWN", &u32::from(layers.is_some()), true)
            .override_global("FRAME_DEVICE", &frame_device, true)
            .override_global("FRAME_SOCKET", &frame_socket, true)
            .override_global("FRAME_ROUTE", &frame_route, true)
            .override_global("FRAME_INNER", &frame_inner, true)
            .override_global("ROUTE_DEVICE", &route_device, true)
            .override_global("SOCKET_FAMILY", &socket_family, true)
            .override_global("DEVICE_ABOVE", &device_above, true)
            .override_global("DEVICE_FLAGS", &device_flags, true)
            .override_global("DEVICE_PRIVATE_FLAGS", &device_private_flags, true)
            .override_global("PORT_FLAGS", &port_flags, true)
            .load(OBJECT)?;
        // Before the maps are taken out.
        let map_ids = ebpf
            .maps()
            .filter_map(|(name, map)| Some((name, tracer::map_data(map)?)))
            .map(|(name, map)| Ok((name.to_owned(), map.info()?.id())))
            .collect::<Result<_, MapError>>()
            .map_err(|error| KernelError::Call {
                call: "bpf(BPF_OBJ_GET_INFO_BY_FD)",
                source: std::io::Error::other(error),
            })?;
        let logger = EbpfLogger::init(&mut ebpf)?;
        Ok(Self { ebpf, logger, map_ids, knows_sockets: sockets.is_some(), tracer: None })
    }

    /// To take maps out.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Hands what the programs had to complain about to the agent's log.
    pub fn flush_log(&mut self) {
        self.logger.flush();
    }

    /// Loads the program of a hook into the kernel without attaching it: does the verifier
    /// accept it here?
    pub(super) fn load_program(&mut self, hook: Hook) -> Result<(), KernelError> {
        if matches!(hook, Hook::TcxIngress | Hook::ClsactIngress) && !self.knows_sockets {
            return Err(KernelError::UnknownSockets { hook });
        }
        links::load(&mut self.ebpf, hook)
    }

    /// Attaches a hook to a cgroup; `name` is for the error message.
    pub fn attach_cgroup(
        &mut self,
        hook: Hook,
        cgroup: BorrowedFd<'_>,
        name: &str,
    ) -> Result<Link, KernelError> {
        self.load_program(hook)?;
        links::attach_cgroup(&mut self.ebpf, hook, cgroup).map_err(|source| KernelError::Attach {
            hook,
            object: format!("cgroup {name}"),
            source,
        })
    }

    /// Attaches a hook to an interface of the calling thread's network namespace; `naming` is for
    /// filters.
    pub fn attach_interface(
        &mut self,
        hook: Hook,
        position: Position,
        index: u32,
        name: &str,
        naming: &Naming<'_>,
    ) -> Result<Link, KernelError> {
        self.load_program(hook)?;
        let attached = if hook.is_filter() {
            links::attach_clsact(&mut self.ebpf, hook, position, index, naming)
        } else {
            links::attach_tcx(&mut self.ebpf, hook, position, index)
        };
        attached.map_err(|source| KernelError::Attach {
            hook,
            object: format!("interface {name}"),
            source,
        })
    }

    /// Attaches the program that sends on what comes out of a delay line to the line's device, which
    /// is in the calling thread's network namespace; by a filter where `naming` is for one.
    pub fn attach_line(
        &mut self,
        line: DelayLine,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<Link, KernelError> {
        let program = match line {
            DelayLine::Fq => QUEUE_RETURN,
            DelayLine::Tap => LINE_RETURN,
        };
        links::attach_device(&mut self.ebpf, program, device, Side::Ingress, naming)
    }

    /// Attaches the program that lets nothing but frames of ours into the device of a line that is read;
    /// likewise.
    pub fn guard_line(
        &mut self,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<Link, KernelError> {
        links::attach_device(&mut self.ebpf, LINE_ENTER, device, Side::Egress, naming)
    }

    /// Attaches the programs that turn frames round to the far end of a delay line that is a queue, in
    /// the calling thread's network namespace.
    pub fn attach_queue(
        &mut self,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<[Link; 2], KernelError> {
        let leave =
            links::attach_device(&mut self.ebpf, QUEUE_LEAVE, device, Side::Egress, naming)?;
        let enter =
            links::attach_device(&mut self.ebpf, QUEUE_ENTER, device, Side::Ingress, naming)?;
        Ok([enter, leave])
    }

    /// How many instructions the verifier walked before it accepted the program of a hook; `None`
    /// where the kernel does not tell (before 5.16). It rejects what takes more than a million.
    pub fn verified_instructions(&mut self, hook: Hook) -> Result<Option<u32>, KernelError> {
        self.load_program(hook)?;
        links::verified_instructions(&mut self.ebpf, hook)
    }

    /// Puts a program in front of a function of the kernel, for calls that no hook answers.
    pub fn attach_function(
        &mut self,
        function: &str,
        attachment: &Attachment,
    ) -> Result<AtFunction, KernelError> {
        let tracer = match &mut self.tracer {
            Some(tracer) => tracer,
            empty => empty.insert(Tracer::new(OBJECT, &self.map_ids)?),
        };
        tracer.attach(function, attachment)
    }

    /// Runs the program of a packet hook once on an Ethernet frame, with the rules in force and
    /// without attaching it. The packet belongs to a socket of the calling thread's cgroup, and
    /// `gso_size` is its segment size where it is to be segmented later, else 0. For tests of
    /// what no network would carry.
    pub fn try_frame(
        &mut self,
        hook: Hook,
        frame: &[u8],
        gso_size: u32,
    ) -> Result<Trial, KernelError> {
        self.load_program(hook)?;
        trial::run(&self.ebpf, hook, frame, gso_size)
    }
}
