//! PostgreSQL.

use std::{
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::process::Process;
use nix::{sys::signal::Signal, unistd::User};

use super::{Machine, PATIENCE, support, text, until};

/// Debian's user for it; it refuses to run as root.
pub const USER: &str = "postgres";
/// Of what the server says.
const LOG: &str = "log";

/// The newest of Debian's directories of its programs.
pub fn programs() -> Result<PathBuf, String> {
    let entries = fs::read_dir("/usr/lib/postgresql").map_err(|error| error.to_string())?;
    let versions = entries.flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("initdb").exists().then_some((version, programs))
    });
    let newest = versions.max().ok_or("no version in /usr/lib/postgresql is a server")?;
    Ok(newest.1)
}

/// A program as the database's user.
pub fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--pdeathsig", "SIGKILL"]);
    command.arg(program).env("LC_ALL", "C");
    command
}

/// A server. Dropping it ends it, so that its shared memory goes, too.
struct Server {
    process: Process,
    programs: PathBuf,
    directory: PathBuf,
}

impl Server {
    fn start(machine: &Machine) -> Result<Self> {
        let programs = programs().map_err(anyhow::Error::msg)?;
        let directory = machine.data()?;
        let user = User::from_name(USER)?.context("PostgreSQL's user")?;
        chown(&directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        let data = directory.join("cluster");
        let made = as_user(&programs.join("initdb"))
            .args(["--pgdata", text(&data)?, "--no-sync", "--auth=trust", "--no-locale"])
            .current_dir(&directory)
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "initdb: {made}");
        let mut command = as_user(&programs.join("postgres"));
        command.args(["-D", text(&data)?, "-c", "listen_addresses=", "-k", text(&directory)?]);
        command.current_dir(&directory);
        command.args(["-c", "log_min_messages=panic", "-c", "autovacuum=off"]);
        command.stderr(File::create(directory.join(LOG)).context("make the server's log")?);
        let server = Self { process: machine.start(command)?, programs, directory };
        until(|| server.ask("SELECT 1"), |answer| answer == "1")?;
        Ok(server)
    }

    fn below(&self, path: &str) -> Result<String> {
        Ok(text(&self.directory.join("cluster").join(path))?.to_owned())
    }

    /// What the server itself says: of the worst only.
    fn log(&self) -> Result<String> {
        fs::read_to_string(self.directory.join(LOG)).context("read the server's log")
    }

    /// What a client prints: the answer, or the error.
    fn ask(&self, statement: &str) -> Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-XqtA", "-U", USER, "-d", "postgres", "-h", text(&self.directory)?])
            .args(["-c", statement])
            .env("LC_ALL", "C")
            .output()
            .context("start psql")?;
        let said = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&said).trim_end().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An "immediate shutdown".
        let ended = self.process.signal(Signal::SIGQUIT).and_then(|()| self.process.wait(PATIENCE));
        if let Err(error) = ended {
            eprintln!("PostgreSQL did not end: {error:#}");
        }
    }
}

#[test]
fn the_server_panics_when_its_log_can_not_be_synced_and_refuses_what_does_not_fit() -> Result<()> {
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    chaos_tests::require!("PostgreSQL"; programs().map(drop));
    let machine = Machine::new("postgres")?;
    let server = Server::start(&machine)?;
    // 8 KiB a row: each needs a page of its own.
    let insert = "INSERT INTO t SELECT repeat(n::text, 7000) FROM generate_series(1, 9) AS s (n)";
    let table = "CREATE TABLE t (v text); ALTER TABLE t ALTER v SET STORAGE PLAIN";
    assert_eq!(server.ask(table)?, "");
    assert_eq!(server.ask(insert)?, "");

    let failing =
        machine.breaks(&format!("fail fsync with EIO under {}", server.below("pg_wal")?))?;
    let said = server.ask(insert)?;
    println!("{said}");
    // Whoever syncs the log panics, and takes the others down: the client's process, or one that
    // writes the log in the background.
    assert!(said.contains("server closed the connection unexpectedly"), "{said}");
    let panic = "PANIC:  could not fdatasync file";
    let log = until(|| server.log(), |log| log.contains(panic))?;
    assert!(log.contains("Input/output error"), "{log}");
    machine.heals(&failing)?;
    let rows =
        until(|| server.ask("SELECT count(*) FROM t"), |answer| answer.parse::<u64>().is_ok())?;
    // The log was written, if not synced: what was not confirmed may have been kept.
    assert!(["9", "18"].contains(&&*rows), "{rows} rows");
    let rows: u64 = rows.parse()?;

    let full =
        machine.breaks(&format!("fail write with ENOSPC under {}", server.below("base")?))?;
    let said = server.ask(insert)?;
    println!("{said}");
    assert!(said.contains("ERROR:  could not extend file \"base/"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(server.ask("SELECT count(*) FROM t")?, rows.to_string(), "reading goes on");
    machine.heals(&full)?;
    assert_eq!(server.ask(insert)?, "");
    assert_eq!(server.ask("SELECT count(*) FROM t")?, (rows + 9).to_string());
    Ok(())
}
