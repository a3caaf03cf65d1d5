//! A virtual machine under QEMU, from its start to its end.

use std::{
    fs::{self, File},
    io::{Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use chaos_guest::{HOST_TAG, Milestone};

use super::{alarm, installed::Installed};

const QEMU: &str = "qemu-system-x86_64";

/// What the kernel is told when it boots.
const BOOT_PARAMETERS: [&str; 7] = [
    "console=ttyS0",
    // Messages from warnings up are logged.
    "loglevel=5",
    // A panic reboots at once, which ends QEMU.
    "panic=-1",
    "oops=panic",
    // Seconds. The machine may give way to other work and come to a tenth of a processor: what the
    // kernel takes for a stall after 21 s, and for a lock-up after 20 s, is then a task that waits
    // for its turn. A real one lasts longer than these, too.
    "rcupdate.rcu_cpu_stall_timeout=120",
    "watchdog_thresh=60",
    // khugepaged has the lowest priority, and is the first task that waits.
    "transparent_hugepage=never",
];

/// How often the log is looked at.
const WATCH: Duration = Duration::from_millis(50);

/// How long a kernel in trouble may go on, so that its log tells all.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Lines of the kernel's log that an error shows; the file has all.
const SHOWN_LINES: usize = 60;

/// What a machine is made of.
pub struct Machine<'a> {
    pub kernel: &'a Installed,
    /// The file with the initramfs.
    pub initramfs: &'a Path,
    /// Virtual processors.
    pub cpus: u8,
    /// Memory in MiB; it also holds what is written to files.
    pub memory: u32,
    /// When the machine is given up, if ever.
    pub timeout: Option<Duration>,
    /// Whether the job reads this process's standard input, as a terminal if it is one.
    pub input: bool,
    /// Where the kernel's log goes.
    pub log: PathBuf,
}

/// How a machine's life went that came to its end.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code of the command.
    pub code: u8,
    /// From QEMU's start to that of the command.
    pub boot: Duration,
    /// From QEMU's start to its end.
    pub total: Duration,
}

impl Machine<'_> {
    /// Boots, hands what the command prints to `output`, piece by piece as it comes, and waits for
    /// the machine to power itself off.
    ///
    /// # Errors
    /// When the command could not be run or did not end in time, or when the kernel got into
    /// trouble on the way: the error then shows the end of its log.
    pub fn run(&self, output: impl FnMut(&[u8]) + Send) -> Result<Outcome> {
        let log = Log::create(&self.log)?;
        let start = Instant::now();
        let mut command = self.command();
        let qemu = command.spawn().with_context(|| format!("run {command:?}"))?;
        let mut qemu = Qemu(qemu);
        let stdout = qemu.0.stdout.take().expect("stdout is piped");
        thread::scope(|scope| {
            let (milestones, reached) = mpsc::channel();
            let reading = scope.spawn(move || read_output(stdout, output, &milestones));
            let ended = self.watch(&mut qemu, log, start);
            qemu.kill();
            reading.join().expect("reading does not panic")?;
            let total = start.elapsed();
            let mut boot = None;
            let mut end = None;
            for (milestone, at) in reached {
                match milestone {
                    Milestone::Started => boot = Some(at - start),
                    other => end = Some(other),
                }
            }
            ended?;
            match end {
                Some(Milestone::Exited(code)) => {
                    Ok(Outcome { code, boot: boot.context("the guest never started")?, total })
                }
                Some(Milestone::Broken(reason)) => bail!("the guest is not usable: {reason}"),
                _ => bail!("the machine ended before the command did"),
            }
        })
        .map_err(|error: anyhow::Error| anyhow!("{error:#}\n{}", self.describe_log()))
    }

    /// The command that boots it. Its standard output is the second serial line.
    pub fn command(&self) -> Command {
        let Self { kernel, initramfs, cpus, memory, timeout: _, input, log } = self;
        let mut command = Command::new(QEMU);
        // Emulated wherever it runs, so that it is the same everywhere. By one thread for all
        // processors: with a thread for each, QEMU may go on executing code that another processor
        // has patched, which kills a kernel that switches a static key under load.
        command.args(["-accel", "tcg,thread=single", "-cpu", "max"]);
        command.arg("-smp").arg(cpus.to_string()).arg("-m").arg(format!("{memory}M"));
        command.args(["-no-reboot", "-nodefaults", "-no-user-config", "-display", "none"]);
        command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
        command.args(["-append", &BOOT_PARAMETERS.join(" ")]);
        let mut serial = std::ffi::OsString::from("file:");
        serial.push(log);
        command.arg("-serial").arg(serial);
        command.args(["-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output"]);
        command.arg("-virtfs").arg(format!(
            "local,path=/,mount_tag={HOST_TAG},security_model=none,readonly=on,multidevs=remap"
        ));
        command.args(["-device", "virtio-rng-pci"]);
        command.stdin(if *input { Stdio::inherit() } else { Stdio::null() });
        command.stdout(Stdio::piped());
        command
    }

    /// Waits for QEMU's end, for an alarm in the log or for the time-out.
    fn watch(&self, qemu: &mut Qemu, mut log: Log, start: Instant) -> Result<()> {
        let mut trouble: Option<(&str, Instant)> = None;
        loop {
            // Asked first, so that nothing is logged after the last look.
            let has_ended = qemu.0.try_wait().context("wait for QEMU")?;
            let alarm = log.new_alarm()?;
            trouble = trouble.or_else(|| Some((alarm?, Instant::now())));
            match (trouble, has_ended) {
                (Some((alarm, at)), ended) if ended.is_some() || at.elapsed() > LAST_WORDS => {
                    bail!("{alarm}");
                }
                (None, Some(status)) if !status.success() => bail!("{QEMU}: {status}"),
                (None, Some(_)) => return Ok(()),
                _ => match self.timeout {
                    Some(timeout) if start.elapsed() > timeout => {
                        bail!("not finished after {} s", timeout.as_secs());
                    }
                    _ => thread::sleep(WATCH),
                },
            }
        }
    }

    /// The end of the kernel's log.
    fn describe_log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        format!("The kernel's log, {}, ends with\n{}", self.log.display(), shown.join("\n"))
    }
}

