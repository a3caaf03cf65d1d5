//! System calls that no cgroup hook answers: by which backend each is.

use chaos_ebpf_common::tables::{CLONING, GUARDED, IOCTL};
use chaos_fault::{Call, Fault, Verb};
use serde::Serialize;

use super::{
    Backend, KernelFeatures, Support, arguments,
    entry::{self, Callers},
    family::{self, End, Member},
    path,
    refusal::Objection,
    security,
};

/// Ending, and returning from a signal: who would have to wait for an answer there could hang.
const NEVER_BY_SECCOMP: [&str; 4] = ["exit", "exit_group", "restart_syscall", "rt_sigreturn"];

/// Newer kernels put no `fmod_ret` program in front of what does not return (6.15 and stable releases,
/// `noreturn_deny` in `kernel/bpf/verifier.c`), and a process that cannot end helps nobody.
const NEVER_RETURN: [&str; 2] = ["exit", "exit_group"];

const READ: u16 = 0;
const WRITE: u16 = 1;

const READS: &str = "read: every call that takes bytes out of a file: copy_file_range, sendfile, splice \
                     and ioctl(FICLONE) by the file that they take them from";
const WRITES: &str = "write: every call that puts bytes into a file: fallocate, too, and \
                      copy_file_range, sendfile, splice and ioctl(FICLONE) by the file that they put \
                      them into";

/// A system call that a rule answers by its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PlannedCall {
    /// On x86-64.
    pub number: u16,
    /// As the kernel's table has it, such as `openat2`.
    pub name: &'static str,
    /// The one of its files by which it is meant, where it copies; `ioctl` is meant by the commands
    /// that clone then. Otherwise whichever file it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    pub backend: Backend,
    /// Functions of the kernel to attach to; empty for [`Backend::Seccomp`].
    pub functions: Vec<String>,
}

impl PlannedCall {
    /// The numbers by which the tables have it: apart for the two places where it can be seen.
    pub fn table_numbers(&self) -> Vec<u16> {
        match (self.backend, self.end) {
            // What copies passes a function for each of its files, as reading and writing do.
            (Backend::Security, Some(end)) => vec![GUARDED + plain_number(end)],
            (Backend::Security, None) => vec![GUARDED + self.number],
            (Backend::Entry | Backend::Seccomp, end) => match (self.number, end) {
                (IOCTL, Some(_)) => vec![CLONING],
                (IOCTL, None) => vec![IOCTL, CLONING],
                (number, _) => vec![number],
            },
        }
    }
}

/// The number of the call that only reads, or only writes.
fn plain_number(end: End) -> u16 {
    match end {
        End::Source => READ,
        End::Destination => WRITE,
    }
}

impl std::fmt::Display for PlannedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let title = family::title(self.name, self.end);
        match self.end {
            None => write!(f, "{title} by {}", self.backend),
            Some(End::Source) => write!(f, "{title} from a file by {}", self.backend),
            Some(End::Destination) => write!(f, "{title} into a file by {}", self.backend),
        }
    }
}

/// The means by which the kernel itself decides about the call.
pub(super) fn in_kernel(
    call: &Call,
    fault: &Fault,
    features: &KernelFeatures,
) -> Result<Vec<PlannedCall>, Objection> {
    check_peer(call, fault)?;
    check_break(call, fault)?;
    if let Some(path) = &fault.under {
        path::check(path)?;
    }
    let members = members(call)?;
    let planned: Vec<PlannedCall> =
        members.iter().filter_map(|member| plan_member(*member, fault, features).ok()).collect();
    if planned.is_empty() {
        return Err(no_backend(call, members[0], fault, features));
    }
    Ok(planned)
}

/// All calls of the fault by seccomp, if that can do what the fault asks for.
pub(super) fn by_seccomp(
    calls: &[Call],
    fault: &Fault,
    features: &KernelFeatures,
) -> Option<Vec<PlannedCall>> {
    if features.support(Backend::Seccomp) != Support::Works {
        return None;
    }
    let mut planned = Vec::new();
    for call in calls {
        check_peer(call, fault).ok()?;
        let members = members(call).ok()?;
        if members.iter().any(|member| NEVER_BY_SECCOMP.contains(&member.name)) {
            return None;
        }
        planned.extend(members.into_iter().map(|Member { name, number, end }| PlannedCall {
            name,
            number,
            end,
            backend: Backend::Seccomp,
            functions: Vec::new(),
        }));
    }
    planned.sort();
    planned.dedup();
    Some(planned)
}

