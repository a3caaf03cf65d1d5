//! What the BPF object holds, by name: the agent loads it by these names, and the build checks
//! that they are there.

/// Each program with its ELF section, which tells the loader the program type and hook.
pub const PROGRAMS: [(&str, &str); 24] = [
    ("skb_egress", "cgroup_skb/egress"),
    ("skb_ingress", "cgroup_skb/ingress"),
    ("connect4", "cgroup/connect4"),
    ("connect6", "cgroup/connect6"),
    ("bind4", "cgroup/bind4"),
    ("bind6", "cgroup/bind6"),
    ("sendmsg4", "cgroup/sendmsg4"),
    ("sendmsg6", "cgroup/sendmsg6"),
    ("sock_create", "cgroup/sock_create"),
    (NEW_NAMESPACE, "cgroup/sock_create"),
    ("setsockopt", "cgroup/setsockopt"),
    ("getsockopt", "cgroup/getsockopt"),
    (TCX_EGRESS, "classifier"),
    (TCX_INGRESS, "classifier"),
    (LINE_ENTER, "classifier"),
    (LINE_RETURN, "classifier"),
    (QUEUE_ENTER, "classifier"),
    (QUEUE_LEAVE, "classifier"),
    (QUEUE_RETURN, "classifier"),
    (CALL_ENTRY, "fentry"),
    (CALL_GUARD, "fentry"),
    (CALL_GUARD_FILE, "fentry"),
    (CALL_GUARD_OPEN, "fentry"),
    (CALL_GUARD_ACCESS, "fentry"),
];

/// Tells of network namespaces that a target has not used before.
pub const NEW_NAMESPACE: &str = "new_namespace";
/// Asks about frames on their way out of an interface, and from it.
pub const TCX_EGRESS: &str = "tcx_egress";
pub const TCX_INGRESS: &str = "tcx_ingress";
/// Lets nothing but our own frames into the device of a delay line that is read.
pub const LINE_ENTER: &str = "line_enter";
/// Sends on what the reader of a delay line gives back.
pub const LINE_RETURN: &str = "line_return";
/// Turns frames round at the far end of a delay line that is a queue.
pub const QUEUE_ENTER: &str = "queue_enter";
/// Says there when they leave.
pub const QUEUE_LEAVE: &str = "queue_leave";
/// Sends them on at the near end.
pub const QUEUE_RETURN: &str = "queue_return";
/// Answers a system call at its entry. Loaded as `fmod_ret`, which the loader library has no
/// section for.
pub const CALL_ENTRY: &str = "call_entry";
/// Values of its constant `ENTRY_CALLERS`: the function is the entry of 64-bit callers, of 32-bit
/// callers, or of both.
pub const ENTRY_NATIVE: u32 = 0;
pub const ENTRY_COMPAT: u32 = 1;
pub const ENTRY_BOTH: u32 = 2;
/// Answers it at the security function that it passes.
pub const CALL_GUARD: &str = "call_guard";
/// The same where the first argument is a `struct file`, or nothing.
pub const CALL_GUARD_FILE: &str = "call_guard_file";
/// The same where a `struct file` is being opened.
pub const CALL_GUARD_OPEN: &str = "call_guard_open";
/// The same where the arguments are a `struct file` and a mask of accesses.
pub const CALL_GUARD_ACCESS: &str = "call_guard_access";

/// What the agent makes besides: the programs that stand at interfaces, each for the targets of a network namespace or, at
/// a delay line, for one of them, and the table by which they jump to those above.
pub const FRAME_JUMP: &str = "frame_jump";
pub const FRAME_JUMPS: &str = "FRAME_JUMPS";

/// Each map. `AYA_LOGS` is aya-log's ring of messages.
pub const MAPS: [&str; 35] = [
    "ASKED",
    "AYA_LOGS",
    "BEAT",
    "CALLERS",
    "CALLS",
    "CGROUP_FRAMES",
    "CGROUP_TARGET",
    "ENDED",
    "FILES",
    "FIRST_SETS",
    "FLOWS",
    "FRAME_GROUPS",
    "FRAME_MEMBERS",
    "FRAME_OWNERS",
    "GIVEN",
    "HEADS",
    "HOLDS",
    "LEASE",
    "LEDGER",
    "NAMES",
    "NAMESPACES",
    "NAMESPACE_NEWS",
    "NUMBERED",
    "PATHS",
    "PEERS4",
    "PEERS6",
    "PLACES",
    "PORTS",
    "READER",
    "RECORDS",
    "RETURNED",
    "RULES",
    "STATES",
    "TABLES",
    "TARGETS",
];
