//! What `nsbpf bench` is asked for, and what that means.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

use crate::bench::{
    self, Command, Ip, MAX_BYTES, MAX_FLOWS, MAX_PORTS, MAX_RULES, MAX_STREAMS, MAX_TABLE,
    MIN_BYTES, Options, Part, Stages,
};
use crate::cli::exit::Usage;

#[derive(Debug, Args)]
pub(in crate::cli) struct Bench {
    /// Paths that are compared [default: those that each experiment is about]
    #[arg(long, value_name = "MODE", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(bench::mode_names()))]
    modes: Vec<String>,
    /// What is measured [default: all but `policy`]
    #[arg(long, value_name = "WHAT", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Part::ALL.map(Part::name)).try_map(part))]
    only: Vec<Part>,
    #[command(flatten)]
    much: HowMuch,
    /// Only how cost grows: with so many ports on the bridge, and so many flows
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', conflicts_with_all = ["quick", "full",
        "only", "flow_counts", "streams", "ports", "table", "with"],
        value_parser = clap::value_parser!(u16).range(2..=i64::from(MAX_PORTS)))]
    scale: Vec<u16>,
    /// Rounds at most [default: 18]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    rounds: Option<u8>,
    /// How well ratios have to be known, 95 of 100 times, for rounds to end before [default: 2]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    within: Option<f64>,
    /// For how long is sent in a round [default: 50ms]
    #[arg(long, value_name = "TIME", value_parser = round)]
    round: Option<Duration>,
    #[command(flatten)]
    grid: Grid,
    #[command(flatten)]
    stages: StageArguments,
    #[command(flatten)]
    brought: Brought,
    /// Ports that are attached and read; the targets are for 1,000 [default: 1000]
    #[arg(long, value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(2..=i64::from(MAX_PORTS)))]
    ports: Option<u16>,
    /// Flows that are in a table, and read; the targets are for 1,000,000 [default: 1000000]
    #[arg(long, value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TABLE)))]
    table: Option<u32>,
    /// Have all paths that track flows judge by a policy of so many rules, the last of which lets
    /// pass what is measured; with `--only policy`, how many are many [default there: 10000]
    #[arg(long, value_name = "RULES", conflicts_with_all = ["flows", "count_only"],
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RULES)))]
    policy: Option<u32>,
    /// Only test the benchmark: it has to find a delay that is known
    #[arg(long, conflicts_with_all = ["quick", "full", "scale", "only", "modes", "frame_bytes",
        "flow_counts", "ip", "streams", "flows", "count_only", "with", "ports", "table",
        "policy", "compare", "json", "svg"])]
    pub(super) selftest: bool,
    #[command(flatten)]
    pub(super) outputs: Outputs,
}

#[derive(Debug, Args)]
struct HowMuch {
    /// Less of it: 6 rounds, short frames of one flow over IPv4
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// More of it: all paths with all sizes and flows, up to 40 minutes
    #[arg(long)]
    full: bool,
}

/// What frames and connections are like.
#[derive(Debug, Args)]
struct Grid {
    /// Bytes of frames; those over 3,300 by sockets only [default: 64,1514]
    #[arg(long, value_name = "BYTES", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(i64::from(MIN_BYTES)..=i64::from(MAX_BYTES)))]
    frame_bytes: Vec<u16>,
    /// Flows that frames are of [default: 1,1000,100000]
    #[arg(long, value_name = "NUMBER", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    flow_counts: Vec<u32>,
    /// Versions of IP [default: 4,6]
    #[arg(long, value_name = "VERSION", value_delimiter = ',', value_parser = ip)]
    ip: Vec<Ip>,
    /// TCP connections at once [default: 1,4]
    #[arg(long, value_name = "NUMBER", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_STREAMS)))]
    streams: Vec<u16>,
}

