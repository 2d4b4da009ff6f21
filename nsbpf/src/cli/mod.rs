//! The command line: one file a verb. The only place that prints.

mod bench;
mod check;
mod counters;
mod counting;
mod doctor;
mod down;
mod exec;
mod exit;
mod fastpath;
mod flows;
mod gc;
mod graph;
mod interrupt;
mod lab_file;
mod log;
mod ls;
mod matrix;
mod no_lab;
mod output;
mod plan;
mod policy;
mod privilege;
mod progress;
mod quantity;
mod replace;
mod run;
mod say;
mod schema;
mod screen;
mod settings;
mod show;
mod stats;
mod target;
mod up;
mod verdict;
mod view;

use std::process::ExitCode;

use ::log::LevelFilter;
use clap::{Parser, Subcommand};

/// Network namespaces, wired and watched.
///
/// nsbpf builds namespaces, veth pairs and bridges from one YAML file and counts
/// every packet that crosses between them with eBPF programs.
#[derive(Debug, Parser)]
#[command(name = "nsbpf", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Tell more: -v each step, -vv also what the kernel half logs
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring a lab up, show its counters live, and take it down again
    Run(run::Run),
    /// Bring a lab up, or to where its file is now, and leave it up
    Up(up::Up),
    /// Show what `up` would do: exit code 3 if anything
    Plan(plan::Plan),
    /// Take labs down
    Down(down::Down),
    /// Take away what killed commands left
    Gc(gc::Gc),
    /// List the labs of this host
    Ls(ls::Ls),
    /// Show what a lab is made of now
    Show(show::Show),
    /// Show the counters of a lab that is up
    Stats(stats::Stats),
    /// Show who sent how much to whom
    Matrix(matrix::Matrix),
    /// Show who talks with whom: connections, and what is like them
    Flows(flows::Flows),
    Fastpath(fastpath::FastPath),
    Policy(policy::Policy),
    Log(log::Log),
    /// Draw a lab as a graph
    Graph(graph::Graph),
    /// Check that a lab does what its file expects: exit code 1 if not
    Check(check::Check),
    /// Run a command inside a namespace; its exit code is the result
    Exec(exec::Exec),
    /// Run your shell inside a namespace
    Shell(exec::Shell),
    Doctor(doctor::Doctor),
    /// Measure what the datapath costs
    #[command(hide = true)]
    Bench(Box<bench::Bench>),
    /// Print the JSON Schema of labs, for editors that complete and check them
    Schema(schema::Schema),
}

/// Parses the arguments, runs, and says how it ended:
/// 0 well, 1 it failed, `doctor` found a problem or something is not as a lab expects,
/// 2 wrong usage or an invalid lab, 3 `plan` found changes,
/// 4 a privilege or a kernel feature is missing. `exec` and `shell` end as their
/// command does, or with 126 or 127 if it cannot be started.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { verb, verbose } = Cli::parse();
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        // Pages of relocations are of no use to anybody here.
        .filter_module("aya", LevelFilter::Warn)
        .filter_module("aya_obj", LevelFilter::Warn)
        .format_timestamp_millis()
        .init();
    let outcome = match verb {
        Verb::Run(run) => run.run(),
        Verb::Up(up) => up.run(),
        Verb::Plan(plan) => plan.run(),
        Verb::Down(down) => down.run(),
        Verb::Gc(gc) => gc.run(),
        Verb::Ls(ls) => ls.run(),
        Verb::Show(show) => show.run(),
        Verb::Stats(stats) => stats.run(),
        Verb::Matrix(matrix) => matrix.run(),
        Verb::Flows(flows) => flows.run(),
        Verb::Fastpath(fastpath) => fastpath.run(),
        Verb::Policy(policy) => policy.run(),
        Verb::Log(log) => log.run(),
        Verb::Graph(graph) => graph.run(),
        Verb::Check(check) => check.run(),
        Verb::Exec(exec) => exec.run(),
        Verb::Shell(shell) => shell.run(),
        Verb::Doctor(doctor) => doctor.run(),
        Verb::Bench(bench) => bench.run(),
        Verb::Schema(schema) => schema.run(),
    };
    exit::code(outcome)
}
