//! Networks and ports.

use std::net::IpAddr;

use ipnet::IpNet;
use winnow::{
    ModalResult, Parser,
    ascii::digit1,
    combinator::{opt, preceded},
};

use super::name;
use crate::{mistake::Mistake, model::PortRange};

/// One of a list of addresses.
pub(crate) enum Address {
    Network(IpNet),
    /// Behind `@`.
    Name(String),
}

/// A network as [`network`] reads it, or `@NAME`.
pub(crate) fn address(word: &str) -> Result<Address, Mistake> {
    match word.strip_prefix('@') {
        Some(name) => name::of_peer(name).map(Address::Name),
        None => network(word).map(Address::Network),
    }
}

/// A network without host bits, or an address, which is the network of that one address.
pub(crate) fn network(word: &str) -> Result<IpNet, Mistake> {
    let net = match word.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => word.parse::<IpAddr>().map(IpNet::from).map_err(|_| not_a_network(word))?,
    };
    if net != net.trunc() {
        return Err(Mistake::new(format!("`{word}` has bits set behind its prefix")).help(
            format!("the network is `{}`, the address alone `{}`", net.trunc(), net.addr()),
        ));
    }
    if let IpNet::V6(v6) = net
        && let Some(mapped) = v6.addr().to_ipv4_mapped()
        && v6.prefix_len() >= 96
    {
        return Err(Mistake::new(format!("`{word}` never appears in a packet")).help(format!(
            "traffic to a mapped address is IPv4: write `{mapped}/{}`",
            v6.prefix_len() - 96
        )));
    }
    Ok(net)
}

fn not_a_network(word: &str) -> Mistake {
    let mistake = Mistake::new(format!("`{word}` is not an address or network"));
    if let Some((address, prefix)) = word.split_once('/')
        && let Ok(address) = address.parse::<IpAddr>()
    {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        return Mistake::new(format!("`{prefix}` is not a prefix length"))
            .help(format!("from 0 to {longest}: `{address}/{longest}`"));
    }
    if let Some((address, port)) = word.rsplit_once(':')
        && network(address.trim_matches(['[', ']'])).is_ok()
        && ports(port).is_ok()
    {
        let address = address.trim_matches(['[', ']']);
        return mistake.help(format!("write `{address} port {port}`"));
    }
    if let Some(address) = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return mistake.help(format!("without brackets: `{address}`"));
    }
    if word.contains(|c: char| c.is_ascii_alphabetic()) && !word.contains(':') {
        return mistake.help("names are not looked up: write the addresses, such as `10.0.0.0/8`");
    }
    mistake.help("for example `10.0.0.0/8`, `192.0.2.7` or `2001:db8::/32`")
}

/// The canonical spelling: a single address without its prefix length.
pub(crate) fn print_network(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// `5432` or `6000-6010`.
pub(crate) fn ports(word: &str) -> Result<PortRange, Mistake> {
    let (first, last) = port_words.parse(word).map_err(|_| {
        Mistake::new(format!("`{word}` is not a port"))
            .help("a number from 1 to 65535, or a range such as `8000-8080`")
    })?;
    let number =
        |digits: &str| match digits.parse::<u16>() {
            Ok(0) => Err(Mistake::new("port 0 does not exist").help("ports are 1 to 65535")),
            Ok(port) => Ok(port),
            Err(_) => Err(Mistake::new(format!("port `{digits}` does not exist"))
                .help("ports are 1 to 65535")),
        };
    let first = number(first)?;
    let last = last.map(number).transpose()?.unwrap_or(first);
    if first > last {
        return Err(Mistake::new(format!("the range `{word}` is backwards"))
            .help(format!("write `{last}-{first}`")));
    }
    Ok(PortRange { first, last })
}

fn port_words<'i>(input: &mut &'i str) -> ModalResult<(&'i str, Option<&'i str>)> {
    (digit1, opt(preceded('-', digit1))).parse_next(input)
}

pub(crate) fn print_ports(range: PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}-{}", range.first, range.last)
    }
}

/// The same ports, sorted, with overlapping and adjacent ranges joined.
pub(crate) fn join_ports(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_unstable();
    let mut joined: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(before) if u32::from(range.first) <= u32::from(before.last) + 1 => {
                before.last = before.last.max(range.last);
            }
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn networks_of_both_families() {
        for (word, printed) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(print_network(&network(word).unwrap()), printed);
        }
    }

    #[test]
    fn wrong_networks_say_what_to_write() {
        for (word, help) in [
            ("10.0.0.1/8", "`10.0.0.0/8`"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.1:5432", "`10.0.0.1 port 5432`"),
            ("[2001:db8::1]:443", "`2001:db8::1 port 443`"),
            ("[::1]", "without brackets"),
            ("db.example.com", "names are not looked up"),
            ("::ffff:10.0.0.1", "`10.0.0.1/32`"),
            ("10.0.0", "for example"),
        ] {
            let mistake = network(word).unwrap_err();
            assert!(mistake.remedy().unwrap().contains(help), "{word}: {mistake:?}");
        }
    }

    #[test]
    fn wrong_ports_say_why() {
        for (word, message) in [
            ("0", "port 0"),
            ("65536", "does not exist"),
            ("0-5", "port 0"),
            ("90-80", "backwards"),
            ("http", "not a port"),
            ("80-", "not a port"),
            ("1-2-3", "not a port"),
        ] {
            assert!(ports(word).unwrap_err().message.contains(message), "{word}");
        }
    }

    proptest! {
        #[test]
        fn joining_keeps_every_port_and_no_other(
            pairs in vec((1_u16..300, 0_u16..20), 0..12), probe in 1_u16..330,
        ) {
            let ranges: Vec<_> = pairs
                .into_iter()
                .map(|(first, more)| PortRange { first, last: first + more })
                .collect();
            let holds = |ranges: &[PortRange]| {
                ranges.iter().any(|range| (range.first..=range.last).contains(&probe))
            };
            let joined = join_ports(ranges.clone());
            prop_assert_eq!(holds(&joined), holds(&ranges));
            prop_assert!(joined.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        }
    }
}