/// What is left of the datapath's stages.
#[derive(Debug, Args)]
struct StageArguments {
    /// Whether the datapath tracks flows, on all paths that have one
    #[arg(long, value_name = "WHETHER", conflicts_with = "count_only")]
    flows: Option<Switch>,
    /// Have the datapath count, and redirect where the path does, but nothing else
    #[arg(long)]
    count_only: bool,
}

/// Somebody else's program.
#[derive(Debug, Args)]
struct Brought {
    /// Also measure a command: it runs in the sender's namespace once a round, with the
    /// addresses for {sender} and {receiver}; no shell reads it
    #[arg(long, value_name = "COMMAND", value_parser = words)]
    with: Option<Words>,
    /// What that command talks to, in the receiver's namespace
    #[arg(long, value_name = "COMMAND", requires = "with", value_parser = words)]
    server: Option<Words>,
    /// The command's figure in the JSON that it prints, such as
    /// /end/sum_received/bits_per_second [default: what the receiver's interface counts]
    #[arg(long, value_name = "POINTER", requires = "with", value_parser = pointer)]
    field: Option<String>,
    /// Less of that figure is better
    #[arg(long, requires = "field")]
    less_is_better: bool,
}

/// Where it goes besides.
#[derive(Debug, Args)]
pub(super) struct Outputs {
    /// Also tell what is slower, or faster, than in this report of an earlier run, and not by
    /// chance; fails if anything is slower
    #[arg(long, value_name = "FILE")]
    pub(super) compare: Option<PathBuf>,
    /// Also write all that was measured to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Also draw bar charts into a file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// A command, as words.
#[derive(Clone, Debug)]
struct Words(Vec<String>);

fn part(name: String) -> Result<Part, String> {
    Part::ALL.into_iter().find(|part| part.name() == name).ok_or(name)
}

fn ip(text: &str) -> Result<Ip, String> {
    match text {
        "4" => Ok(Ip::V4),
        "6" => Ok(Ip::V6),
        _ => Err("4 or 6".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "a number".to_owned())?;
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err("0 to 100".to_owned()) }
}

fn round(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(1)..=Duration::from_secs(60);
    if allowed.contains(&time) { Ok(time) } else { Err("1ms to 60s".to_owned()) }
}

fn words(text: &str) -> Result<Words, String> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => Err("it is empty".to_owned()),
        Ok(words) => Ok(Words(words)),
        Err(error) => Err(error.to_string()),
    }
}

fn pointer(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("a JSON pointer begins with /".to_owned())
    }
}

/// How much there is of all, by default.
struct Amount {
    rounds: u8,
    percent: f64,
    round: Duration,
    frame_bytes: &'static [u16],
    flow_counts: &'static [u32],
    ip: &'static [Ip],
    streams: &'static [u16],
    ports: u16,
    table: u32,
    swaps: &'static [u32],
}

const USUAL: Amount = Amount {
    rounds: 18,
    percent: 2.0,
    round: Duration::from_millis(50),
    frame_bytes: &[64, 1514],
    flow_counts: &[1, 1_000, 100_000],
    ip: &[Ip::V4, Ip::V6],
    streams: &[1, 4],
    ports: 1_000,
    table: 1_000_000,
    swaps: &[10_000, MAX_RULES],
};
const QUICK: Amount = Amount {
    rounds: 6,
    frame_bytes: &[64],
    flow_counts: &[1],
    ip: &[Ip::V4],
    streams: &[1],
    ports: 100,
    table: 100_000,
    swaps: &[10_000],
    ..USUAL
};
const FULL: Amount = Amount {
    rounds: 48,
    percent: 1.0,
    frame_bytes: &[64, 128, 256, 512, 1024, 1514, 3014, 9014],
    flow_counts: &[1, 1_000, 32_000, 100_000],
    streams: &[1, 4, 16],
    ..USUAL
};
/// The paths whose cost may grow with anything.
const SCALED: [&str; 5] = ["bridge", "counters", "redirect", "peer", "xdp"];

