//! A mount and a network namespace for each test.

use std::thread;

use libtest_mimic::Failed;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::{leaks, world};

/// Runs a test in a mount and a network namespace of its own, with an empty
/// `/run`, then looks for what it left.
///
/// All happens on a new thread: namespaces are a thread's, the processes and
/// threads that it starts inherit them, and it ends with the test.
pub(crate) fn isolated(test: fn() -> Result<(), Failed>) -> Result<(), Failed> {
    let thread = thread::spawn(move || {
        enter()?;
        let before = leaks::Before::now();
        test()?;
        before.check()
    });
    match thread.join() {
        Ok(outcome) => outcome,
        // libtest-mimic shows what a panic said.
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn enter() -> Result<(), Failed> {
    let namespaces = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::FS;
    // SAFETY: file descriptors and memory stay shared.
    unsafe { unshare_unsafe(namespaces) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("tests", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=0755"))?;
    // A sysfs that shows this network namespace.
    mount("tests", "/sys", "sysfs", MountFlags::empty(), None)?;
    world::ip(&["link", "set", "lo", "up"]);
    Ok(())
}
