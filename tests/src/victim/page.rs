//! Serves a page that asks a Redis at each visit.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use chaos_tests::job::{PagesServed, RedisPage};

use crate::{
    serve::{listen, unless_quiet},
    stage::Stage,
};

/// The most bytes that a request has.
const REQUEST: u64 = 16 * 1024;

pub fn serve(options: &RedisPage, stage: &Stage) -> Result<PagesServed> {
    let listener = listen(options.bind)?;
    stage.ready(listener.local_addr().context("read the socket's address")?.as_socket())?;
    let (requests, errors) = (AtomicU64::new(0), AtomicU64::new(0));
    let last = Mutex::new(None);
    let serve_client = |client: TcpStream| {
        // Nobody is left to tell of a client that went away.
        if await_request(&client, options).is_err() {
            return;
        }
        requests.fetch_add(1, Ordering::Relaxed);
        let visits = count_visit(options);
        errors.fetch_add(u64::from(visits.is_err()), Ordering::Relaxed);
        let visits = if options.stale { or_last(visits, &last) } else { visits };
        let _ = answer(&client, visits);
    };
    let serve_client = &serve_client;
    thread::scope(|scope| {
        while !stage.is_stopped() {
            let Some((client, _)) = unless_quiet(listener.accept())? else { continue };
            scope.spawn(move || serve_client(client.into()));
        }
        anyhow::Ok(())
    })?;
    Ok(PagesServed { requests: requests.into_inner(), errors: errors.into_inner() })
}

/// Reads a request without a body to its end.
fn await_request(client: &TcpStream, options: &RedisPage) -> io::Result<()> {
    client.set_read_timeout(Some(options.timeout))?;
    for line in BufReader::new(client.take(REQUEST)).lines() {
        if line?.is_empty() {
            return Ok(());
        }
    }
    Err(ErrorKind::UnexpectedEof.into())
}

fn count_visit(options: &RedisPage) -> io::Result<String> {
    let address = options.store.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::other("the store has no address"))?;
    let mut store = TcpStream::connect_timeout(&address, options.timeout)?;
    store.set_read_timeout(Some(options.timeout))?;
    store.write_all(b"INCR visits\r\n")?;
    let mut reply = String::new();
    BufReader::new(store).read_line(&mut reply)?;
    let visits = reply.trim_end().strip_prefix(':').map(str::to_owned);
    visits.ok_or_else(|| io::Error::other(format!("the store said {reply:?}")))
}

/// The number of visits, which is kept; where there is none, the one that was kept.
fn or_last(visits: io::Result<String>, last: &Mutex<Option<String>>) -> io::Result<String> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    match visits {
        Ok(visits) => Ok(last.insert(visits).clone()),
        Err(error) => last.clone().ok_or(error),
    }
}

fn answer(mut client: &TcpStream, visits: io::Result<String>) -> io::Result<()> {
    let (status, body) = match visits {
        Ok(visits) => ("200 OK", visits),
        Err(error) => ("502 Bad Gateway", error.to_string()),
    };
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
