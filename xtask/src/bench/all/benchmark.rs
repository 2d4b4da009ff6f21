//! One of the benchmarks: what it prints is shown as it comes, and kept.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize as _;
use serde_json::Value;

use super::{remove, screen::Screen};
use crate::bench::figure::Figure;
use crate::{command, workspace};

/// A benchmark that can be run by itself: it takes `--nsbpf FILE` and `--json FILE`,
/// and its JSON has `figures`.
pub(super) struct Benchmark {
    /// Of its subcommand.
    pub(super) name: &'static str,
    /// What makes it quick; the last of its arguments.
    pub(super) quick: &'static [&'static str],
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    /// All that it printed on standard output.
    pub(super) output: String,
    /// All that it wrote as JSON; null if it wrote none.
    pub(super) json: Value,
    pub(super) figures: Vec<Figure>,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

impl Benchmark {
    pub(super) fn run(
        &self,
        program: &Path,
        quick: bool,
        folder: &Path,
        screen: &mut Screen,
    ) -> Outcome {
        let Self { name, quick: _ } = *self;
        screen.show(format!("## {name}\n\n").as_bytes());
        let json = folder.join(format!("{name}.json"));
        let mut output = Vec::new();
        let ended = remove(&json).and_then(|()| workspace::own_path()).and_then(|xtask| {
            let mut bench = Command::new(xtask);
            bench.args(self.arguments(program, &json, quick));
            watch(&mut bench, |line| {
                screen.show(line);
                output.extend_from_slice(line);
            })
        });
        screen.show(b"\n");
        let read = fs::read_to_string(&json).context("read its JSON");
        let (told, unread) = match read.and_then(|json| told(&json)) {
            Ok(told) => (told, None),
            Err(error) => (Default::default(), Some(error)),
        };
        let failure = ended.err().or(unread).map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            eprintln!("{name}: {failure}");
        }
        let output = String::from_utf8_lossy(&output).into_owned();
        let (json, figures) = told;
        Outcome { name, output, json, figures, failure }
    }

    /// What xtask takes to run it.
    pub(super) fn arguments(&self, program: &Path, json: &Path, quick: bool) -> Vec<OsString> {
        let words = |words: &[&'static str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut arguments = words(&["bench", self.name, "--nsbpf"]);
        arguments.push(program.into());
        arguments.extend([OsStr::new("--json").into(), json.into()]);
        if quick {
            arguments.extend(words(self.quick));
        }
        arguments
    }
}

/// Runs a program that has to succeed, and passes on each line that it prints. What it
/// says on standard error is its progress, and goes where ours does.
fn watch(command: &mut Command, mut line: impl FnMut(&[u8])) -> Result<()> {
    command::announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{}`", command::shown(command)))?;
    let mut printed = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
    let mut next = Vec::new();
    while printed.read_until(b'\n', &mut next).context("read what it prints")? > 0 {
        line(&next);
        next.clear();
    }
    match child.wait().context("wait for it")? {
        status if status.success() => Ok(()),
        status => bail!("{status}"),
    }
}

/// The figures of a benchmark's JSON; the rest of it is its own.
fn told(text: &str) -> Result<(Value, Vec<Figure>)> {
    let json: Value = serde_json::from_str(text).context("understand its JSON")?;
    let figures = json.get("figures").context("find figures in its JSON")?;
    let figures = Vec::deserialize(figures).context("understand its figures")?;
    Ok((json, figures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_figures_have_a_form() {
        let (json, figures) = told(r#"{"schema": 7, "paths": [1], "figures": []}"#).unwrap();
        assert_eq!((&json["paths"], figures.len()), (&serde_json::json!([1]), 0));
        for text in ["", "{}", r#"{"figures": [{"what": "x"}]}"#] {
            assert!(told(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_printed_before_a_failure_is_kept() {
        let mut lines = Vec::new();
        let mut program = Command::new("cat");
        program.args(["/proc/self/comm", "/nowhere"]).stderr(Stdio::null());
        let error = watch(&mut program, |line| lines.push(line.to_vec())).unwrap_err();
        assert_eq!(lines, [b"cat\n"]);
        assert_eq!(error.to_string(), "exit status: 1");
    }
}
