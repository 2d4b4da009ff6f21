//! `nsbpf check`: does a lab that is up do what its file expects?
//!
//! It takes no lock: what it makes are sockets, and they end with it.

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::exit::{Unmet, Usage};
use super::progress::Bar;
use super::say::say;
use super::verdict::{matrix_text, verdicts};
use super::view::Format;
use super::{lab_file, privilege};
use crate::lab::{Lab, Name};
use crate::observe::expectations::{self, ExpectationReport};
use crate::observe::matrix::{self, MAX_PAIRS, MatrixReport};
use crate::observe::reach::Reach;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The lab, by its name; what it expects is what its file said at `up` or `run`
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// Ping from every namespace to every other, and show who answers
    #[arg(long)]
    all_pairs: bool,
    /// Ping so many of these pairs at most, evenly chosen
    #[arg(long, requires = "all_pairs", value_name = "PAIRS")]
    sample: Option<usize>,
    /// How to show what was found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Report {
    lab: String,
    /// Whether all is as expected.
    met: bool,
    expectations: Vec<ExpectationReport>,
    matrix: Option<MatrixReport>,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let store = Store::new(&self.lab);
        let lab = lab_file::kept(&store)?;
        if lab.expect.is_empty() && !self.all_pairs {
            let message = format!(
                "the lab `{0}` expects nothing: add `expect:` to its file and `nsbpf up` it, \
                 or ping everybody with `nsbpf check {0} --all-pairs`",
                self.lab
            );
            return Err(Usage(message).into());
        }
        self.is_possible(&lab)?;
        let reach = Reach::open(&store, &lab)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the async runtime")?;
        let report = runtime.block_on(self.probe(&reach, &lab))?;
        match self.format {
            Format::Json => say(&serde_json::to_string(&report)?)?,
            Format::Table => {
                let mut text = verdicts(&report.expectations);
                if let Some(matrix) = &report.matrix {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(&matrix_text(matrix));
                }
                say(text.trim_end())?;
            }
        }
        if report.met { Ok(()) } else { Err(Unmet.into()) }
    }

    fn is_possible(&self, lab: &Lab) -> Result<(), Usage> {
        if !self.all_pairs || self.sample.is_some() {
            return Ok(());
        }
        match matrix::count(lab) {
            pairs if pairs > MAX_PAIRS => Err(Usage(format!(
                "{pairs} pairs take long to ping: `--sample {MAX_PAIRS}` pings so many of them, \
                 evenly chosen, `--sample {pairs}` all"
            ))),
            _ => Ok(()),
        }
    }

    async fn probe(&self, reach: &Reach, lab: &Lab) -> anyhow::Result<Report> {
        let expectations = expectations::check(reach, lab, progress("tried")).await?;
        let matrix = if self.all_pairs {
            Some(matrix::ping_all(reach, lab, self.sample, progress("pinged")).await?)
        } else {
            None
        };
        // What a lab expects decides; one that expects nothing is to be whole.
        let met = if lab.expect.is_empty() {
            matrix.as_ref().is_none_or(|matrix| matrix.failures.is_empty())
        } else {
            expectations.iter().all(|report| report.met)
        };
        Ok(Report { lab: lab.name.to_string(), met, expectations, matrix })
    }
}

/// Says how far it is.
fn progress(what: &str) -> impl FnMut(usize, usize) {
    let bar = Bar::new();
    move |done, all| bar.show(done, all, what)
}
