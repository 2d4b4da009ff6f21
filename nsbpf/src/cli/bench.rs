//! `nsbpf bench`: what the datapath costs, measured here.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::privilege;
use super::say::say;
use crate::bench::{self, Comparison, EarlierReport, MAX_FLOWS, MAX_PORTS, MAX_TABLE, Options};
use crate::datapath;
use crate::net::world;
use crate::state::IngressHook;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Rounds that count
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// For how long frames are sent in a round
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration,
        default_value = "80ms")]
    round: Duration,
    /// Flows that the frames are of
    #[arg(long, default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_FLOWS)))]
    flows: u16,
    /// Paths that are compared [default: all]
    #[arg(long, value_name = "MODE", value_delimiter = ',', value_parser = mode)]
    modes: Vec<String>,
    /// Ports that are attached and read; the targets are for 1,000
    #[arg(long, default_value_t = MAX_PORTS,
        value_parser = clap::value_parser!(u16).range(2..=i64::from(MAX_PORTS)))]
    ports: u16,
    /// Flows that are in a table, and read; the targets are for 1,000,000
    #[arg(long, default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TABLE)))]
    table: u32,
    /// The same as `--rounds 7 --ports 100 --table 100000`
    #[arg(long, conflicts_with_all = ["rounds", "ports", "table"])]
    quick: bool,
    /// Also tell what is slower, or faster, than in this report of an earlier run, and not by
    /// chance; fails if anything is slower
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Also write all that was measured to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A path, by its name.
fn mode(text: &str) -> Result<String, String> {
    match bench::mode_names().find(|name| *name == text) {
        Some(name) => Ok(name.to_owned()),
        None => Err(bench::mode_names().collect::<Vec<_>>().join(", ")),
    }
}

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { rounds, round, flows, mut modes, ports, table, quick, compare, json } = self;
        let (rounds, ports, table) = if quick { (7, 100, 100_000) } else { (rounds, ports, table) };
        if modes.is_empty() {
            modes = bench::mode_names().map(str::to_owned).collect();
        }
        privilege::prepare()?;
        datapath::probe(IngressHook::Xdp).map_err(super::exit::Unsupported::from)?;
        let earlier = compare.map(|path| read_earlier(&path, flows)).transpose()?;
        // Opened before: the world has a /run of its own.
        let json = json.map(|path| {
            let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
            anyhow::Ok((path, file))
        });
        let json = json.transpose()?;
        // No other thread is there yet, and none will be elsewhere.
        world::enter()?;
        let options = Options { rounds, round, flows, modes, ports, table };
        let report = bench::datapath(&options, &|next| eprintln!("{next}"))?;
        say(&report.to_string())?;
        let comparison = earlier.map(|earlier| Comparison::of(&report, &earlier));
        if let Some(comparison) = &comparison {
            say(&format!("\n{comparison}"))?;
        }
        if let Some((path, file)) = json {
            let write = || {
                let mut file = BufWriter::new(file);
                serde_json::to_writer_pretty(&mut file, &report)?;
                writeln!(file)?;
                file.flush()
            };
            write().with_context(|| format!("write {}", path.display()))?;
        }
        match comparison.map_or(0, |comparison| comparison.slower()) {
            0 => Ok(()),
            slower => Err(super::exit::Slower(slower).into()),
        }
    }
}

/// A report of an earlier run.
fn read_earlier(path: &Path, flows: u16) -> anyhow::Result<EarlierReport> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    EarlierReport::read(&text, flows)
        .map_err(|error| super::exit::Usage(format!("{}: {error}", path.display())).into())
}
