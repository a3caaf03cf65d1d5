//! Servers in threads of the test, and clients that know when all is well.

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use chaos_tests::netns::TestNetns;
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike},
};

/// How often a server looks whether it is to end.
const TURN: Duration = Duration::from_millis(50);

/// Sends back what comes to one port of a namespace, by TCP and UDP over IPv4 and IPv6, for as long as
/// this lives.
pub struct Echo {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    pub fn start(netns: &TestNetns, port: u16) -> Result<Self> {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let sockets = netns.run(|| {
            let context = || format!("bind {any}");
            anyhow::Ok((
                TcpListener::bind(any).with_context(context)?,
                UdpSocket::bind(any).with_context(context)?,
            ))
        });
        let (tcp, udp) = sockets??;
        // Of accept(2), too.
        setsockopt(&tcp.as_fd(), ReceiveTimeout, &TimeVal::milliseconds(TURN.as_millis() as i64))?;
        udp.set_read_timeout(Some(TURN))?;
        let ended = Arc::new(AtomicBool::new(false));
        let (tcp_ended, udp_ended) = (ended.clone(), ended.clone());
        let threads = vec![
            thread::spawn(move || {
                while !tcp_ended.load(Ordering::Relaxed) {
                    if let Ok((stream, _)) = tcp.accept() {
                        // A client that does not wait for its answer is its own affair.
                        let _ = send_back(stream);
                    }
                }
            }),
            thread::spawn(move || {
                let mut bytes = [0; 2048];
                while !udp_ended.load(Ordering::Relaxed) {
                    if let Ok((length, from)) = udp.recv_from(&mut bytes) {
                        let _ = udp.send_to(&bytes[..length], from);
                    }
                }
            }),
        ];
        Ok(Self { ended, threads })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("an echo server panicked");
            }
        }
    }
}

fn send_back(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut bytes = [0; 2048];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            length => stream.write_all(&bytes[..length])?,
        }
    }
}

/// A protocol of [`exchange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// Sends `bytes` from the namespace, and fails unless the same comes back within so long. Datagrams are
/// sent from the port `from`.
pub fn exchange(
    netns: &TestNetns,
    transport: Transport,
    to: SocketAddr,
    from: u16,
    bytes: &[u8],
    patience: Duration,
) -> Result<()> {
    let exchanged = netns.run(|| match transport {
        Transport::Tcp => over_tcp(to, bytes, patience),
        Transport::Udp => over_udp(to, from, bytes, patience),
    })?;
    exchanged.with_context(|| format!("{transport:?} to {to}"))
}

fn over_tcp(to: SocketAddr, bytes: &[u8], patience: Duration) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, patience).context("connect")?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(bytes).context("send")?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).context("receive")?;
    ensure!(answer == bytes, "{answer:02x?} in place of {bytes:02x?}");
    Ok(())
}

/// Echoes of what was sent earlier may still come, which are others' answers.
fn over_udp(to: SocketAddr, from: u16, bytes: &[u8], patience: Duration) -> Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, from)).context("bind")?;
    socket.connect(mapped(to)).context("connect")?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(bytes).context("send")?;
    let mut answer = [0; 2048];
    loop {
        let length = socket.recv(&mut answer).context("receive")?;
        if answer[..length] == *bytes {
            return Ok(());
        }
    }
}

/// As a socket of IPv6 calls it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V6(_) => address,
    }
}
