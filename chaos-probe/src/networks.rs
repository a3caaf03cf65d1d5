//! Decides which addresses probes may connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Where clusters have their pods, Services and nodes.
const PRIVATE: [&str; 5] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// Never, whatever is listed: the node's own link, and there the credentials of the machine.
const NEVER: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

/// Only where a network is listed that is a part of these, however large other networks are: this machine, many machines
/// at once, and credentials of the machine at addresses that look private.
const SPECIAL: [&str; 12] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "100.100.100.200/32",
    "::/128",
    "::1/128",
    "ff00::/8",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    "fd00:42::42/128",
    // NAT64 of a site: where in it the IPv4 address is depends on the site.
    "64:ff9b:1::/48",
];

/// The networks that probes may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    allowed: Vec<IpNet>,
}

impl Default for Networks {
    /// The private ranges.
    fn default() -> Self {
        Self { allowed: nets(&PRIVATE).collect() }
    }
}

impl FromIterator<IpNet> for Networks {
    /// These, in place of the private ranges.
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self { allowed: networks.into_iter().collect() }
    }
}

impl Networks {
    /// Whether a probe may connect to an address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_in = |list: &[&str], address: IpAddr| nets(list).any(|net| net.contains(&address));
        let embedded: Vec<IpAddr> = embedded(address).into_iter().map(IpAddr::V4).collect();
        if is_in(&NEVER, address) || embedded.iter().any(|inner| is_in(&NEVER, *inner)) {
            return false;
        }
        if let Some(special) = nets(&SPECIAL).find(|net| net.contains(&address)) {
            return self.allowed.iter().any(|net| net.contains(&address) && special.contains(net));
        }
        self.allowed.iter().any(|net| net.contains(&address))
            && embedded.into_iter().all(|inner| self.contain(inner))
    }
}

/// The IPv4 addresses that an IPv6 address can lead to on its way: by translation (NAT64, SIIT) or in a tunnel (6to4).
fn embedded(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return Vec::new() };
    let of = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![of(high, low)],
        // The places of RFC 6052 for prefixes of 48, 56, 64 and 96 bits; its bits 64 to 71 are left out.
        [0x64, 0xff9b, 1, ..] => {
            let [_, _, _, _, _, _, a, b, _, d, e, f, g, _, _, _] = address.octets();
            let [.., high, low] = address.segments();
            vec![
                Ipv4Addr::new(a, b, d, e),
                Ipv4Addr::new(b, d, e, f),
                Ipv4Addr::new(d, e, f, g),
                of(high, low),
            ]
        }
        [0, 0, 0, 0, 0xffff, 0, high, low] => vec![of(high, low)],
        [0x2002, high, low, ..] => vec![of(high, low)],
        [0, 0, 0, 0, 0, 0, high, low] if address != Ipv6Addr::LOCALHOST && high != 0 => {
            vec![of(high, low)]
        }
        _ => Vec::new(),
    }
}

fn nets(list: &[&str]) -> impl Iterator<Item = IpNet> {
    list.iter().filter_map(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_allowed_and_no_others() {
        let networks = Networks::default();
        for (address, expected) in [
            ("10.1.2.3", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("fd00::1", true),
            ("::ffff:10.1.2.3", true),
            ("8.8.8.8", false),
            ("2606:4700::1111", false),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("2002:a9fe:a9fe::1", false),
            ("fe80::1", false),
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("ff02::1", false),
            ("100.100.100.200", false),
            ("fd00:ec2::254", false),
            ("fd00:42::42", false),
            ("::ffff:0:a9fe:a9fe", false),
            ("64:ff9b:1::a00:1", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_is_listed_is_allowed_except_the_link() {
        let listed = |list: &[&str]| nets(list).collect::<Networks>();
        let everything = listed(&["0.0.0.0/0", "::/0"]);
        for (networks, address, expected) in [
            (&everything, "8.8.8.8", true),
            (&everything, "2606:4700::1111", true),
            (&everything, "64:ff9b::808:808", true),
            (&everything, "127.0.0.1", false),
            (&everything, "64:ff9b::7f00:1", false),
            (&everything, "169.254.169.254", false),
            (&everything, "::ffff:169.254.169.254", false),
            (&everything, "64:ff9b::a9fe:a9fe", false),
            (&everything, "fe80::1", false),
            (&everything, "fd00:ec2::254", false),
            (&everything, "::ffff:0:a9fe:a9fe", false),
            (&everything, "::ffff:0:808:808", true),
            (&everything, "fd00:42::42", false),
            (&everything, "64:ff9b:1::808:808", false),
            (&listed(&["64:ff9b:1::/48"]), "64:ff9b:1::808:808", true),
            (&listed(&["64:ff9b:1::/48"]), "64:ff9b:1::a9fe:a9fe", false),
            (&listed(&["64:ff9b:1::/48"]), "64:ff9b:1:a9fe:a9:fe00::", false),
            (&listed(&["127.0.0.0/8"]), "127.0.0.1", true),
            (&listed(&["127.0.0.0/8"]), "::ffff:127.0.0.1", true),
            (&listed(&["127.0.0.0/8"]), "10.0.0.1", false),
            (&listed(&["::1/128"]), "::1", true),
            (&listed(&["169.254.0.0/16", "169.254.169.254/32"]), "169.254.169.254", false),
            (&listed(&["fe80::/10"]), "fe80::1", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn all_lists_can_be_read() {
        let count = nets(&PRIVATE).chain(nets(&NEVER)).chain(nets(&SPECIAL)).count();
        assert_eq!(count, PRIVATE.len() + NEVER.len() + SPECIAL.len());
    }
}
