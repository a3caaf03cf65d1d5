//! SQLite: the shell of Debian, as a program under `run`, and as one that lives on while its disk
//! fails.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use chaos_tests::process::Process;

use super::{Machine, PATIENCE, is_installed, support, text};

/// A shell on a database. Each statement is one transaction.
struct Shell {
    process: Process,
    asked: u64,
}

impl Shell {
    fn open(machine: &Machine, file: &str) -> Result<Self> {
        let mut command = Command::new("sh");
        // Errors between the answers, in their order.
        command.args(["-c", "exec sqlite3 -batch \"$0\" 2>&1", file]);
        Ok(Self { process: machine.start(command)?, asked: 0 })
    }

    /// What it prints for a statement.
    fn ask(&mut self, statement: &str) -> Result<String> {
        self.asked += 1;
        let end = format!("end {}", self.asked);
        self.process.write(format!("{statement};\nSELECT '{end}';\n").as_bytes())?;
        let mut answer = Vec::new();
        loop {
            let line = self.process.line(PATIENCE).with_context(|| statement.to_owned())?;
            if line == end {
                return Ok(answer.join("\n"));
            }
            answer.push(line);
        }
    }

    fn expect(&mut self, statement: &str, wanted: &str) -> Result<()> {
        let answer = self.ask(statement)?;
        ensure!(answer == wanted, "{statement}: {answer:?}, not {wanted:?}");
        Ok(())
    }

    fn fails(&mut self, statement: &str, with: &str) -> Result<()> {
        let answer = self.ask(statement)?;
        ensure!(answer.contains(with), "{statement}: {answer:?}, not {with:?}");
        println!("{answer}");
        Ok(())
    }
}

fn rides_out(mode: &str) -> Result<()> {
    let machine = Machine::new("sqlite")?;
    let data = machine.data()?;
    let file = data.join("database");
    let mut shell = Shell::open(&machine, text(&file)?)?;
    shell.expect(&format!("PRAGMA journal_mode = {mode}"), mode)?;
    shell.expect("PRAGMA synchronous = FULL", "")?;
    shell.expect("CREATE TABLE t (n)", "")?;
    shell.expect("INSERT INTO t VALUES (1)", "")?;
    for (row, sentence, said) in [
        (2, "fail fsync with EIO", "disk I/O error (10)"),
        (3, "fail write with ENOSPC", "database or disk is full (13)"),
        (4, "fail write with EIO", "disk I/O error (10)"),
    ] {
        let insert = format!("INSERT INTO t VALUES ({row})");
        let broken = machine.breaks(&format!("{sentence} under {}", text(&data)?))?;
        shell.fails(&insert, said)?;
        shell.fails(&insert, said)?;
        machine.heals(&broken)?;
        // What failed was undone.
        shell.expect("SELECT max(n) FROM t", &(row - 1).to_string())?;
        shell.expect(&insert, "")?;
    }
    shell.process.close_stdin();
    shell.process.wait(PATIENCE)?;
    let mut again = Shell::open(&machine, text(&file)?)?;
    again.expect("PRAGMA integrity_check", "ok")?;
    again.expect("SELECT group_concat(n) FROM t", "1,2,3,4")?;
    Ok(())
}

#[test]
fn a_transaction_fails_with_its_disk_and_is_undone() -> Result<()> {
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    chaos_tests::require!("sqlite3"; is_installed("sqlite3"));
    rides_out("delete")
}

#[test]
fn a_transaction_of_a_write_ahead_log_fails_with_its_disk_and_is_undone() -> Result<()> {
    chaos_tests::require!("seccomp notification", since 5, 9; support());
    chaos_tests::require!("sqlite3"; is_installed("sqlite3"));
    rides_out("wal")
}
