//! One measurement, in a world of its own: something is built, looked at, built
//! again and taken down.
//!
//! It is a process of its own, because it takes root and a process cannot come
//! back from another mount namespace. What it found it prints as JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::environment::Processors;
use super::process::{self, Ended};
use super::shape::{self, Commands, LAB, Shape};
use super::world;

/// Measure one thing in namespaces of our own (takes root)
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What to measure, as JSON
    task: String,
}

/// What is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) builder: Builder,
    pub(super) shape: Shape,
    pub(super) namespaces: usize,
    /// For how long it is looked at what goes on before and after something is
    /// built, in milliseconds.
    pub(super) watch_ms: u16,
}

/// Who builds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Builder {
    /// nsbpf, with its programs at this hook.
    Nsbpf { program: PathBuf, hook: String },
    /// A script: one `ip` a command.
    Script,
    /// One `ip -batch` for the host's side, and one a namespace.
    Batch,
}

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// It was built.
    Built(Figures),
    /// This nsbpf does not know what it was asked for.
    Refused(String),
}

/// Figures of something that was built. Times are in seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) up: f64,
    /// Share of all processors' time that went to softirq in the time after.
    pub(super) softirq: f64,
    /// The same in the time before, when only others used the machine.
    pub(super) softirq_before: f64,
    /// Building it again, with nothing to change.
    pub(super) again: Option<f64>,
    pub(super) down: Option<f64>,
    /// What was left when `down` was done.
    pub(super) left: Vec<String>,
    pub(super) max_rss: u64,
}

/// How long the kernel may take to do away with namespaces, so that the next
/// measurement does not pay for this one.
const PATIENCE: Duration = Duration::from_secs(60);
/// nsbpf's exit code for usage that it does not know, and labs that are not valid.
const USAGE: i32 = 2;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let task: Task = serde_json::from_str(&arguments.task).context("read the task")?;
    world::enter()?;
    let outcome = match &task.builder {
        Builder::Nsbpf { program, hook } => nsbpf(program, hook, &task)?,
        Builder::Script => iproute2(&task, script)?,
        Builder::Batch => iproute2(&task, batch)?,
    };
    wait_until_empty()?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn nsbpf(program: &Path, hook: &str, task: &Task) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("make a folder for the lab")?;
    let lab = folder.path().join("bench.yaml");
    fs::write(&lab, shape::lab(task.shape, task.namespaces)).context("write the lab")?;
    let bring_up = || {
        let mut command = Command::new(program);
        process::measure(command.arg("up").arg(&lab).args(["--hook", hook]))
    };
    let softirq_before = softirq_share(task)?;
    let up = bring_up()?;
    if up.status.code() == Some(USAGE) {
        let why = up.errors.lines().next().unwrap_or_default().to_owned();
        return Ok(Outcome::Refused(why));
    }
    succeeded("up", &up)?;
    let softirq = softirq_share(task)?;
    let again = bring_up()?;
    succeeded("up again", &again)?;
    let down = process::measure(Command::new(program).args(["down", LAB]))?;
    let left = world::contents()?;
    succeeded("down", &down)?;
    Ok(Outcome::Built(Figures {
        up: up.took.as_secs_f64(),
        softirq,
        softirq_before,
        again: Some(again.took.as_secs_f64()),
        down: Some(down.took.as_secs_f64()),
        left,
        max_rss: up.max_rss.max(again.max_rss).max(down.max_rss),
    }))
}

fn succeeded(what: &str, ended: &Ended) -> Result<()> {
    ensure!(ended.status.success(), "nsbpf {what} failed ({}): {}", ended.status, ended.errors);
    Ok(())
}

fn iproute2(task: &Task, build: fn(&Commands) -> Result<()>) -> Result<Outcome> {
    let commands = shape::commands(task.shape, task.namespaces);
    let softirq_before = softirq_share(task)?;
    let start = Instant::now();
    build(&commands)?;
    let up = start.elapsed().as_secs_f64();
    let softirq = softirq_share(task)?;
    // Links go with the namespace of one of their ends.
    let delete = |(name, _): &(String, _)| format!("netns delete {name}\n");
    let delete: String = commands.inside.iter().map(delete).collect();
    process::feed(Command::new("ip").args(["-batch", "-"]), &delete)?;
    if task.shape == Shape::Bridge {
        process::run(Command::new("ip").args(["link", "delete", "br0"]))?;
    }
    Ok(Outcome::Built(Figures { up, softirq, softirq_before, ..Figures::default() }))
}

fn script(commands: &Commands) -> Result<()> {
    for command in &commands.outside {
        process::run(Command::new("ip").args(command.split(' ')))?;
    }
    for (name, commands) in &commands.inside {
        for command in commands {
            process::run(Command::new("ip").args(["-netns", name]).args(command.split(' ')))?;
        }
    }
    Ok(())
}

fn batch(commands: &Commands) -> Result<()> {
    let lines = |commands: &[String]| commands.join("\n") + "\n";
    process::feed(Command::new("ip").args(["-batch", "-"]), &lines(&commands.outside))?;
    for (name, commands) in &commands.inside {
        let mut ip = Command::new("ip");
        process::feed(ip.args(["-netns", name, "-batch", "-"]), &lines(commands))?;
    }
    Ok(())
}

fn softirq_share(task: &Task) -> Result<f64> {
    let before = Processors::now()?;
    std::thread::sleep(Duration::from_millis(task.watch_ms.into()));
    Ok(Processors::now()?.softirq_share_since(&before))
}

fn wait_until_empty() -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = world::contents()?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("still there after {PATIENCE:?}: {}", left.join(", "));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
