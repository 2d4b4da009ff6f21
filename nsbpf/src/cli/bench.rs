//! `nsbpf bench`: what the datapath costs, measured here.

mod arguments;

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::privilege;
use super::progress::Bar;
use super::say::say;
use crate::bench::{self, Comparison, EarlierReport, Options, Progress};
use crate::datapath;
use crate::net::world;
use crate::state::IngressHook;
pub(super) use arguments::Bench;

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let options = self.options()?;
        let Self { selftest, compare, json, svg, .. } = self;
        privilege::prepare()?;
        datapath::probe(IngressHook::Xdp).map_err(super::exit::Unsupported::from)?;
        let earlier = compare.map(|path| read_earlier(&path, &options)).transpose()?;
        // Opened before: the world has a /run of its own, and nobody wants to wait in vain.
        let json = json.map(create).transpose()?;
        let svg = svg.map(create).transpose()?;
        // No other thread is there yet, and none will be elsewhere.
        world::enter()?;
        let (bar, is_seen) = (Bar::new(), io::stderr().is_terminal());
        let tell = |progress: Progress<'_>| {
            let Progress { what, round, rounds } = progress;
            if is_seen {
                bar.show(round.into(), rounds.into(), what);
            } else if round == 0 {
                // Who does not hear it may still want the report.
                let _ = writeln!(io::stderr(), "{what}");
            }
        };
        if selftest {
            let found = bench::selftest(&options, &tell)?;
            say(&found.to_string())?;
            let good = found.found_the_delay() && found.found_nothing_else();
            return if good { Ok(()) } else { Err(super::exit::Untrustworthy.into()) };
        }
        let report = bench::datapath(&options, &tell)?;
        drop(bar);
        say(&report.to_string())?;
        let comparison = earlier.map(|earlier| Comparison::of(&report, &earlier));
        if let Some(comparison) = &comparison {
            say(&format!("\n{comparison}"))?;
        }
        if let Some(file) = json {
            let mut text = serde_json::to_string_pretty(&report)?;
            text.push('\n');
            write(file, &text)?;
        }
        if let Some(file) = svg {
            write(file, &report.svg()?)?;
        }
        match comparison.map_or(0, |comparison| comparison.slower()) {
            0 => Ok(()),
            slower => Err(super::exit::Slower(slower).into()),
        }
    }
}

fn create(path: PathBuf) -> anyhow::Result<(PathBuf, File)> {
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    Ok((path, file))
}

fn write((path, mut file): (PathBuf, File), text: &str) -> anyhow::Result<()> {
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// A report of an earlier run, which has to have some of what is to be measured.
fn read_earlier(path: &Path, options: &Options) -> anyhow::Result<EarlierReport> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let wrong = |why: String| super::exit::Usage(format!("{}: {why}", path.display()));
    let report = EarlierReport::read(&text).map_err(|error| wrong(error.to_string()))?;
    if !report.has_any_of(options) {
        return Err(wrong("it has nothing of what is to be measured now".to_owned()).into());
    }
    Ok(report)
}
