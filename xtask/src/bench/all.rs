//! `cargo xtask bench`: all benchmarks, one after the other, and one report of them.
//!
//! Each is a process, as if it was started by hand. One that fails keeps none of the
//! others from running, and what was measured is written all the same.

mod benchmark;
mod report;
mod screen;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::environment::Environment;
use super::nsbpf;
use crate::{privilege, run::NoRoot, workspace};
use benchmark::Benchmark;
use report::Report;
use screen::Screen;

#[derive(Args)]
pub(super) struct Options {
    /// Less of everything; what targets are for more of is not judged
    #[arg(long)]
    quick: bool,
    /// Where the report is written [default: target/bench]
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
}

/// In the order in which they run.
const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "topology", quick: &["--quick"] },
    Benchmark { name: "datapath", quick: &["--", "--quick"] },
    Benchmark { name: "policy", quick: &["--quick"] },
];

pub(super) fn run(options: &Options) -> Result<()> {
    let Options { quick, report } = options;
    let folder = report.clone().map_or_else(workspace::benchmarks, Ok)?;
    prepare(&folder)?;
    privilege::way().ok_or(NoRoot)?;
    let environment = Environment::now()?;
    let program = nsbpf::build()?;
    let mut screen = Screen::default();
    let run = |benchmark: &Benchmark| benchmark.run(&program, *quick, &folder, &mut screen);
    let outcomes = BENCHMARKS.iter().map(run).collect();
    let report = Report::new(environment, *quick, outcomes);
    screen.show(format!("{}\n", report.summary()).as_bytes());
    report.write(&folder)?;
    let failed = report.failed();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Finds out now, and not after minutes, that nothing can be written there.
fn prepare(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    tempfile::tempfile_in(folder).with_context(|| format!("write into {}", folder.display()))?;
    Ok(())
}

/// A file of another run might be somebody else's, or be taken for this run's.
fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Bench {
        #[command(flatten)]
        arguments: crate::bench::Arguments,
    }

    #[test]
    fn all_benchmarks_are_subcommands() {
        for benchmark in BENCHMARKS {
            for quick in [false, true] {
                let arguments = benchmark.arguments(Path::new("a"), Path::new("b"), quick);
                // In place of `bench`, clap expects the name of the program.
                let parsed = Bench::try_parse_from(arguments);
                let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", benchmark.name));
                assert!(parsed.arguments.what.is_some(), "{}", benchmark.name);
            }
        }
    }

    #[test]
    fn what_is_for_all_is_not_for_one() {
        assert!(Bench::try_parse_from(["bench", "--quick", "--report", "folder"]).is_ok());
        assert!(Bench::try_parse_from(["bench", "--quick", "datapath"]).is_err());
    }

    #[test]
    fn a_folder_is_made_and_left_empty() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        prepare(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let file = folder.join("file");
        remove(&file).unwrap();
        fs::write(&file, "old").unwrap();
        assert!(prepare(&file).is_err());
        remove(&file).unwrap();
        assert!(!file.exists());
    }
}
