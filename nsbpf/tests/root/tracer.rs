//! Watching the real binary write to the kernel, and killing it at any of its
//! writes.
//!
//! nsbpf runs under ptrace with all of its threads. Each system call is stopped at
//! twice: when it begins, where its arguments tell whether it would change
//! anything ([`writes`]), and when it is done, where its result tells whether it
//! did. `PTRACE_GET_SYSCALL_INFO` (Linux 5.3) describes both in the same way on
//! every processor.

mod netlink;
mod writes;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::nsbpf;
use writes::Process;
pub(crate) use writes::{Kind, Write};

/// What a traced command did, and how it ended.
pub(crate) struct Traced {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
    /// In the order in which the system calls returned.
    pub(crate) writes: Vec<Write>,
}

impl Traced {
    /// How many of its writes were of a kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.writes.iter().filter(|write| write.kind == kind).count()
    }
}

/// Runs nsbpf to its end and sees all that it writes.
pub(crate) fn trace(arguments: &[&str]) -> Traced {
    trace_until(arguments, usize::MAX)
}

/// Runs nsbpf and kills it as soon as that many of its writes that last are done.
/// One that writes less ends by itself.
pub(crate) fn trace_until(arguments: &[&str], last: usize) -> Traced {
    let mut command = nsbpf(arguments);
    // What it says fits into a pipe: it is read at the end.
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: only a system call between fork and exec.
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, 0, 0)) };
    #[expect(clippy::zombie_processes, reason = "the tracer waits for it, and for its threads")]
    let mut child = command.spawn().expect("start nsbpf");
    let pid = Pid::from_child(&child);
    let mut tracer = Tracer {
        pid,
        process: Process::new(pid).expect("look into nsbpf"),
        begun: HashMap::new(),
        nowhere: HashSet::new(),
        writes: Vec::new(),
        lasting: 0,
        last,
    };
    let status = tracer.follow();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("read the output");
    child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("read the errors");
    Traced { status, out, err, writes: tracer.writes }
}

/// What tells stops at system calls from signals (`PTRACE_O_TRACESYSGOOD`).
const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;

struct Tracer {
    pid: Pid,
    process: Process,
    /// Writes that have begun, by their threads.
    begun: HashMap<i32, Write>,
    /// Threads in a network namespace that they made and have not mounted yet.
    nowhere: HashSet<i32>,
    writes: Vec<Write>,
    lasting: usize,
    last: usize,
}

impl Tracer {
    fn follow(&mut self) -> ExitStatus {
        let pid = self.pid.as_raw_nonzero().get();
        let (tid, status) = wait();
        assert!(tid == pid && libc::WIFSTOPPED(status), "exec did not stop: {status:#x}");
        // Should the test end early, so does nsbpf.
        let options = libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_EXITKILL;
        ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options.cast_unsigned() as usize)
            .expect("follow threads");
        resume(tid, 0);
        loop {
            let (tid, status) = wait();
            if libc::WIFSTOPPED(status) {
                resume(tid, self.stopped(tid, status));
            } else if tid == pid {
                // The last: the kernel tells of it after all of its threads.
                return ExitStatus::from_raw(status);
            } else {
                self.begun.remove(&tid);
            }
        }
    }

    /// Returns the signal that the thread is to get.
    fn stopped(&mut self, tid: i32, status: i32) -> i32 {
        match libc::WSTOPSIG(status) {
            SYSCALL_STOP => {
                self.at_system_call(tid);
                0
            }
            // A thread was started, or is.
            libc::SIGTRAP | libc::SIGSTOP => 0,
            signal => signal,
        }
    }

    fn at_system_call(&mut self, tid: i32) {
        match system_call(tid) {
            Some(SystemCall::Begins { number, arguments }) => {
                if let Some(write) = self.process.write_of(number, &arguments) {
                    self.begun.insert(tid, write);
                }
            }
            Some(SystemCall::Done { failed }) => {
                let Some(write) = self.begun.remove(&tid).filter(|_| !failed) else { return };
                let lasts = self.lasts(tid, &write);
                self.writes.push(write);
                self.lasting += usize::from(lasts);
                if lasts && self.lasting == self.last {
                    kill_process(self.pid, Signal::KILL).expect("kill nsbpf");
                }
            }
            None => {}
        }
    }
}

impl Tracer {
    /// Whether a write changes more than what goes with the process: neither eBPF
    /// objects without a pin or a hook, nor a namespace that nothing is mounted
    /// on, nor anything inside of that.
    fn lasts(&mut self, tid: i32, write: &Write) -> bool {
        match write.kind {
            Kind::Namespace => {
                self.nowhere.insert(tid);
                false
            }
            Kind::Mount => {
                self.nowhere.remove(&tid);
                true
            }
            Kind::Netlink | Kind::Sysctl => !self.nowhere.contains(&tid),
            Kind::Bpf => !write.is_held,
            Kind::File | Kind::Other => true,
        }
    }
}

enum SystemCall {
    Begins { number: i64, arguments: [u64; 6] },
    Done { failed: bool },
}

/// `None` when the thread was killed meanwhile.
fn system_call(tid: i32) -> Option<SystemCall> {
    const ENTRY: u8 = 1;
    const EXIT: u8 = 2;
    // `struct ptrace_syscall_info`: what it is, then, behind 24 bytes, number and
    // arguments, or result and whether that is an error.
    let mut info = [0_u8; 88];
    let result = ptrace(libc::PTRACE_GET_SYSCALL_INFO, tid, info.len(), info.as_mut_ptr() as usize);
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return None,
        other => other.expect("look at a system call"),
    }
    let field = |place: usize| u64::from_ne_bytes(info[place..place + 8].try_into().unwrap());
    match info[0] {
        ENTRY => Some(SystemCall::Begins {
            number: field(24).cast_signed(),
            arguments: std::array::from_fn(|index| field(32 + 8 * index)),
        }),
        EXIT => Some(SystemCall::Done { failed: info[32] != 0 }),
        _ => None,
    }
}

/// The next thread of this thread's children that stopped or ended. Not another
/// test's: those are other threads' children.
fn wait() -> (i32, i32) {
    let mut status = 0;
    // SAFETY: the status is written to a variable of ours.
    let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    assert!(tid > 0, "wait for nsbpf: {}", io::Error::last_os_error());
    (tid, status)
}

/// Lets a stopped thread go on; one that was killed meanwhile is gone.
fn resume(tid: i32, signal: i32) {
    match ptrace(libc::PTRACE_SYSCALL, tid, 0, signal.cast_unsigned() as usize) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            panic!("let nsbpf go on: {error}")
        }
        _ => {}
    }
}

fn ptrace(request: libc::c_uint, tid: i32, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: of the requests above only the one for a system call writes to
    // memory of ours: to the buffer at `data`, at most `address` bytes.
    let result = unsafe { libc::ptrace(request, tid, address, data) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
