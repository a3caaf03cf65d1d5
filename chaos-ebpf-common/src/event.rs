//! What a hook saw, in the same shape for every hook.

/// The kinds of event, one bit vector of rules each. A rule lists the kinds it applies to.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A packet leaving a socket of the target (`cgroup_skb/egress`).
    PacketEgress = 0,
    /// A packet about to enter a socket of the target (`cgroup_skb/ingress`).
    PacketIngress = 1,
    /// A frame leaving an interface, owned by a socket of the target (tcx egress).
    FrameEgress = 2,
    /// A frame arriving at an interface for a socket of the target (tcx ingress).
    FrameIngress = 3,
    Connect = 4,
    Bind = 5,
    /// `sendto`/`sendmsg` with an address on an unconnected datagram socket.
    SendTo = 6,
    Socket = 7,
    SetSockopt = 8,
    GetSockopt = 9,
    /// A system call by its number, whatever it is about ([`Event::call`]).
    Call = 10,
}

impl EventKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::PacketEgress,
        Self::PacketIngress,
        Self::FrameEgress,
        Self::FrameIngress,
        Self::Connect,
        Self::Bind,
        Self::SendTo,
        Self::Socket,
        Self::SetSockopt,
        Self::GetSockopt,
        Self::Call,
    ];

    /// The kind with this number, as found in a [`crate::record::Record`].
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Room for event kinds in a rule set and in the ledger.
pub const KINDS: usize = 16;

/// Protocols as far as rules tell them apart.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolClass {
    Tcp = 0,
    Udp = 1,
    /// ICMP and ICMPv6, neighbour discovery left out.
    Icmp = 2,
    Other = 3,
}

/// How many [`ProtocolClass`]es there are.
pub const PROTOCOLS: usize = 4;

/// What MPTCP sockets have for their protocol: a number of Linux that no packet has, and that 8 bits do not
/// hold (include/uapi/linux/in.h).
const IPPROTO_MPTCP: u32 = 262;

impl ProtocolClass {
    /// From the protocol of a socket (`sk_protocol`). MPTCP is TCP: so it is for whoever opened the socket,
    /// and on the wire.
    #[inline(always)]
    pub fn of_socket(protocol: u32) -> Self {
        match protocol {
            IPPROTO_MPTCP => Self::Tcp,
            0..=255 => Self::of(protocol as u8),
            _ => Self::Other,
        }
    }

    /// From an IP protocol number (RFC 790 and successors).
    #[inline(always)]
    pub fn of(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            1 | 58 => Self::Icmp,
            _ => Self::Other,
        }
    }
}

/// An IPv4 address (in the first four bytes, the rest zero) or an IPv6 address.
pub type Address = [u8; 16];

/// What is known of an event's addresses.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// No addresses (a `socket()` call).
    None = 0,
    V4 = 4,
    V6 = 6,
}

/// The file that a call is about, as `stat` tells it. An inode of 0 stands for "none, or not
/// known", and no rule that names a path matches it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId {
    /// `dev_t` as the kernel has it inside: major << 20 | minor.
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    /// No file.
    pub const NONE: Self = Self { device: 0, inode: 0 };
}

/// One event. Ports are in host byte order; 0 means that there is none or that it is not known
/// (ICMP, fragments after the first), and no rule that names a port matches it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub source: Address,
    pub destination: Address,
    /// For [`EventKind::Call`]; else [`FileId::NONE`].
    pub file: FileId,
    pub source_port: u16,
    pub destination_port: u16,
    /// x86-64 number of the system call for [`EventKind::Call`], whatever the caller's own
    /// architecture is, plus [`GUARDED`](crate::tables::GUARDED) at a security function; else 0.
    pub call: u16,
    pub kind: EventKind,
    pub protocol: ProtocolClass,
    pub family: Family,
    /// 1 where the packet is a fragment whose ports cannot be known.
    pub fragment: u8,
}

impl Event {
    /// An event without addresses.
    #[inline(always)]
    pub fn bare(kind: EventKind, protocol: ProtocolClass) -> Self {
        Self {
            source: [0; 16],
            destination: [0; 16],
            file: FileId::NONE,
            source_port: 0,
            destination_port: 0,
            call: 0,
            kind,
            protocol,
            family: Family::None,
            fragment: 0,
        }
    }

    /// A system call. It is of no protocol that rules tell apart.
    #[inline(always)]
    pub fn call(number: u16, file: FileId) -> Self {
        Self { call: number, file, ..Self::bare(EventKind::Call, ProtocolClass::Other) }
    }
}

/// The IPv4 address inside an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2): a dual-stack socket
/// that talks IPv4 must meet the IPv4 rules.
#[inline(always)]
pub fn mapped_v4(address: &Address) -> Option<[u8; 4]> {
    let high = u64::from_ne_bytes([
        address[0], address[1], address[2], address[3], address[4], address[5], address[6],
        address[7],
    ]);
    let middle = u32::from_be_bytes([address[8], address[9], address[10], address[11]]);
    if high == 0 && middle == 0xffff {
        Some([address[12], address[13], address[14], address[15]])
    } else {
        None
    }
}

/// `v4` in the layout of [`Address`].
#[inline(always)]
pub fn widen(v4: [u8; 4]) -> Address {
    [v4[0], v4[1], v4[2], v4[3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no padding, every bit pattern valid.
    unsafe impl aya::Pod for super::FileId {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_agree() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_number(kind as u8), Some(kind));
            assert!((kind as usize) < KINDS);
        }
        assert_eq!(EventKind::from_number(11), None);
    }

    #[test]
    fn the_protocol_of_a_socket_is_not_cut_to_the_bits_of_a_packets() {
        for number in 0..=255_u8 {
            assert_eq!(ProtocolClass::of_socket(number.into()), ProtocolClass::of(number));
        }
        assert_eq!(ProtocolClass::of_socket(262), ProtocolClass::Tcp, "MPTCP");
        // Their lowest 8 bits are those of TCP, UDP and ICMP.
        for number in [256 + 17, 256 + 1, 512 + 6, 512 + 17, u32::MAX] {
            assert_eq!(ProtocolClass::of_socket(number), ProtocolClass::Other, "{number}");
        }
    }

    #[test]
    fn only_the_mapped_prefix_is_ipv4() {
        let mut address = [0; 16];
        address[10] = 0xff;
        address[11] = 0xff;
        address[12..].copy_from_slice(&[10, 1, 2, 3]);
        assert_eq!(mapped_v4(&address), Some([10, 1, 2, 3]));
        address[9] = 1;
        assert_eq!(mapped_v4(&address), None);
    }
}
