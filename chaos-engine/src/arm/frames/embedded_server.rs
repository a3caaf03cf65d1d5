//! Finds Docker's embedded name server in a network namespace.

use std::fs;

use chaos_ebpf_common::dns::EMBEDDED_SERVER;

/// Whether it is in the calling thread's. It is a socket of the Docker daemon, at an address that nothing
/// else is usually bound to.
pub(super) fn has_embedded_server() -> bool {
    // One that cannot be read has nothing that could be answered for.
    fs::read_to_string("/proc/thread-self/net/udp").is_ok_and(|table| is_listed(&table))
}

/// Whether the table of UDP sockets (proc_net(5), `/proc/net/udp`) has one at its address.
fn is_listed(table: &str) -> bool {
    let address = format!("{:08X}", u32::from_ne_bytes(EMBEDDED_SERVER));
    let local = |line: &str| -> Option<String> {
        let (address, _) = line.split_whitespace().nth(1)?.split_once(':')?;
        Some(address.to_owned())
    };
    table.lines().skip(1).filter_map(local).any(|local| local == address)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn it_is_found_by_its_address() {
        const HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue";
        let line = |address: &str| {
            format!(
                "{HEADER}\n  483: {address}:A8D1 00000000:0000 07 00000000:00000000 00:00000000"
            )
        };
        assert!(is_listed(&line("0B00007F")));
        assert!(!is_listed(&line("3500007F")));
        assert!(!is_listed(HEADER) && !is_listed(""));
        // As this machine's kernel writes it.
        let _socket = UdpSocket::bind((std::net::Ipv4Addr::from(EMBEDDED_SERVER), 0)).unwrap();
        assert!(has_embedded_server());
    }
}
