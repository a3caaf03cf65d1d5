//! A process that does one [`Job`] and reports.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chaos_api::clock::boot_now;
use nix::errno::Errno;

use super::job::{Job, Listening, Report};

/// Bytes of a datagram: its number, and a pattern.
const LENGTH: usize = 64;
/// How long a server waits for the next datagram or connection before it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

/// Does the job and writes the report on standard output.
///
/// # Errors
/// When the job cannot be begun; what fails later is in the report.
pub fn work(job: &Job) -> io::Result<()> {
    let report = match job {
        Job::Sink { bind } => receive((*bind).into(), false)?,
        Job::Echo { bind } => receive((*bind).into(), true)?,
        Job::Serve { bind } => serve((*bind).into())?,
        Job::Send { to, count, interval_us } => send(*to, *count, micros(*interval_us))?,
        Job::Connect { to, count, interval_us, timeout_ms } => {
            connect(*to, *count, micros(*interval_us), Duration::from_millis(*timeout_ms))
        }
        Job::Ping { to, count, interval_us, timeout_ms } => {
            let end = match count {
                Some(_) => Arc::default(),
                None => end_of_input()?,
            };
            let pause = micros(*interval_us);
            ping(*to, count.unwrap_or(u64::MAX), pause, Duration::from_millis(*timeout_ms), &end)?
        }
    };
    say(&report)
}

fn micros(number: u64) -> Duration {
    Duration::from_micros(number)
}

fn say(what: &impl serde::Serialize) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, what)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Becomes true when standard input ends.
fn end_of_input() -> io::Result<Arc<AtomicBool>> {
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        // Whatever comes, and however it ends.
        drop(io::stdin().read_to_end(&mut Vec::new()));
        ended.store(true, Ordering::Relaxed);
    })?;
    Ok(end)
}

/// A number, and bytes that another number does not have.
fn datagram(number: u64) -> [u8; LENGTH] {
    // Multiplied by an odd number, no two numbers become the same.
    let pattern = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let mut bytes = [0; LENGTH];
    for part in bytes.chunks_exact_mut(pattern.len()) {
        part.copy_from_slice(&pattern);
    }
    for (byte, of_number) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *byte = of_number;
    }
    bytes
}

/// Whether it is one of those that are sent.
fn is_whole(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|head| datagram(u64::from_le_bytes(*head)) == bytes)
}

fn receive(bind: SocketAddr, is_echo: bool) -> io::Result<Report> {
    let socket = UdpSocket::bind(bind)?;
    socket.set_read_timeout(Some(LOOK))?;
    let end = end_of_input()?;
    say(&Listening { address: socket.local_addr()? })?;
    let mut report = Report::default();
    let mut buffer = [0; 2 * LENGTH];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                if is_whole(bytes) {
                    report.ok += 1;
                } else {
                    report.damaged += 1;
                }
                if is_echo {
                    // Whoever has asked sees that nothing comes back.
                    drop(socket.send_to(bytes, from));
                }
            }
            // What has arrived by then is read first.
            Err(error) if is_late(&error) && end.load(Ordering::Relaxed) => return Ok(report),
            Err(_) => {}
        }
    }
}

fn serve(bind: SocketAddr) -> io::Result<Report> {
    let listener = TcpListener::bind(bind)?;
    let end = end_of_input()?;
    say(&Listening { address: listener.local_addr()? })?;
    thread::Builder::new().name("accept".to_owned()).spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
        }
    })?;
    while !end.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    Ok(Report::default())
}

fn send(to: SocketAddr, count: u64, interval: Duration) -> io::Result<Report> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let mut report = Report::default();
    for number in 0..count {
        match socket.send_to(&datagram(number), to) {
            Ok(_) => report.ok += 1,
            Err(error) => count_error(&mut report.failed, &error),
        }
        thread::sleep(interval);
    }
    Ok(report)
}

fn connect(to: SocketAddr, count: u64, interval: Duration, timeout: Duration) -> Report {
    let mut report = Report::default();
    for _ in 0..count {
        match TcpStream::connect_timeout(&to, timeout) {
            Ok(_) => report.ok += 1,
            Err(error) => count_error(&mut report.failed, &error),
        }
        thread::sleep(interval);
    }
    report
}

fn ping(
    to: SocketAddr,
    count: u64,
    interval: Duration,
    timeout: Duration,
    end: &AtomicBool,
) -> io::Result<Report> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(timeout))?;
    let mut report = Report::default();
    let (mut trips, mut was_lost) = (Vec::new(), false);
    for number in (0..count).take_while(|_| !end.load(Ordering::Relaxed)) {
        let sent = Instant::now();
        match socket.send_to(&datagram(number), to).and_then(|_| answer(&socket, number)) {
            Ok(()) => {
                report.ok += 1;
                trips.push(sent.elapsed());
                if was_lost {
                    report.healthy_at = Some(boot_now());
                }
                was_lost = false;
            }
            Err(error) => {
                count_error(&mut report.failed, &error);
                was_lost = true;
            }
        }
        thread::sleep(interval);
    }
    trips.sort_unstable();
    let median = trips.get(trips.len() / 2);
    report.median_us = median.and_then(|median| u64::try_from(median.as_micros()).ok());
    Ok(report)
}

/// Waits for the answer with this number; that to a datagram before, which came late, is none.
fn answer(socket: &UdpSocket, number: u64) -> io::Result<()> {
    let mut buffer = [0; 2 * LENGTH];
    loop {
        let (length, _) = socket.recv_from(&mut buffer)?;
        if buffer.get(..length) == Some(&datagram(number)[..]) {
            return Ok(());
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn count_error(failed: &mut BTreeMap<String, u64>, error: &io::Error) {
    let name = match error.raw_os_error() {
        _ if is_late(error) => "TIMEOUT".to_owned(),
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => error.kind().to_string(),
    };
    *failed.entry(name).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_makes_a_datagram_another() {
        let bytes = datagram(70_000);
        assert!(is_whole(&bytes));
        for bit in 0..8 * LENGTH {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole(&damaged), "bit {bit}");
        }
        assert!(!is_whole(&bytes[..LENGTH - 1]) && !is_whole(&[]));
    }
}
