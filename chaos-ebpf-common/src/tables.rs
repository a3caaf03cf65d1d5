//! Keys and values of the longest-prefix tries that say which rules allow an address or a port.
//!
//! Every key begins with the id of the rule set, so that one trie serves several sets and a set
//! is replaced whole. A trie returns only the longest prefix, so the mask stored at a prefix
//! already includes the rules of every prefix that covers it.

/// Bits that the rule-set id takes at the head of a key.
pub const SET_BITS: u32 = 32;

/// x86-64 numbers of system calls are below.
pub const NUMBERS: u16 = 512;

/// Added to the number of a call that is seen at the security function it passes, not at its
/// entry: where programs are attached to both for different rules, each rule meets a call once.
pub const GUARDED: u16 = NUMBERS;

/// `ioctl` with a command that makes a file share the blocks of another one: bytes go from a file to
/// a file, as by `copy_file_range`. What is about every `ioctl` is found here, too.
pub const CLONING: u16 = 2 * NUMBERS;

/// Room for system calls in a rule set's table.
pub const CALLS: usize = CLONING as usize + 1;

const SENDFILE: u16 = 40;
const SPLICE: u16 = 275;
const COPY_FILE_RANGE: u16 = 326;
pub const IOCTL: u16 = 16;

/// Commands of `ioctl` (`include/uapi/linux/fs.h`). What they copy from is the descriptor that the
/// argument is, or that is at the head of what it points to.
pub const FICLONE: u32 = 0x4004_9409;
pub const FICLONERANGE: u32 = 0x4020_940d;

/// The number by which the tables have a call whose second argument is this one.
#[inline(always)]
pub fn by_command(number: u16, second_argument: u64) -> u16 {
    let command = second_argument as u32;
    let clones = command == FICLONE || command == FICLONERANGE;
    if number == IOCTL && clones { CLONING } else { number }
}

/// Whether a call that the tables have by this number takes bytes from a file and puts them into
/// another.
#[inline(always)]
pub fn is_copying(number: u16) -> bool {
    number == SENDFILE || number == SPLICE || number == COPY_FILE_RANGE || number == CLONING
}

/// Numbers of 32-bit callers under which several calls are made; the first argument says which
/// (`socketcall(2)`, `ipc(2)`).
pub const SOCKETCALL: u16 = 102;
pub const IPC: u16 = 117;

/// Room for the calls that one of them stands for.
pub const JOINED: usize = 32;

/// Entries of the table that gives the x86-64 number of a 32-bit caller's: its own numbers, from
/// [`NUMBERS`] on the calls of `socketcall`, and from there [`JOINED`] on those of `ipc`.
pub const COMPAT: usize = NUMBERS as usize + 2 * JOINED;

/// For a call that x86-64 does not have.
pub const NO_CALL: u16 = u16::MAX;

/// Where the rules of a call are in the table of all sets, or `None` for a number beyond it.
#[inline(always)]
pub fn call_index(set: u32, number: u16) -> Option<u32> {
    if (number as usize) < CALLS { Some(set * CALLS as u32 + number as u32) } else { None }
}

/// Bytes of a path that rules go by: as much as a trie takes beside the id of the set.
pub const PATH_BYTES: usize = 244;

/// Places that the path of a rule leads to through symbolic links, besides the path itself.
pub const MAX_LEADS: usize = 7;

/// Prefixes of paths that one rule set may have: each rule has at most two for each place.
pub const MAX_PATHS: usize = 2 * (1 + MAX_LEADS) * crate::MAX_RULES;

/// Files that are remembered at a time for a rule set; the one that was used least makes room for another.
pub const MAX_FILES: usize = 2048;

/// Connections of a target that were reset and are remembered at a time; the one that was used least makes room for
/// another.
pub const MAX_ENDED: usize = 1024;

/// Key of the trie of paths. A path ends with a 0 byte; what is behind it matches no prefix.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey {
    pub set: u32,
    pub path: [u8; PATH_BYTES],
}

/// Which callers programs at functions of the kernel ask the rules about.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Callers {
    /// The depths in the hierarchy of cgroups at which targets with rules on calls are, one bit each.
    pub depths: u64,
    /// How many rule sets in force go by paths there.
    pub by_path: u64,
}

/// The cgroup of a target whose frames programs at interfaces ask about.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct FrameOwner {
    /// Its id, the inode number of its directory; 0: nobody.
    pub cgroup: u64,
    /// How deep below the root of the hierarchy the directory is.
    pub level: u32,
    pub padding: u32,
}

