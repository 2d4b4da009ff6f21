//! Running the real binary.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What a command left when it was done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn nsbpf(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nsbpf"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// Runs a command, whose output goes where it was told to, to its end.
pub(crate) fn finish(command: &mut Command) -> Done {
    let output = command.spawn().and_then(Child::wait_with_output).expect("start nsbpf");
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs nsbpf to its end.
pub(crate) fn run(arguments: &[&str]) -> Done {
    finish(nsbpf(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Runs nsbpf, which must end with that code.
#[track_caller]
pub(crate) fn ended(arguments: &[&str], code: i32) -> Done {
    let done = run(arguments);
    assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.out, done.err);
    done
}

/// Runs nsbpf, which must end well, and returns what it printed.
#[track_caller]
pub(crate) fn ran(arguments: &[&str]) -> String {
    ended(arguments, 0).out
}

/// `nsbpf run --format json`, in the background.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let fast = ["run", "--format", "json", "--interval", "50ms"];
        let mut command = nsbpf(&[&fast, arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("start nsbpf");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, out }
    }

    /// The next report; `None` after the last one.
    pub(crate) fn report(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("read a report");
        (!line.is_empty()).then(|| serde_json::from_str(&line).expect("a JSON object a line"))
    }

    /// The next report, which must come.
    #[track_caller]
    pub(crate) fn up(&mut self) -> Value {
        match self.report() {
            Some(report) => report,
            None => panic!("nsbpf ended early: {}", self.errors()),
        }
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut text).expect("read the errors");
        text
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signal nsbpf");
    }

    /// Stops reading, as `nsbpf run | head -1` does.
    pub(crate) fn hang_up(self) -> (Option<i32>, String) {
        let Self { mut child, out } = self;
        drop(out);
        let mut text = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut text).expect("read the errors");
        (child.wait().expect("wait for nsbpf").code(), text)
    }

    /// Reads to the end: how it ended, and what it said on standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        // The last line may be half of one, where it was killed.
        self.out.read_to_end(&mut Vec::new()).expect("read the reports");
        let errors = self.errors();
        (self.child.wait().expect("wait for nsbpf"), errors)
    }
}