impl Bench {
    /// What is to be measured.
    ///
    /// # Errors
    /// It contradicts itself.
    pub(super) fn options(&self) -> Result<Options, Usage> {
        let Self { modes, only, much, rounds, within, round, grid, ports, table, policy, .. } =
            self;
        let amount = match much {
            HowMuch { quick: true, .. } => QUICK,
            HowMuch { full: true, .. } => FULL,
            HowMuch { .. } => USUAL,
        };
        let Grid { frame_bytes, flow_counts, ip, streams } = grid;
        let command = self.brought.command();
        if only.contains(&Part::Command) && command.is_none() {
            return Err(Usage("which command? `--only command` needs `--with`".to_owned()));
        }
        let usual: Vec<Part> = Part::ALL.into_iter().filter(|part| part.is_usual()).collect();
        let mut parts = or(only, &usual);
        if command.is_some() && !parts.contains(&Part::Command) {
            parts.push(Part::Command);
        }
        let options = Options {
            parts,
            modes: modes.clone(),
            all_modes: much.full,
            rounds: rounds.unwrap_or(amount.rounds),
            within: within.unwrap_or(amount.percent) / 100.0,
            round: round.unwrap_or(amount.round),
            frame_bytes: or(frame_bytes, amount.frame_bytes),
            flow_counts: or(flow_counts, amount.flow_counts),
            ip: or(ip, amount.ip),
            streams: or(streams, amount.streams),
            bridge_ports: Vec::new(),
            stages: self.stages.stages(),
            command,
            attach: vec![ports.unwrap_or(amount.ports)],
            table: vec![table.unwrap_or(amount.table)],
            policy: *policy,
            swaps: policy.map_or_else(|| amount.swaps.to_vec(), |rules| vec![rules]),
        };
        let options = if self.scale.is_empty() { options } else { self.scaled(options) };
        if options.is_empty() {
            let why = "nothing is left to measure: frames of more than 3,300 bytes, and several \
                flows, are not for all that `--only` and `--modes` leave";
            return Err(Usage(why.to_owned()));
        }
        Ok(options)
    }

    /// The same, of what grows.
    fn scaled(&self, options: Options) -> Options {
        let mut numbers = self.scale.clone();
        numbers.sort_unstable();
        numbers.dedup();
        let or_scaled = |modes: Vec<String>| match modes.as_slice() {
            [] => SCALED.map(str::to_owned).to_vec(),
            _ => modes,
        };
        Options {
            parts: vec![Part::Table, Part::Ports, Part::Frames],
            modes: or_scaled(options.modes),
            frame_bytes: or(&self.grid.frame_bytes, QUICK.frame_bytes),
            flow_counts: [1].into_iter().chain(numbers.iter().copied().map(u32::from)).collect(),
            ip: or(&self.grid.ip, QUICK.ip),
            // Two are usual.
            bridge_ports: numbers.iter().copied().filter(|number| *number > 2).collect(),
            table: numbers.iter().copied().map(u32::from).collect(),
            attach: numbers,
            ..options
        }
    }
}

impl StageArguments {
    fn stages(&self) -> Stages {
        match self {
            Self { count_only: true, .. } => Stages { flows: Some(false) },
            Self { flows, .. } => Stages { flows: flows.map(|switch| switch == Switch::On) },
        }
    }
}

impl Brought {
    fn command(&self) -> Option<Command> {
        let Self { with, server, field, less_is_better } = self;
        let Words(client) = with.clone()?;
        let server = server.clone().map(|Words(words)| words);
        Some(Command { client, server, field: field.clone(), less_is_better: *less_is_better })
    }
}

/// What was given, each once, or else what is usual.
fn or<T: Clone + PartialEq>(given: &[T], usual: &[T]) -> Vec<T> {
    let mut each: Vec<T> = Vec::new();
    for value in if given.is_empty() { usual } else { given } {
        if !each.contains(value) {
            each.push(value.clone());
        }
    }
    each
}
