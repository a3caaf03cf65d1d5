//! Running the command as the first process of a machine has to: it inherits every orphan.

use std::{
    io,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};
use chaos_guest::Job;
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::console::Console;

/// The exit code of a shell for a command that is not there, or can't be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// Runs the command, with what it prints passed on to `console`, and returns its exit code. What
/// it leaves running is killed.
pub fn run(job: &Job, console: &mut Console) -> Result<u8> {
    let [program, args @ ..] = job.command.as_slice() else { bail!("the job has no command") };
    let code = match job.terminal {
        Some(size) => console.as_terminal(size, |terminal| {
            // It becomes the leader of a session that the terminal belongs to, for job control.
            let mut command = Command::new("setsid");
            command.arg("--ctty").arg(program).args(args);
            let end = || terminal.try_clone().context("dup");
            command.stdin(end()?).stdout(end()?).stderr(end()?);
            attend(prepare(&mut command, job).spawn())
        })?,
        None => {
            let (output, end) = io::pipe().context("pipe")?;
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::null());
            command.stdout(end.try_clone().context("dup")?).stderr(end);
            let child = prepare(&mut command, job).spawn();
            // It holds the pipe's other end open.
            drop(command);
            thread::scope(|scope| {
                let copying = scope.spawn(|| console.copy(output));
                let code = attend(child)?;
                copying.join().expect("copying does not panic")?;
                anyhow::Ok(code)
            })?
        }
    };
    code.or_else(|error| {
        console.copy(format!("{program}: {error}\n").as_bytes())?;
        Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED })
    })
}

fn prepare<'a>(command: &'a mut Command, job: &Job) -> &'a mut Command {
    let environment = job.environment.iter().cloned();
    command.env_clear().envs(environment).current_dir(&job.directory)
}

/// Waits for the command, if it was started, and kills what it leaves running.
fn attend(child: io::Result<Child>) -> Result<io::Result<u8>> {
    let child = match child {
        Ok(child) => Pid::from_raw(child.id().try_into().context("process id")?),
        Err(error) => return Ok(Err(error)),
    };
    let code = wait_for(child)?;
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(Ok(code)),
        Err(errno) => Err(errno).context("kill what is left"),
    }
}

/// Reaps orphans until `child` has ended.
fn wait_for(child: Pid) -> Result<u8> {
    loop {
        match waitpid(None, None).context("waitpid")? {
            WaitStatus::Exited(pid, code) if pid == child => {
                return u8::try_from(code).context("exit code");
            }
            WaitStatus::Signaled(pid, signal, _) if pid == child => {
                return u8::try_from(128 + signal as i32).context("signal number");
            }
            _ => {}
        }
    }
}
