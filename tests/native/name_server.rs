//! A name server in a thread of the test.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use chaos_tests::netns::TestNetns;

/// A server that knows one address, for whatever is asked, and counts the questions. It serves for
/// as long as this lives.
pub struct NameServer {
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    asked: AtomicU64,
    ended: AtomicBool,
}

impl NameServer {
    /// Serves on port 53 of an address of the namespace.
    pub fn start(netns: &TestNetns, ip: IpAddr, known: Ipv4Addr) -> Result<Self> {
        Self::start_at(netns, SocketAddr::new(ip, 53), known)
    }

    /// Serves on another port; it is asked at `address`.
    pub fn start_at(netns: &TestNetns, address: SocketAddr, known: Ipv4Addr) -> Result<Self> {
        let socket = netns.run(|| UdpSocket::bind(address))?;
        let socket = socket.with_context(|| format!("bind {address}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = thread::spawn(move || serve(&socket, known, &shared));
        Ok(Self { address, state, thread: Some(thread) })
    }

    /// How many questions have come.
    pub fn asked(&self) -> u64 {
        self.state.asked.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the name server at {} panicked", self.address);
        }
    }
}

fn serve(socket: &UdpSocket, known: Ipv4Addr, state: &State) {
    let mut bytes = [0; 512];
    while !state.ended.load(Ordering::Relaxed) {
        let (length, from) = match socket.recv_from(&mut bytes) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            // Somebody did not wait for an answer.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
            Err(error) => return eprintln!("the name server cannot receive: {error}"),
        };
        state.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer(&bytes[..length], known)
            && let Err(error) = socket.send_to(&answer, from)
        {
            eprintln!("the name server cannot answer {from}: {error}");
        }
    }
}

/// A's question and one record; there is none of another type. What is no question is not answered.
fn answer(question: &[u8], known: Ipv4Addr) -> Option<Vec<u8>> {
    let name = question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let end = 12 + name + 5;
    let is_a = *question.get(end - 3)? == 1;
    let mut answer = question.get(..end)?.to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
        answer.extend(known.octets());
    }
    Some(answer)
}