/// Passes on what the job prints, and tells when which milestone came.
fn read_output(
    mut source: impl Read,
    mut output: impl FnMut(&[u8]),
    milestones: &mpsc::Sender<(Milestone, Instant)>,
) -> Result<()> {
    let mut buffer = [0; 4096];
    // What may yet become a milestone.
    let mut pending = Vec::new();
    loop {
        let length = source.read(&mut buffer).context("read the guest's output")?;
        if length == 0 {
            output(&pending);
            return Ok(());
        }
        pending.extend(&buffer[..length]);
        while let Some(end) = Milestone::find_end(&pending) {
            let rest = pending.split_off(end);
            let (printed, milestone) = Milestone::split(&pending);
            output(printed);
            if let Some(milestone) = milestone {
                // The receiver outlives this thread.
                let _ = milestones.send((milestone, Instant::now()));
            }
            pending = rest;
        }
    }
}

/// The kernel's log, read while QEMU writes it.
struct Log {
    file: File,
    /// The beginning of a line that is not complete.
    line: Vec<u8>,
}

impl Log {
    /// Empties the file.
    fn create(path: &Path) -> Result<Self> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path);
        let mut file = file.with_context(|| format!("create {}", path.display()))?;
        file.seek(SeekFrom::Start(0)).context("seek the log")?;
        Ok(Self { file, line: Vec::new() })
    }

    /// The first alarm in what was logged since the last call.
    fn new_alarm(&mut self) -> Result<Option<&'static str>> {
        self.file.read_to_end(&mut self.line).context("read the kernel's log")?;
        let Some(end) = self.line.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let rest = self.line.split_off(end + 1);
        let lines = std::mem::replace(&mut self.line, rest);
        Ok(String::from_utf8_lossy(&lines).lines().find_map(alarm::find))
    }
}

/// A running QEMU, which ends with this.
struct Qemu(Child);

impl Qemu {
    fn kill(&mut self) {
        // It fails only when QEMU has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn output_and_milestones_are_told_apart() {
        let end = Milestone::Exited(3);
        let serial = format!("{}one\ntwo{end}", Milestone::Started);
        let mut printed: Vec<u8> = Vec::new();
        let (sender, receiver) = mpsc::channel();
        read_output(serial.as_bytes(), |piece| printed.extend(piece), &sender).unwrap();
        drop(sender);
        assert_eq!(printed, b"one\ntwo");
        let milestones: Vec<_> = receiver.into_iter().map(|(milestone, _)| milestone).collect();
        assert_eq!(milestones, [Milestone::Started, end]);
    }

    #[test]
    fn alarms_are_found_in_a_growing_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::create(&path).unwrap();
        let mut writer = File::options().append(true).open(&path).unwrap();
        let mut write = |text: &str| writer.write_all(text.as_bytes()).unwrap();
        write("[ 1.0] fine\n[ 2.0] BUG: soft");
        assert_eq!(log.new_alarm().unwrap(), None);
        write(" lockup - CPU#0 stuck for 26s!\n[ 3.0] more");
        assert_eq!(log.new_alarm().unwrap(), Some("soft lockup"));
        assert_eq!(log.new_alarm().unwrap(), None);
    }
}
