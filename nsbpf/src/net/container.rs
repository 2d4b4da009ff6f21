//! Containers of podman and docker: which process is in one.

use std::io;
use std::process::{Command, Stdio};

/// Programs that know containers, in the order in which they are asked.
const ENGINES: [&str; 2] = ["podman", "docker"];

/// Why a container's process is not known.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// None of the programs that could tell is here.
    #[error("neither podman nor docker is installed, one of which would know it")]
    NoEngine,
    /// Nobody knows it.
    #[error("{0}")]
    Unknown(String),
    /// It has no process.
    #[error("it is not running")]
    NotRunning,
    /// A program could not be started.
    #[error("start {engine}: {source}")]
    Start {
        /// Which one.
        engine: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// The process that a container's namespaces are those of: its number on this
/// host. `name` must not look like an option.
pub fn pid(name: &str) -> Result<u32, ContainerError> {
    let mut answers = Vec::new();
    for engine in ENGINES {
        // Asked directly, never through a shell.
        let asked = Command::new(engine)
            .args(["container", "inspect", "--format", "{{.State.Pid}}", name])
            .stdin(Stdio::null())
            .output();
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(ContainerError::Start { engine, source }),
        };
        if answer.status.success() {
            return match String::from_utf8_lossy(&answer.stdout).trim().parse() {
                Ok(0) | Err(_) => Err(ContainerError::NotRunning),
                Ok(pid) => Ok(pid),
            };
        }
        let said = String::from_utf8_lossy(&answer.stderr);
        let last = said.lines().last().unwrap_or("it does not say why").trim();
        answers.push(format!("{engine}: {}", last.escape_debug()));
    }
    if answers.is_empty() {
        return Err(ContainerError::NoEngine);
    }
    Err(ContainerError::Unknown(answers.join("; ")))
}
