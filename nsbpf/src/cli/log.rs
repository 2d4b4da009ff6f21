//! `nsbpf log`: what the programs of a lab log.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use log::Record;

use super::exit::broken_pipe;
use super::interrupt::Interrupt;
use super::privilege;
use crate::datapath::{self, KernelLog, ProgramIds};
use crate::lab::Name;
use crate::state::Datapath;
use crate::store::Store;

/// How often it is looked whether others took the programs' place.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Print what the kernel half of a lab logs, until Ctrl-C
///
/// The lab has to be up with `--kernel-log`. Each line is told to one reader only:
/// two of these commands share them.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
}

/// Where a verb that shows something else puts the log.
pub(super) struct OnStandardError;

/// Where it is what the verb is there for.
struct OnStandardOutput;

impl log::Log for OnStandardError {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let _ = writeln!(std::io::stderr(), "{}", line(record));
    }

    fn flush(&self) {}
}

impl log::Log for OnStandardOutput {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let written = writeln!(std::io::stdout(), "{}", line(record));
        if let Err(error) = written
            && broken_pipe(&error.into())
        {
            // Who read us has seen enough.
            std::process::exit(0);
        }
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>) -> String {
    format!("{} {}: {}", record.level(), record.target(), record.args())
}

impl Log {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the async runtime")?;
        runtime.block_on(self.follow())
    }

    /// Reads the log of whichever programs are the lab's.
    async fn follow(self) -> anyhow::Result<()> {
        let mut interrupt = Interrupt::listen().context("listen for signals")?;
        let store = Store::new(&self.lab);
        let mut programs = self.programs(&store)?;
        loop {
            let log = KernelLog::open(&store, &OnStandardOutput)?;
            tokio::select! {
                () = interrupt.wished() => return Ok(()),
                ended = log.forward() => return Ok(ended?),
                others = self.others(&store, programs) => programs = others?,
            }
        }
    }

    /// The programs, which must be such as log.
    fn programs(&self, store: &Store) -> anyhow::Result<ProgramIds> {
        let Self { lab } = self;
        if !store.folder().exists() {
            bail!("there is no lab `{lab}`: `nsbpf ls` lists those that are up");
        }
        match datapath::observe(store) {
            None => bail!("the lab `{lab}` has no programs: it was brought up with `--hook none`"),
            Some((Datapath { log: false, .. }, _)) => bail!(
                "the programs of `{lab}` were not loaded to log: `nsbpf up FILE --kernel-log` \
                 replaces them in place, and counters go on"
            ),
            Some((_, programs)) => Ok(programs),
        }
    }

    /// Waits for programs that took the place of those.
    async fn others(&self, store: &Store, those: ProgramIds) -> anyhow::Result<ProgramIds> {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if !store.folder().exists() {
                return Err(anyhow!("the lab `{}` was taken down", self.lab));
            }
            if datapath::observe(store).is_none_or(|(_, programs)| programs != those) {
                return self.programs(store);
            }
        }
    }
}
