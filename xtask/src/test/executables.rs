//! Building the tests, and where cargo put them.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Environment;
use crate::command;

/// One test runner.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Executable {
    /// The name of its target: a library's, a binary's or an integration test's.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The manifest of its package.
    pub(super) manifest: PathBuf,
}

/// Builds the tests of the default members: the kernel half has none of its own.
pub(super) fn build(environment: &Environment<'_>) -> Result<Vec<Executable>> {
    let mut build = command::cargo();
    build
        .args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    command::announce(&build);
    let output = build.output().with_context(|| format!("start `{}`", command::shown(&build)))?;
    if !output.status.success() {
        bail!("the tests do not build ({})", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(executable).collect())
}

/// The test runner that a message of cargo's is about, if it is about one.
fn executable(message: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    is_test.then_some(())?;
    Some(Executable {
        name: message["target"]["name"].as_str()?.to_owned(),
        path: message["executable"].as_str()?.into(),
        manifest: message["manifest_path"].as_str()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_runners_count() {
        let message = r#"{"reason":"compiler-artifact","manifest_path":"/w/nsbpf/Cargo.toml",
            "target":{"kind":["test"],"name":"root"},"profile":{"test":true},
            "executable":"/w/target/debug/deps/root-1"}"#;
        let runner = executable(message).unwrap();
        assert_eq!(runner.name, "root");
        assert_eq!(runner.path, PathBuf::from("/w/target/debug/deps/root-1"));
        assert_eq!(executable(&message.replace("\"test\":true", "\"test\":false")), None);
        let library = message.replace("\"/w/target/debug/deps/root-1\"", "null");
        assert_eq!(executable(&library), None);
        assert_eq!(executable("{\"reason\":\"build-finished\"}"), None);
    }
}