/// The targets in a network namespace, whose frames the same programs at its interfaces ask about: a group.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameGroup {
    /// The depths in the hierarchy of cgroups at which they are, one bit each.
    pub depths: u64,
    /// The number of the only one, or [`FrameGroup::SEVERAL`].
    pub only: u32,
    pub padding: u32,
}

impl FrameGroup {
    /// There are several targets, or none.
    pub const SEVERAL: u32 = u32::MAX;
}

/// A cgroup that may be a target of a group.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct FrameMember {
    /// Its id.
    pub cgroup: u64,
    /// The number of the group.
    pub group: u32,
    pub padding: u32,
}

/// A network namespace in which a process of a target has made a socket.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct UsedNamespace {
    /// Never given out again (`bpf_get_netns_cookie`).
    pub cookie: u64,
    /// The number of the target at interfaces.
    pub target: u32,
    pub padding: u32,
}

/// The target that a cgroup is, for the program that tells of namespaces.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceUser {
    /// The boot-clock moment (ns) from which on it is told of its namespaces.
    pub since: u64,
    /// Its number at interfaces.
    pub target: u32,
    pub padding: u32,
}

/// How long (ns) the agent is not told again of a namespace. It serves one for as long after the last process has left.
pub const TOLD_FOR: u64 = 5_000_000_000;

/// Whether the agent has been told of a namespace at this boot-clock moment, and need not be now.
#[inline(always)]
pub fn is_told(told: u64, user: &NamespaceUser, now: u64) -> bool {
    told >= user.since && now < told.saturating_add(TOLD_FOR)
}

/// Namespaces that are remembered. Of one that is forgotten the agent is told again.
pub const MAX_NAMESPACES: usize = 1024;

/// Bytes of the ring by which the agent is told, a page: what it has no room for is noticed at the next tick.
pub const NAMESPACE_NEWS_BYTES: usize = 4096;

/// Key of the IPv4 trie, without aya's prefix length.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey4 {
    pub set: u32,
    pub address: [u8; 4],
}

/// Key of the IPv6 trie.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey6 {
    pub set: u32,
    pub address: [u8; 16],
    /// Always zero; a prefix never reaches it. Keeps the values behind the keys aligned.
    pub padding: [u8; 4],
}

/// Key of the port trie; the port is big endian, as prefixes run from the first byte on.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    pub set: u32,
    pub port: [u8; 2],
    /// Always zero; a prefix never reaches it.
    pub padding: [u8; 2],
}

/// The rules that allow this address or port at either end, one bit a rule.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Ends {
    /// Rules that allow it as the source.
    pub source: u64,
    /// Rules that allow it as the destination.
    pub destination: u64,
    /// Rules that must leave alone whatever has it at either end (the node's own address).
    pub exempt: u64,
}

impl Ends {
    /// What no rule allows.
    pub const NONE: Self = Self { source: 0, destination: 0, exempt: 0 };
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no implicit padding, every bit pattern valid.
    unsafe impl aya::Pod for super::PeerKey4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PeerKey6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PortKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Ends {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PathKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Callers {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FrameOwner {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FrameGroup {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FrameMember {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::NamespaceUser {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_armed_again_or_comes_back_is_told_of() {
        let user = NamespaceUser { since: 10 * TOLD_FOR, target: 3, padding: 0 };
        let told = user.since + 5;
        assert!(is_told(told, &user, told) && is_told(told, &user, told + TOLD_FOR - 1));
        assert!(!is_told(told, &user, told + TOLD_FOR));
        // Of another target that had the number.
        assert!(!is_told(user.since - 1, &user, user.since + 1));
    }

    #[test]
    fn an_ioctl_that_clones_is_told_apart_and_copies() {
        for (number, second, expected, copies) in [
            (IOCTL, u64::from(FICLONE), CLONING, true),
            // Only the lower half is the command.
            (IOCTL, u64::from(FICLONERANGE) | 1 << 40, CLONING, true),
            (IOCTL, 0x5401, IOCTL, false),
            (1, u64::from(FICLONE), 1, false),
            (SENDFILE, 0, SENDFILE, true),
            (SPLICE, 0, SPLICE, true),
            (COPY_FILE_RANGE, u64::from(FICLONE), COPY_FILE_RANGE, true),
        ] {
            let number = by_command(number, second);
            assert_eq!((number, is_copying(number)), (expected, copies));
        }
        assert!(call_index(1, CLONING).is_some());
    }
}