/// What is to be known of a rule that answers these calls.
pub(super) fn notes(
    fault: &Fault,
    planned: &[PlannedCall],
    features: &KernelFeatures,
) -> Vec<String> {
    let mut notes = Vec::new();
    if planned.is_empty() {
        return notes;
    }
    if planned.iter().any(|call| call.backend == Backend::Seccomp) {
        notes.push(
            "seccomp: reaches only what is started with the filter, by `run` or, as a container, under \
             the profile of docs/seccomp.md; each listed call waits for a process of ours to answer"
                .to_owned(),
        );
        if fault.under.is_some() {
            notes.push(
                "under: a path argument is read before the kernel reads it; a thread of the target \
                 can change it in between"
                    .to_owned(),
            );
        }
    }
    if let Some(path) = &fault.under
        && planned.iter().all(|call| call.backend.is_in_kernel())
    {
        notes.push(format!(
            "under {path}: by the path that the target last opened the file by; what was open before \
             is looked up when the fault is armed, or when it is read or written"
        ));
    }
    let mut by_entry = planned.iter().filter(|call| call.backend == Backend::Entry).peekable();
    if by_entry.peek().is_some()
        && by_entry.all(|call| {
            !call.functions.iter().any(|function| entry::callers(function) != Callers::Native)
        })
    {
        notes.push(format!(
            "programs of 32 bits: left alone, kernel {} lets nothing be attached to their entries",
            features.release
        ));
    }
    for call in fault.verb.calls() {
        match call.name() {
            "read" => notes.push(READS.to_owned()),
            "write" => notes.push(WRITES.to_owned()),
            _ if family::is_copying(call) => notes.push(format!(
                "{call}: this call alone, by either of its files; `read` stands for all that takes bytes \
                 out of a file, `write` for all that puts some in"
            )),
            _ => {}
        }
        if let Some(plain) = family::plain_name(call) {
            notes.push(format!("{call}: this call alone; `{plain}` stands for the whole family"));
        }
    }
    let elsewhere = match by_seccomp(fault.verb.calls(), fault, features) {
        Some(_) => "; for a command of `run` seccomp answers it",
        None => "",
    };
    notes.extend(left_alone(fault, planned).into_iter().map(|name| {
        let release = &features.release;
        format!("{name}: left alone, kernel {release} has no hook for it{elsewhere}")
    }));
    notes
}

/// The calls that the fault names, each by one name for several, and that are not among those
/// planned though others of the same name are.
pub(super) fn left_alone(fault: &Fault, planned: &[PlannedCall]) -> Vec<&'static str> {
    let is_planned = |member: &Member| {
        planned.iter().any(|call| (call.name, call.end) == (member.name, member.end))
    };
    let families = fault.verb.calls().iter().map(family::members);
    let in_part = families.filter(|members| members.iter().any(is_planned));
    let left = in_part.flatten().filter(|member| !is_planned(member));
    left.map(|member| member.title()).collect()
}

fn members(call: &Call) -> Result<Vec<Member>, Objection> {
    let members = family::members(call);
    if members.is_empty() {
        return Err(Objection::new(format!("x86-64 has no system call `{call}`"))
            .remedy("its C function may make another one: see syscalls(2)"));
    }
    Ok(members)
}

/// What no backend that answers calls by number can tell apart.
fn check_peer(call: &Call, fault: &Fault) -> Result<(), Objection> {
    let clause = if fault.peer.is_some() || fault.except.is_some() {
        "an address or a port"
    } else if fault.protocol.is_some() {
        "a protocol"
    } else {
        return Ok(());
    };
    Err(cannot_tell(call, clause))
}

fn cannot_tell(call: &Call, clause: &str) -> Objection {
    Objection::new(format!("what answers `{call}` cannot tell calls apart by {clause}"))
        .remedy("leave the clause out: the fault is for every such call of the target")
}

/// `brk` has no way to return an error: where it fails it returns the break as it was, and
/// libraries make ENOMEM of that. <https://github.com/torvalds/linux/blob/v6.12/mm/mmap.c>
fn check_break(call: &Call, fault: &Fault) -> Result<(), Objection> {
    let Verb::Fail { errnos, .. } = &fault.verb else { return Ok(()) };
    match errnos.iter().find(|choice| choice.errno.name() != "ENOMEM") {
        Some(other) if is_break(call) => Err(Objection::new(format!(
            "`brk` cannot fail with {}: all it can do is not to move the break",
            other.errno
        ))
        .remedy("write `fail brk with ENOMEM`, which is what libraries make of that")),
        _ => Ok(()),
    }
}

fn is_break(call: &Call) -> bool {
    call.name() == "brk"
}

