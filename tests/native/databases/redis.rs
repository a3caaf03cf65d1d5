//! Redis with an append-only file.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use chaos_tests::process::Process;

use super::{Machine, PATIENCE, is_installed, support, text, until};

/// A server, and where it keeps its data.
struct Server<'a> {
    machine: &'a Machine,
    data: PathBuf,
    policy: &'static str,
}

impl Server<'_> {
    fn start(&self) -> Result<Process> {
        let Self { machine, data, policy } = self;
        let mut command = Command::new("redis-server");
        let data = text(data)?;
        let socket = self.socket();
        command.args(["--port", "0", "--unixsocket", text(&socket)?, "--dir", data]);
        command.args(["--appendonly", "yes", "--appendfsync", policy, "--save", ""]);
        command.args(["--logfile", text(&self.log())?]);
        let process = machine.start(command)?;
        until(|| self.ask("PING"), |answer| answer == "+PONG")?;
        Ok(process)
    }

    fn socket(&self) -> PathBuf {
        self.data.join("socket")
    }

    fn log(&self) -> PathBuf {
        self.data.join("log")
    }

    /// The directory of the append-only file.
    fn disk(&self) -> PathBuf {
        self.data.join("appendonlydir")
    }

    /// The first line of the answer to a command.
    fn ask(&self, command: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }

    /// Writes under new keys until the answer begins like this; how many keys were taken.
    fn write_until(&self, taken: &mut u64, wanted: &str) -> Result<String> {
        let mut set = || {
            let answer = self.ask(&format!("SET key{taken} value"))?;
            *taken += u64::from(answer == "+OK");
            Ok(answer)
        };
        until(&mut set, |answer| answer.starts_with(wanted))
    }

    fn log_says(&self, line: &str) -> Result<bool> {
        Ok(std::fs::read_to_string(self.log())?.contains(line))
    }
}

fn fault(sentence: &str, disk: &Path) -> Result<String> {
    Ok(format!("{sentence} under {}", text(disk)?))
}

#[test]
fn writes_are_refused_while_the_disk_is_full_or_fails() -> Result<()> {
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    chaos_tests::require!("redis-server"; is_installed("redis-server"));
    let machine = Machine::new("redis")?;
    let server = Server { machine: &machine, data: machine.data()?, policy: "everysec" };
    let mut process = server.start()?;
    let mut taken = 0;
    server.write_until(&mut taken, "+OK")?;

    let full = machine.breaks(&fault("fail write with ENOSPC", &server.disk())?)?;
    let refused = server.write_until(&mut taken, "-MISCONF")?;
    assert_eq!(refused, "-MISCONF Errors writing to the AOF file: No space left on device");
    assert_eq!(server.ask("GET key0")?, "$5", "reading goes on");
    machine.heals(&full)?;
    server.write_until(&mut taken, "+OK")?;

    let failing = machine.breaks(&fault("fail fsync with EIO", &server.disk())?)?;
    let refused = server.write_until(&mut taken, "-MISCONF")?;
    assert_eq!(refused, "-MISCONF Errors writing to the AOF file: Input/output error");
    machine.heals(&failing)?;
    // Redis 7.0 never tries that fsync again by itself.
    for setting in ["no", "yes"] {
        assert_eq!(server.ask(&format!("CONFIG SET appendonly {setting}"))?, "+OK");
    }
    server.write_until(&mut taken, "+OK")?;

    // Refused while the file is written anew; the answer to the other is the end of the connection.
    until(|| Ok(server.ask("SHUTDOWN").unwrap_or_default()), |answer| answer.is_empty())?;
    assert!(process.wait(PATIENCE)?.success());
    let _process = server.start()?;
    assert_eq!(server.ask("DBSIZE")?, format!(":{taken}"), "what was taken is there");
    Ok(())
}

#[test]
fn a_server_that_syncs_always_ends_itself_and_loses_nothing() -> Result<()> {
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    chaos_tests::require!("redis-server"; is_installed("redis-server"));
    let machine = Machine::new("redis")?;
    let server = Server { machine: &machine, data: machine.data()?, policy: "always" };
    let mut taken = 0;
    for (sentence, said) in [
        (
            "fail fsync with EIO",
            "Can't persist AOF for fsync error when the AOF fsync policy is 'always': \
             Input/output error. Exiting...",
        ),
        (
            "fail write with ENOSPC",
            "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...",
        ),
    ] {
        let mut process = server.start()?;
        until(|| server.ask("DBSIZE"), |answer| answer.starts_with(':'))?;
        let kept = server.ask("DBSIZE")?;
        // What was not confirmed may have been kept all the same.
        let kept: u64 = kept.trim_start_matches(':').parse()?;
        assert!((taken..=taken + 1).contains(&kept), "{kept} keys, {taken} were confirmed");
        taken = kept;
        server.write_until(&mut taken, "+OK")?;
        let broken = machine.breaks(&fault(sentence, &server.disk())?)?;
        let unconfirmed = server.ask(&format!("SET key{taken} value"));
        assert!(!unconfirmed.as_deref().is_ok_and(|answer| answer == "+OK"), "{unconfirmed:?}");
        assert_eq!(process.wait(PATIENCE)?.code(), Some(1));
        assert!(server.log_says(said)?, "{said}");
        machine.heals(&broken)?;
    }
    let _process = server.start()?;
    server.write_until(&mut taken, "+OK")?;
    Ok(())
}
