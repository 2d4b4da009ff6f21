//! Programs that are measured: how long they took, and how much memory.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::shown;

/// A program that came to its end.
pub(super) struct Ended {
    /// How.
    pub(super) status: ExitStatus,
    /// From before it was started until it was gone.
    pub(super) took: Duration,
    /// Its largest resident set, in bytes.
    pub(super) max_rss: u64,
    /// What it said on standard error.
    pub(super) errors: String,
}

/// Runs a program and measures it. What it prints on standard output is dropped.
pub(super) fn measure(command: &mut Command) -> Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start `{}`", shown(command)))?;
    let mut errors = Vec::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_end(&mut errors).context("read what a program says")?;
    }
    let (status, max_rss) = wait(child.id())?;
    let errors = String::from_utf8_lossy(&errors).trim().to_owned();
    Ok(Ended { status, took: start.elapsed(), max_rss, errors })
}

/// Waits for a child, whose resources the standard library does not tell.
fn wait(pid: u32) -> Result<(ExitStatus, u64)> {
    let pid = libc::pid_t::try_from(pid).context("the number of a process")?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live values of the right types.
        if unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) } == pid {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error).context("wait for a program");
        }
    }
    // SAFETY: all zeroes are a value, and the kernel has written over them.
    let usage = unsafe { usage.assume_init() };
    // The kernel counts it in KiB.
    let max_rss = u64::try_from(usage.ru_maxrss).unwrap_or_default() * 1024;
    Ok((ExitStatus::from_raw(status), max_rss))
}

/// Runs a program that has to succeed.
pub(super) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// What a program that has to succeed prints.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start `{}`", shown(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", shown(command), output.status, errors.trim());
    }
    String::from_utf8(output.stdout).context("read what a program prints")
}

/// Runs a program that has to succeed, with this on its standard input.
pub(super) fn feed(command: &mut Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("start `{}`", shown(command)))?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let status = child.wait().context("wait for a program")?;
    ensure!(status.success(), "`{}` failed ({status})", shown(command));
    written.transpose().context("write to a program")?;
    Ok(())
}