/// The best backend for one call, or the reason of each against it.
fn plan_member(
    member: Member,
    fault: &Fault,
    features: &KernelFeatures,
) -> Result<PlannedCall, Vec<Lack>> {
    let Member { name, number, end } = member;
    let mut lacks = Vec::new();
    // By a path the function comes first that knows the file.
    let backends = match &fault.under {
        Some(_) => [Backend::Security, Backend::Entry],
        None => [Backend::Entry, Backend::Security],
    };
    for backend in backends {
        let found = match features.support(backend) {
            Support::Missing { reason, remedy } => Err((reason, remedy)),
            Support::Works if fault.under.is_some() => functions_by_path(backend, member, features)
                .map_err(|reason| (reason, "leave `under` out".to_owned())),
            Support::Works => {
                functions(backend, member, features).map_err(|reason| (reason, String::new()))
            }
        };
        match found {
            Ok(functions) => return Ok(PlannedCall { number, name, end, backend, functions }),
            Err((reason, remedy)) => lacks.push(Lack { backend, reason, remedy }),
        }
    }
    Err(lacks)
}

/// The same for a rule that asks for a path: where the call is answered, and where the paths of
/// files are found out.
fn functions_by_path(
    backend: Backend,
    member: Member,
    features: &KernelFeatures,
) -> Result<Vec<String>, String> {
    let name = member.name;
    let knows_file = match backend {
        Backend::Security => security::sees_file(name, member.end),
        Backend::Entry | Backend::Seccomp => {
            member.end.is_none() && arguments::is_by_descriptor(name)
        }
    };
    if !knows_file {
        return Err(format!("what is asked there about `{name}` does not know the file"));
    }
    if let Support::Missing { reason, .. } = features.support(Backend::Security) {
        return Err(format!("nothing there tells the paths of files: {reason}"));
    }
    let mut functions = functions(backend, member, features)?;
    let opens = functions.iter().any(|function| function == security::OPENING);
    for function in [security::OPENING, security::ACCESS] {
        if !features.has_function(function) {
            return Err(format!("kernel {} has no function {function}", features.release));
        }
        // Who opens a file has it from there.
        if !opens && functions.iter().all(|known| known != function) {
            functions.push(function.to_owned());
        }
    }
    Ok(functions)
}

/// Where a backend attaches for a call, or why it can't.
fn functions(
    backend: Backend,
    Member { name, end, .. }: Member,
    features: &KernelFeatures,
) -> Result<Vec<String>, String> {
    let lacks = |function: &str| format!("kernel {} has no function {function}", features.release);
    if backend == Backend::Security {
        let functions = security::functions(name, end, features);
        return if !security::is_guarded(name, end) {
            Err(format!("`{name}` passes no security function"))
        } else if functions.is_empty() {
            Err(lacks("that it would pass"))
        } else {
            Ok(functions)
        };
    }
    let native = entry::native(name);
    if NEVER_RETURN.contains(&name) {
        return Err(format!("`{name}` does not return, so it cannot return an error"));
    }
    if name == "brk" {
        return Err("an error in the place of `brk` is taken for an address".to_owned());
    }
    if !features.has_function(&native) {
        return match entry::both(name) {
            Some(both) if features.has_function(&both) => Ok(vec![both]),
            _ => Err(lacks(&native)),
        };
    }
    Ok([native].into_iter().chain(entry::compat(name, features)).collect())
}

/// Why a backend does not answer a call.
struct Lack {
    backend: Backend,
    reason: String,
    remedy: String,
}

fn no_backend(call: &Call, member: Member, fault: &Fault, features: &KernelFeatures) -> Objection {
    let mut lacks = plan_member(member, fault, features).err().unwrap_or_default();
    let backend = Backend::Seccomp;
    if let Support::Missing { reason, remedy } = features.support(backend) {
        lacks.push(Lack { backend, reason, remedy });
    } else if NEVER_BY_SECCOMP.contains(&member.name) {
        let reason = "a process that waits for an answer there could not end".to_owned();
        lacks.push(Lack { backend, reason, remedy: String::new() });
    }
    let reasons: Vec<String> =
        lacks.iter().map(|Lack { backend, reason, .. }| format!("{backend}: {reason}")).collect();
    let mut remedies: Vec<&str> = Vec::new();
    for Lack { remedy, .. } in &lacks {
        if !remedy.is_empty() && !remedies.contains(&remedy.as_str()) {
            remedies.push(remedy);
        }
    }
    let objection =
        Objection::new(format!("nothing here answers `{call}`: {}", reasons.join("; ")));
    if remedies.is_empty() { objection } else { objection.remedy(remedies.join("; or ")) }
}
