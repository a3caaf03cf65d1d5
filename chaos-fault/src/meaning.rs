//! Says in words which packets a fault is about.

use super::model::{Direction, Fault, Side};

impl Fault {
    /// The packets that it is about, as seen from the target: `packets that arrive from port 9100`. `None`
    /// where no peer is named, and for what is no fault of packets, or one of questions for a name.
    pub fn packets(&self) -> Option<String> {
        if self.peer.is_none() && self.except.is_none() {
            return None;
        }
        if !self.verb.acts_on_packets() || self.verb.dns_name().is_some() {
            return None;
        }
        let protocol = self.protocol.map(|protocol| format!("{protocol} ")).unwrap_or_default();
        let direction = self.directions();
        let go = match direction {
            [Direction::Egress] => "leave",
            [Direction::Ingress] => "arrive",
            _ => "leave or arrive",
        };
        let but = match &self.except {
            None => String::new(),
            Some(except) => format!(", but for those with {except:#} at either end"),
        };
        let Some(peer) = &self.peer else {
            return Some(format!("{protocol}packets that {go}{but}"));
        };
        let place = format!("{peer:#}");
        let place = match peer.side {
            Side::To | Side::From => place.split_once(' ').map_or("", |(_, place)| place),
            Side::Either => place.as_str(),
        };
        let end = match (peer.side, direction) {
            (Side::To, [Direction::Ingress]) => format!("for {place}, the target's own"),
            (Side::From, [Direction::Egress]) => format!("from {place}, the target's own"),
            (Side::To, _) => format!("for {place}"),
            (Side::From, _) => format!("from {place}"),
            (Side::Either, _) => {
                format!("with {place} at either end, the target's own or its peer's")
            }
        };
        Some(format!("{protocol}packets that {go} {end}{but}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn the_words_say_which_way_and_whose_end() {
        for (text, packets) in [
            ("drop to port 8080", Some("packets that leave for port 8080")),
            ("reset from port 9100", Some("packets that arrive from port 9100")),
            (
                "reset egress from port 9100",
                Some("packets that leave from port 9100, the target's own"),
            ),
            (
                "drop ingress tcp to port 22",
                Some("tcp packets that arrive for port 22, the target's own"),
            ),
            (
                "drop tcp to 10.0.0.0/8, ::1 port 80-90",
                Some("tcp packets that leave for 10.0.0.0/8, ::1 port 80-90"),
            ),
            (
                "drop port 1-21, 23-65535",
                Some(
                    "packets that leave or arrive with port 1-21, 23-65535 at either end, the target's \
                     own or its peer's",
                ),
            ),
            (
                "drop from pod shop/db port 5432",
                Some("packets that arrive from pod shop/db port 5432"),
            ),
            (
                "drop except port 22",
                Some("packets that leave or arrive, but for those with port 22 at either end"),
            ),
            (
                "drop to 10.0.0.0/8 except 10.0.0.1, pod shop/db",
                Some(
                    "packets that leave for 10.0.0.0/8, but for those with 10.0.0.1, pod shop/db at \
                     either end",
                ),
            ),
            ("drop egress", None),
            ("fail connect with EIO to port 80", None),
            ("fail dns with NXDOMAIN for * to port 5353", None),
        ] {
            let fault = &parse(text).unwrap()[0].fault;
            assert_eq!(fault.packets().as_deref(), packets, "{text}");
        }
    }
}
