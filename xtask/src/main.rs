//! The tasks of nsbpf's developers: one file each, run as `cargo xtask <task>`.
//!
//! Tasks start programs directly, never through a shell, and print what they run.

mod bench;
mod command;
mod ebpf;
mod lint;
mod privilege;
mod run;
mod setup;
mod tally;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The tasks of nsbpf's developers"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Run(run::Arguments),
    Test(test::Arguments),
    Lint(lint::Arguments),
    Ebpf(ebpf::Arguments),
    Setup(setup::Arguments),
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Run(arguments) => run::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Lint(arguments) => lint::run(&arguments),
        Task::Ebpf(arguments) => ebpf::run(&arguments),
        Task::Setup(arguments) => setup::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // As nsbpf itself says that a privilege is missing.
            if error.is::<run::NoRoot>() { ExitCode::from(4) } else { ExitCode::FAILURE }
        }
    }
}
