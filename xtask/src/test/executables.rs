//! Building the tests, and where cargo put them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Environment;
use crate::command;

/// What was built.
#[derive(Default)]
pub(super) struct Executables {
    /// Test runners.
    pub(super) tests: Vec<Executable>,
    /// Programs, which tests may start.
    pub(super) programs: Vec<Executable>,
}

/// A test runner or a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Executable {
    /// The name of its target: a library's, a binary's or an integration test's.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The manifest of its package.
    pub(super) manifest: PathBuf,
}

impl Executable {
    /// The folder of its package.
    pub(super) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }
}

/// Builds the tests of the default members: the kernel half has none of its own. Its
/// benchmarks are among them, which started so run once and measure nothing.
pub(super) fn build(environment: &Environment<'_>) -> Result<Executables> {
    let mut build = command::cargo();
    build.args(["test", "--locked", "--no-run", "--all-targets"]).envs(environment.iter().copied());
    built_by(&mut build)
}

/// Builds the program of a package.
pub(super) fn program(package: &str) -> Result<Executable> {
    let mut build = command::cargo();
    let mut found = built_by(build.args(["build", "--locked", "--package", package]))?;
    found.programs.pop().with_context(|| format!("{package} has no program"))
}

fn built_by(build: &mut Command) -> Result<Executables> {
    build
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    command::announce(build);
    let output = build.output().with_context(|| format!("start `{}`", command::shown(build)))?;
    if !output.status.success() {
        bail!("the tests do not build ({})", output.status);
    }
    let mut executables = Executables::default();
    for message in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((executable, is_test)) = executable(message) {
            let kind = if is_test { &mut executables.tests } else { &mut executables.programs };
            kind.push(executable);
        }
    }
    Ok(executables)
}

/// The executable that a message of cargo's is about, if it is about one, and
/// whether it is a test runner.
fn executable(message: &str) -> Option<(Executable, bool)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["profile"]["test"] == true;
    // Other programs are run while building.
    let counts = is_test || message["target"]["kind"] == serde_json::json!(["bin"]);
    (message["reason"] == "compiler-artifact" && counts).then_some(())?;
    let executable = Executable {
        name: message["target"]["name"].as_str()?.to_owned(),
        path: message["executable"].as_str()?.into(),
        manifest: message["manifest_path"].as_str()?.into(),
    };
    Some((executable, is_test))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_runners_and_programs_count() {
        let message = r#"{"reason":"compiler-artifact","manifest_path":"/w/nsbpf/Cargo.toml",
            "target":{"kind":["test"],"name":"root"},"profile":{"test":true},
            "executable":"/w/target/debug/deps/root-1"}"#;
        let (runner, is_test) = executable(message).unwrap();
        assert!(is_test);
        assert_eq!(runner.name, "root");
        assert_eq!(runner.path, PathBuf::from("/w/target/debug/deps/root-1"));
        assert_eq!(runner.folder(), Path::new("/w/nsbpf"));
        let no_test = message.replace("\"test\":true", "\"test\":false");
        assert_eq!(executable(&no_test), None);
        let (_, is_test) = executable(&no_test.replace("[\"test\"]", "[\"bin\"]")).unwrap();
        assert!(!is_test);
        let library = message.replace("\"/w/target/debug/deps/root-1\"", "null");
        assert_eq!(executable(&library), None);
        assert_eq!(executable("{\"reason\":\"build-finished\"}"), None);
    }
}
