//! What the keeper tells, in the words of the protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chaos_api::{Notice, clock::boot_now};
use chaos_ebpf_common::{
    event::{Address, EventKind, Family, ProtocolClass},
    record::Record,
    tables::{CLONING, IOCTL, NUMBERS},
};
use chaos_fault::Errno;
use jiff::{SignedDuration, Timestamp};
use syscalls::x86_64::Sysno;

use super::protocol::{Endpoint, Event, Injection};

/// The wall clock and the boot clock (ns) at the same moment.
pub(super) struct Clocks {
    pub wall: Timestamp,
    pub boot: u64,
}

impl Clocks {
    pub fn read() -> Self {
        Self { wall: Timestamp::now(), boot: boot_now() }
    }

    /// When a moment of the boot clock was.
    fn wall_time(&self, boot: u64) -> Timestamp {
        let ago = i128::from(self.boot) - i128::from(boot);
        let ago = SignedDuration::from_nanos(ago.try_into().unwrap_or(i64::MAX));
        self.wall.saturating_sub(ago).unwrap_or(self.wall)
    }
}

pub(super) fn event(notice: Notice, clocks: &Clocks) -> Event {
    match notice {
        Notice::Ended(ended) | Notice::Disarmed(ended) => Event::Ended(ended),
        Notice::Lost(id, number) => Event::Lost { id: Some(id), number },
        Notice::Injected(injection) => Event::Injected(injected(&injection, clocks)),
    }
}

fn injected(injection: &chaos_api::Injection, clocks: &Clocks) -> Injection {
    let chaos_api::Injection { id, target, fault, record } = injection;
    Injection {
        at: clocks.wall_time(record.at),
        id: id.clone(),
        target: target.to_string(),
        fault: fault.to_string(),
        event: EventKind::from_number(record.kind)
            .map_or("unknown", |kind| words(kind, record.call))
            .to_owned(),
        protocol: protocol(record.protocol).to_owned(),
        source: endpoint(record, &record.source, record.source_port),
        destination: endpoint(record, &record.destination, record.destination_port),
        errno: Errno::from_number(record.errno).map(|errno| errno.name().to_owned()),
        shadow: record.shadow != 0,
    }
}

fn words(kind: EventKind, call: u16) -> &'static str {
    match kind {
        EventKind::PacketEgress => "egress packet",
        EventKind::PacketIngress => "ingress packet",
        EventKind::FrameEgress => "egress frame",
        EventKind::FrameIngress => "ingress frame",
        EventKind::Connect => "connect",
        EventKind::Bind => "bind",
        EventKind::SendTo => "sendto",
        EventKind::Socket => "socket",
        EventKind::SetSockopt => "setsockopt",
        EventKind::GetSockopt => "getsockopt",
        EventKind::Call => {
            let number = if call == CLONING { IOCTL } else { call % NUMBERS };
            Sysno::new(number.into()).map_or("unknown call", |call| call.name())
        }
    }
}

fn protocol(number: u8) -> &'static str {
    const TCP: u8 = ProtocolClass::Tcp as u8;
    const UDP: u8 = ProtocolClass::Udp as u8;
    const ICMP: u8 = ProtocolClass::Icmp as u8;
    match number {
        TCP => "tcp",
        UDP => "udp",
        ICMP => "icmp",
        _ => "other",
    }
}

/// `None` where nothing is known of this end: a call that names one address has no other.
fn endpoint(record: &Record, address: &Address, port: u16) -> Option<Endpoint> {
    const V4: u8 = Family::V4 as u8;
    const V6: u8 = Family::V6 as u8;
    let [a, b, c, d, ..] = *address;
    let address: IpAddr = match record.family {
        V4 => Ipv4Addr::new(a, b, c, d).into(),
        V6 => Ipv6Addr::from(*address).into(),
        _ => return None,
    };
    let port = (port != 0).then_some(port);
    let is_known = !address.is_unspecified() || port.is_some();
    is_known.then_some(Endpoint { address, port })
}

#[cfg(test)]
mod tests {
    use chaos_api::ArmedId;
    use chaos_ebpf_common::event::widen;

    use super::*;

    fn told(record: Record) -> Injection {
        let clocks = Clocks { wall: Timestamp::from_second(1_000).unwrap(), boot: 50_000_000_000 };
        let injection = chaos_api::Injection {
            id: ArmedId("cli:1".to_owned()),
            target: "unit:nginx.service".into(),
            fault: "drop".into(),
            record,
        };
        match event(Notice::Injected(injection), &clocks) {
            Event::Injected(injection) => injection,
            other => panic!("{other:?}"),
        }
    }

    fn refused_connect() -> Record {
        Record {
            at: 49_000_000_000,
            source: [0; 16],
            destination: widen([10, 0, 0, 7]),
            slot: 0,
            source_port: 0,
            destination_port: 5432,
            kind: EventKind::Connect as u8,
            protocol: ProtocolClass::Tcp as u8,
            family: Family::V4 as u8,
            shadow: 0,
            errno: 111,
            call: 0,
        }
    }

    #[test]
    fn a_call_in_words() {
        let told = told(refused_connect());
        assert_eq!(told.at, Timestamp::from_second(999).unwrap());
        assert_eq!((told.event.as_str(), told.protocol.as_str()), ("connect", "tcp"));
        assert_eq!(told.errno.as_deref(), Some("ECONNREFUSED"));
        assert_eq!(told.destination.unwrap().to_string(), "10.0.0.7:5432");
        assert_eq!(told.source, None);
        assert!(!told.shadow);
    }

    #[test]
    fn a_call_by_number_has_its_name() {
        let call = Record { kind: EventKind::Call as u8, call: 74, ..refused_connect() };
        assert_eq!(told(call).event, "fsync");
    }

    #[test]
    fn addresses_of_each_family() {
        let mut record = refused_connect();
        record.family = Family::V6 as u8;
        record.destination = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(told(record).destination.unwrap().to_string(), "[2001:db8::1]:5432");
        record.destination_port = 0;
        assert_eq!(told(record).destination.unwrap().to_string(), "2001:db8::1");
        record.family = Family::None as u8;
        assert_eq!(told(record).destination, None);
        record.errno = 0;
        assert_eq!(told(record).errno, None);
    }
}
