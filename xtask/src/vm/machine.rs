//! The virtual machine: qemu, with the processor's help where it is to be had.
//!
//! Its first serial line is the kernel's and goes to a file; the second one is
//! what the tests print. It ends by a value written to a port: any other end,
//! a panic or a power-off, is a failure.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use vm_init::{EXIT_PORT, Outcome};

use super::kernel::Kernel;
use crate::{command, workspace};

const QEMU: &str = "qemu-system-x86_64";

/// The console's last lines, which say why a machine ended early.
const LAST_LINES: usize = 30;

/// No test is silent for longer, not even on an emulated processor.
const SILENCE: Duration = Duration::from_secs(600);

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processor {
    /// The real one, by KVM.
    Real,
    /// An emulated one, 5 to 30 times slower.
    Emulated,
}

impl Processor {
    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Real => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulated => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// How long a kernel may take to start our first process.
    fn patience(self) -> Duration {
        match self {
            Self::Real => Duration::from_secs(30),
            Self::Emulated => Duration::from_secs(300),
        }
    }
}

/// Boots a kernel with the archive; each line of the second serial line is handed
/// to `say`.
pub(super) fn run(
    kernel: &Kernel,
    archive: &Path,
    say: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Outcome> {
    let console = kernel.folder.join("console");
    for processor in processors() {
        let mut qemu = qemu(processor, kernel, archive, &console);
        command::announce(&qemu);
        let mut guest = Guest::start(&mut qemu)?;
        match guest.lines.recv_timeout(processor.patience()) {
            Ok(first) => {
                say(&first)?;
                return guest
                    .watch(say)
                    .inspect(|outcome| {
                        if *outcome == Outcome::Broken {
                            show_end_of(&console);
                        }
                    })
                    .inspect_err(|_| show_end_of(&console));
            }
            Err(_) if processor == Processor::Real => {
                eprintln!("it does not start with KVM: once more on an emulated processor");
            }
            Err(_) => {}
        }
    }
    show_end_of(&console);
    bail!("the kernel did not come up: {} has all that it said", console.display());
}

/// Those to try, best first. That there is a `/dev/kvm` does not mean that it works.
fn processors() -> Vec<Processor> {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = about.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let can = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    let may = || File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if can && may() {
        vec![Processor::Real, Processor::Emulated]
    } else {
        vec![Processor::Emulated]
    }
}

fn qemu(processor: Processor, kernel: &Kernel, archive: &Path, console: &Path) -> Command {
    let mut qemu = Command::new(QEMU);
    qemu.args(["-M", "q35"])
        .args(processor.arguments())
        .args(["-smp", "2", "-m", "2048", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-nic", "none", "-serial"])
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio", "-device"])
        .arg(format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(archive)
        // A panic ends the machine at once. Nobody attacks it.
        .args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off random.trust_cpu=on"]);
    qemu
}

/// A machine that runs, and ends with this.
struct Guest {
    qemu: Child,
    lines: Receiver<Vec<u8>>,
}

impl Guest {
    fn start(command: &mut Command) -> Result<Self> {
        let mut qemu = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {QEMU}"))?;
        let out = qemu.stdout.take().context("a pipe was asked for")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || read(out, &sender));
        Ok(Self { qemu, lines })
    }

    fn watch(&mut self, say: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Outcome> {
        loop {
            match self.lines.recv_timeout(SILENCE) {
                Ok(line) => say(&line)?,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("it was silent for {} s", SILENCE.as_secs());
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.qemu.wait().context("wait for the machine")?;
        [Outcome::Success, Outcome::Failure, Outcome::Broken]
            .into_iter()
            .find(|outcome| status.code() == Some(outcome.status()))
            .with_context(|| format!("the machine ended early ({status})"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It has ended, or is to.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn read(out: ChildStdout, lines: &mpsc::Sender<Vec<u8>>) {
    let mut out = BufReader::new(out);
    let mut line = Vec::new();
    while out.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if lines.send(std::mem::take(&mut line)).is_err() {
            return;
        }
    }
}

fn show_end_of(console: &Path) {
    let said = fs::read(console).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
        eprintln!("  {line}");
    }
}

/// Finds the programs that all this takes, or says where they come from.
pub(super) fn ensure() -> Result<()> {
    for (program, package) in
        [(QEMU, "qemu-system-x86"), ("xz", "xz-utils"), ("dpkg-deb", "dpkg"), ("apt-get", "apt")]
    {
        if workspace::program(program).is_none() {
            bail!("there is no {program}: on Debian it is in the package {package}");
        }
    }
    Ok(())
}
