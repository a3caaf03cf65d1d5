//! As much as the machine sends, held.

/// For this machine alone: the lab's sends a tenth.
mod repeated {
    use std::{thread::sleep, time::Duration};

    use anyhow::Result;
    use chaos_tests::{
        job::{UdpSend, UdpSink},
        require,
        victim::Victim,
    };

    use crate::{
        agent::{Agent, has_line},
        pair::Pair,
    };

    const DATAGRAMS: u64 = 100_000;

    /// On an idle machine thousands are on their way at any time, more than netem has room for unless it
    /// is told otherwise (1000).
    #[test]
    fn nothing_is_lost_of_tens_of_thousands_a_second() -> Result<()> {
        let pair = Pair::new()?;
        require!("a delay line", since 5, 8; has_line(&pair.claim));
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "delay 100ms egress udp")?;
        let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
        let send = UdpSend {
            // As short a pause as there is, so that no buffer of a socket overflows.
            interval: Duration::from_nanos(1),
            flows: 8,
            threads: 8,
            ..UdpSend::new(sink.address(), DATAGRAMS)
        };
        let sent = Victim::run(send, pair.client())?.total();
        sleep(Duration::from_millis(500));
        let received = sink.stop()?;
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        let took = sent.first_ok_at.zip(sent.last_ok_at).map_or(0, |(first, last)| last - first);
        let a_second = sent.ok as f64 * 1e9 / took as f64;
        println!("{a_second:.0} datagrams a second, {counts:?}");
        assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{:?}", sent.errors);
        assert_eq!((received.distinct(), received.corrupted), (DATAGRAMS, 0), "{counts:?}");
        assert_eq!((received.duplicates(), counts.lost), (0, 0), "{counts:?}");
        assert_eq!((counts.matched, counts.injected), (DATAGRAMS, DATAGRAMS), "{counts:?}");
        Ok(())
    }
}
