//! Becoming root, where there is a way.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{IsTerminal as _, stdin},
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use crate::workspace;

/// A way to run a program as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// We are root.
    Already,
    /// Through sudo.
    Sudo,
}

/// What a user sets to change how a program talks, which sudo would drop.
const PASSED_ON: &[&str] = &["NO_COLOR", "RUST_BACKTRACE", "RUST_LOG"];

/// The way there is: sudo only counts if it asks for no password or if there is
/// somebody to ask.
pub(crate) fn way() -> Option<Way> {
    if is_root() {
        return Some(Way::Already);
    }
    workspace::program("sudo")?;
    let unasked = Command::new("sudo")
        .args(["--non-interactive", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    (unasked || stdin().is_terminal()).then_some(Way::Sudo)
}

impl Way {
    /// A command that runs `program` as root.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        self.command_with(&[], program)
    }

    /// The same with `environment` besides what is there.
    pub(crate) fn command_with(
        self,
        environment: &[(&str, &str)],
        program: impl AsRef<OsStr>,
    ) -> Command {
        if self == Self::Already {
            let mut command = Command::new(program);
            command.envs(environment.iter().copied());
            return command;
        }
        // sudo drops most of the environment, so it is told on the other side.
        let mut command = Command::new("sudo");
        command.args(["--", "env"]);
        let passed_on = PASSED_ON.iter().filter_map(|name| Some((*name, env::var_os(name)?)));
        let given = environment.iter().map(|(name, value)| (*name, value.into()));
        for (name, value) in passed_on.chain(given) {
            let mut assignment = OsString::from(name);
            assignment.push("=");
            assignment.push(value);
            command.arg(assignment);
        }
        command.arg(program);
        command
    }
}

/// A process's folder in /proc belongs to whom it runs as.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
