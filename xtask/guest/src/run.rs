//! Running the command as the first process of a machine has to: it inherits every orphan.

use std::{
    io,
    process::{Command, Stdio},
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
    let Job { command, environment, directory } = job;
    let [program, args @ ..] = command.as_slice() else { bail!("the job has no command") };
    let (output, end) = io::pipe().context("pipe")?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(environment.iter().cloned()).current_dir(directory);
    command.stdin(Stdio::null()).stdout(end.try_clone().context("dup")?).stderr(end);
    let child = match command.spawn() {
        Ok(child) => Pid::from_raw(child.id().try_into().context("process id")?),
        Err(error) => {
            let code =
                if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED };
            console.copy(format!("{program}: {error}\n").as_bytes())?;
            return Ok(code);
        }
    };
    // It holds the pipe's other end open.
    drop(command);
    thread::scope(|scope| {
        let copying = scope.spawn(|| console.copy(output));
        let code = wait_for(child)?;
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).context("kill what is left"),
        }
        copying.join().expect("copying does not panic")?;
        Ok(code)
    })
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
