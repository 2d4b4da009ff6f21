//! `nsbpf bench`: what the datapath costs, measured here.

mod arguments;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::Context;

use super::exit::{Failed, Slower, Untrustworthy, Usage};
use super::output::Output;
use super::privilege;
use super::progress::Bar;
use super::say::say;
use crate::bench::{self, Comparison, EarlierReport, Options, Progress};
use crate::datapath;
use crate::net::world;
use crate::state::IngressHook;
pub(super) use arguments::Bench;
use arguments::Outputs;

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let options = self.options()?;
        let Self { selftest, outputs, .. } = self;
        privilege::prepare()?;
        datapath::probe(IngressHook::Xdp).map_err(super::exit::Unsupported::from)?;
        let Outputs { compare, json, svg } = outputs;
        let earlier = compare.map(|path| read_earlier(&path, &options)).transpose()?;
        // The world has a /run of its own.
        let json = json.map(Output::create).transpose()?;
        let svg = svg.map(Output::create).transpose()?;
        // No other thread is there yet, and none will be elsewhere.
        world::enter()?;
        if selftest {
            let found = with_progress(|tell| bench::selftest(&options, tell))?;
            let good = found.found_the_delay() && found.found_nothing_else();
            return show(&found.to_string(), good.then_some(()).ok_or(Untrustworthy));
        }
        let report = with_progress(|tell| bench::datapath(&options, tell))?;
        // Who reads what is printed may have enough of it.
        if let Some(output) = json {
            let mut text = serde_json::to_string_pretty(&report)?;
            text.push('\n');
            output.write(&text)?;
        }
        if let Some(output) = svg {
            output.write(&report.svg()?)?;
        }
        let comparison = earlier.map(|earlier| Comparison::of(&report, &earlier));
        let beside = comparison.as_ref().map(|it| format!("\n\n{it}")).unwrap_or_default();
        let text = format!("{report}{beside}");
        match (report.failed(), comparison.map_or(0, |comparison| comparison.slower())) {
            (0, 0) => show(&text, Ok::<_, Failed>(())),
            (0, slower) => show(&text, Err(Slower(slower))),
            (failed, _) => show(&text, Err(Failed(failed))),
        }
    }
}

/// Prints what was found. That nobody reads it any more does not change the outcome.
fn show<E>(text: &str, outcome: Result<(), E>) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match say(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        said => said?,
    }
    Ok(outcome?)
}

/// Tells what comes next: in a bar on a terminal, otherwise a line each.
fn with_progress<T>(work: impl FnOnce(&dyn Fn(Progress<'_>)) -> T) -> T {
    let (bar, is_seen) = (Bar::new(), io::stderr().is_terminal());
    work(&|progress: Progress<'_>| {
        let Progress { what, round, rounds } = progress;
        if is_seen {
            bar.show(round.into(), rounds.into(), what);
        } else if round == 0 {
            // Who does not hear it may still want the report.
            let _ = writeln!(io::stderr(), "{what}");
        }
    })
}

/// A report of an earlier run, which has to have some of what is to be measured.
fn read_earlier(path: &Path, options: &Options) -> anyhow::Result<EarlierReport> {
    /// Bytes of a report at most: a full one has two million.
    const MOST: u64 = 64 << 20;
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(MOST).read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    };
    let text = read().with_context(|| format!("read {}", path.display()))?;
    EarlierReport::read(&text, options)
        .map_err(|error| Usage(format!("{}: {error}", path.display())).into())
}
