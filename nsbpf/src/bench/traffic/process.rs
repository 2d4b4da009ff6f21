//! A program in a namespace, and all that it starts: nothing of it outlives its end, or
//! ours.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::bench::processor;
use crate::bench::testbed::Side;

/// Bytes that are kept of what a program prints.
const MOST_PRINTED: u64 = 16 << 20;
/// Bytes that are told of what it says about its failure.
const MOST_SAID: usize = 2_000;

/// A program that runs. It ends when this goes.
pub(super) struct Process {
    child: Child,
    ended: OwnedFd,
    printed: Option<JoinHandle<String>>,
    said: Option<JoinHandle<String>>,
}

/// How it ended, and what it printed and said.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) printed: String,
    pub(super) said: String,
}

impl Process {
    /// Starts a program inside a network namespace and a new PID namespace: with its first
    /// process the kernel ends all others there (`zap_pid_ns_processes`, Linux 6.18), and
    /// that one it ends with the calling thread.
    pub(super) fn start(
        side: &Side,
        words: &[String],
        processor: Option<usize>,
    ) -> io::Result<Self> {
        let [program, arguments @ ..] = words else {
            return Err(io::Error::other("it has no words"));
        };
        let netns = side.netns.try_clone()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let inside = move || {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            processor.map_or(Ok(()), processor::keep_to)
        };
        // SAFETY: between fork and exec it makes system calls only, and no memory.
        unsafe { command.pre_exec(inside) };
        let mut child = in_new_pid_namespace(|| command.spawn())?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let ended = pid
            .ok_or_else(|| io::Error::other("its process has no number"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let (printed, said) = (child.stdout.take(), child.stderr.take());
        match ended {
            Ok(ended) => Ok(Self { child, ended, printed: keep(printed), said: keep(said) }),
            Err(error) => {
                // It may have ended already.
                let _ = child.kill();
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Waits for its end; `None` if that has not come in time.
    pub(super) fn wait(&mut self, time: Duration) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.ended, PollFlags::IN)];
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let status = self.child.wait()?;
        let [printed, said] = [self.printed.take(), self.said.take()].map(|kept| {
            kept.map_or_else(String::new, |kept| {
                kept.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        Ok(Some(Ended { status, printed, said }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// How, and the last of what it said, with nothing in it that a terminal would obey.
    pub(super) fn told(&self) -> String {
        let Self { status, said, .. } = self;
        let said = said.trim_end();
        let from = said.char_indices().rev().nth(MOST_SAID).map_or(0, |(place, _)| place);
        let said: Vec<String> =
            said[from..].lines().map(|line| line.escape_debug().to_string()).collect();
        let colon = if said.is_empty() { "" } else { ": " };
        format!("it ended with {status}{colon}{}", said.join("; "))
    }
}

/// Calls something that starts a process, which is the first of a PID namespace.
fn in_new_pid_namespace<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let own = File::open("/proc/thread-self/ns/pid")?;
    // SAFETY: only where this thread's children go changes; memory and files stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?;
    let started = start();
    // No thread can be made before that.
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    started
}

/// Reads all, and keeps the first of it: a pipe that nobody reads would stop the program.
fn keep(from: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    let mut from = from?;
    Some(thread::spawn(move || {
        let mut bytes = Vec::new();
        // What cannot be read is not there.
        let _ = from.by_ref().take(MOST_PRINTED).read_to_end(&mut bytes);
        let _ = io::copy(&mut from, &mut io::sink());
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn what_a_program_says_is_told_in_one_short_line() {
        let ended = |said: &str| Ended {
            status: ExitStatus::from_raw(256),
            printed: String::new(),
            said: said.to_owned(),
        };
        let told = ended("no such\x1b[31m host\nbye\n").told();
        assert_eq!(told, "it ended with exit status: 1: no such\\u{1b}[31m host; bye");
        assert!(ended(&"ä".repeat(9_000)).told().len() < 2 * MOST_SAID + 100);
    }
}
