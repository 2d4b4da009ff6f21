//! The first process of the virtual machine that tests other kernels: mounts what
//! programs expect, loads modules, runs one program, and ends the machine with how
//! that went.
//!
//! What the program prints goes to the second serial line; the first is the
//! kernel's, and ours when something goes wrong.

#[cfg(target_arch = "x86_64")]
use std::{arch::asm, io};
use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result};
use rustix::{
    fs::OFlags,
    mount::{MountFlags, mount},
    process::{Pid, WaitOptions, wait},
    system::{RebootCommand, init_module, reboot},
    termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr},
};
use vm_init::{EXIT_PORT, ORDERS, Orders, Outcome};

/// The rest of the tree is a tmpfs already, with what tests need all over it.
const MOUNTS: [(&str, &str); 3] = [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devtmpfs")];

/// The line that the program's output goes to.
const LINE: &str = "/dev/ttyS1";

fn main() {
    let outcome = match run() {
        Ok(status) if status.success() => Outcome::Success,
        Ok(_) => Outcome::Failure,
        Err(error) => {
            eprintln!("vm-init: {error:#}");
            Outcome::Broken
        }
    };
    end(outcome);
}

fn run() -> Result<ExitStatus> {
    for (place, kind) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("make {place}"))?;
        mount(kind, place, kind, MountFlags::empty(), None)
            .with_context(|| format!("mount {place}"))?;
    }
    let mut line = open_line()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("ask the kernel")?;
    writeln!(line, "Linux {}", kernel.trim()).context("say which kernel this is")?;
    let orders = fs::read(ORDERS).with_context(|| format!("read {ORDERS}"))?;
    let orders: Orders = serde_json::from_slice(&orders).context("understand the orders")?;
    for module in &orders.modules {
        let image = fs::read(module).with_context(|| format!("read {}", module.display()))?;
        if let Err(error) = init_module(&image, c"") {
            // What needs it says so, or does without.
            writeln!(line, "no {}: {error}", module.display()).context("tell of a module")?;
        }
    }
    let status = obey(&orders, &line)?;
    tcdrain(&line).context("wait for the line")?;
    Ok(status)
}

/// Without flow control or a person at the other end: bytes pass as they are.
fn open_line() -> Result<File> {
    let no_terminal = OFlags::NOCTTY.bits().cast_signed();
    let line = OpenOptions::new()
        .write(true)
        .read(true)
        .custom_flags(no_terminal)
        .open(LINE)
        .with_context(|| format!("open {LINE}"))?;
    let mut settings = tcgetattr(&line).with_context(|| format!("ask about {LINE}"))?;
    settings.make_raw();
    tcsetattr(&line, OptionalActions::Now, &settings).with_context(|| format!("set {LINE}"))?;
    Ok(line)
}

fn obey(orders: &Orders, line: &File) -> Result<ExitStatus> {
    let (program, arguments) = orders.command.split_first().context("there is no command")?;
    let [out, err] = [line.try_clone(), line.try_clone()];
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(&orders.folder)
        .env_clear()
        .envs(&orders.environment)
        .stdin(Stdio::null())
        .stdout(out.context("share the line")?)
        .stderr(err.context("share the line")?)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    // Orphans are ours, and nobody else would ever take their leave.
    let program = Pid::from_child(&child);
    while let Some((ended, status)) = wait(WaitOptions::empty()).context("wait")? {
        if ended == program {
            use std::os::unix::process::ExitStatusExt as _;
            return Ok(ExitStatus::from_raw(status.as_raw()));
        }
    }
    child.wait().context("wait")
}

/// Ends the machine. Cloud kernels have no `/dev/port`, so the port is asked for.
#[cfg(target_arch = "x86_64")]
fn end(outcome: Outcome) {
    // SAFETY: only changes what this process may do.
    if unsafe { libc::iopl(3) } == 0 {
        // SAFETY: the port belongs to a device whose one purpose this is.
        unsafe {
            asm!("out dx, al", in("dx") EXIT_PORT, in("al") outcome as u8, options(nomem, nostack));
        };
    } else {
        eprintln!("vm-init: ask for I/O ports: {}", io::Error::last_os_error());
    }
    halt();
}

#[cfg(not(target_arch = "x86_64"))]
fn end(outcome: Outcome) {
    eprintln!("vm-init: {outcome:?}: no port {EXIT_PORT:#x} to tell it by");
    halt();
}

/// The last resort: xtask takes this for a failure.
fn halt() {
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        eprintln!("vm-init: power off: {error}");
    }
}
