//! What figures depend on besides nsbpf: the machine, its kernel, its load.

use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::process;
use crate::workspace;

/// Where figures were measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Environment {
    kernel: String,
    processors: usize,
    processor: String,
    memory_bytes: u64,
    pub(super) nsbpf_commit: String,
    iproute2: String,
    /// Processes that wanted to run, averaged over a minute, before it began.
    load: f64,
}

impl Environment {
    pub(super) fn now() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        let cpus = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        let field = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let kib = field(&memory, "MemTotal");
        let kib: u64 = kib.trim_end_matches(" kB").parse().unwrap_or_default();
        let load = read("/proc/loadavg")?;
        let load = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&cpus, "model name"),
            memory_bytes: kib * 1024,
            nsbpf_commit: commit(),
            iproute2: process::output(Command::new("ip").arg("-V"))?.trim().to_owned(),
            load,
        })
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, processors, processor, memory_bytes, nsbpf_commit, iproute2, load } =
            self;
        write!(
            formatter,
            "nsbpf {nsbpf_commit}; {iproute2}; Linux {kernel}; {processors} × {processor}, \
             {} GB; load before {load}",
            memory_bytes >> 30
        )
    }
}

/// The commit that is checked out, and whether it is all of it.
pub(super) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        process::output(git.current_dir(workspace::root()).args(arguments))
    };
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let suffix = match changed {
        Ok(changed) if changed.is_empty() => "",
        _ => " with changes",
    };
    format!("{}{suffix}", commit.trim())
}

/// What the processors have done so far, in ticks (`/proc/stat`).
pub(super) struct Processors {
    softirq: u64,
    all: u64,
}

impl Processors {
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        Self::parse(&text).context("understand /proc/stat")
    }

    /// user, nice, system, idle, iowait, irq, softirq, steal; what follows is
    /// part of user.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Option<Vec<u64>> =
            line.split_whitespace().take(8).map(|ticks| ticks.parse().ok()).collect();
        let ticks = ticks?;
        Some(Self { softirq: *ticks.get(6)?, all: ticks.iter().sum() })
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks of seconds")]
    pub(super) fn softirq_share_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.softirq.saturating_sub(before.softirq) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softirq_is_a_share_of_all_time() {
        let before = Processors::parse("cpu  10 0 10 100 0 0 5 0 7 0\ncpu0 1").unwrap();
        let after = Processors::parse("cpu  20 0 20 150 0 5 30 0 9 0\n").unwrap();
        assert!((after.softirq_share_since(&before) - 0.25).abs() < 1e-9);
        assert!(Processors::parse("cpu0 1 2 3").is_none());
    }
}
