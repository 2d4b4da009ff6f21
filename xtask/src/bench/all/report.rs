//! The one report: all figures in a table, and all that benchmarks said themselves.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::benchmark::Outcome;
use super::remove;
use crate::bench::environment::Environment;
use crate::bench::figure::{Count, Figure};
use crate::bench::markdown::table;

/// Changes when a field goes, or means something else.
const SCHEMA: u32 = 1;

/// What came of all benchmarks.
pub(super) struct Report {
    environment: Environment,
    quick: bool,
    outcomes: Vec<Outcome>,
}

impl Report {
    pub(super) fn new(environment: Environment, quick: bool, outcomes: Vec<Outcome>) -> Self {
        Self { environment, quick, outcomes }
    }

    /// The names of benchmarks that failed.
    pub(super) fn failed(&self) -> Vec<&'static str> {
        self.failures().map(|(name, _)| name).collect()
    }

    fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.outcomes.iter().filter_map(|outcome| Some((outcome.name, outcome.failure.as_deref()?)))
    }

    /// With the name of the benchmark that each is of.
    fn figures(&self) -> impl Iterator<Item = (&'static str, &Figure)> {
        self.outcomes
            .iter()
            .flat_map(|outcome| outcome.figures.iter().map(|figure| (outcome.name, figure)))
    }

    /// All targets, beside what was measured.
    pub(super) fn summary(&self) -> String {
        let header = ["benchmark", "what", "must", "stretch", "measured", "verdict"];
        let mut rows = table(&header, 2);
        for (name, figure) in self.figures() {
            let cells = figure.cells();
            rows.add_row([name, &figure.what].into_iter().chain(cells.iter().map(String::as_str)));
        }
        let figures: Vec<_> = self.figures().map(|(_, figure)| figure).collect();
        let failures = self.failures().map(|(name, why)| format!("\n\n{name} failed: {why}"));
        format!("{rows}\n\n{}{}", Count(&figures), failures.collect::<String>())
    }

    fn markdown(&self) -> String {
        let Self { environment, quick, outcomes } = self;
        let quick = if *quick { " --quick" } else { "" };
        let summary = self.summary();
        let mut text = format!("# cargo xtask bench{quick}\n\n{environment}\n\n{summary}\n");
        for Outcome { name, output, .. } in outcomes {
            write!(text, "\n## {name}\n\n{}\n", output.trim_end()).expect("writing to a string");
        }
        text
    }

    fn json(&self) -> Value {
        let Self { environment, quick, outcomes } = self;
        let benchmarks: Map<String, Value> =
            outcomes.iter().map(|it| (it.name.to_owned(), it.json.clone())).collect();
        let failed: Map<String, Value> =
            self.failures().map(|(name, why)| (name.to_owned(), why.into())).collect();
        let figure = |(name, figure): (&str, &Figure)| {
            let mut figure = json!(figure);
            figure["benchmark"] = name.into();
            figure
        };
        json!({
            "schema": SCHEMA,
            "commit": environment.nsbpf_commit,
            "quick": quick,
            "environment": environment,
            "benchmarks": benchmarks,
            "failed": failed,
            "figures": self.figures().map(figure).collect::<Vec<_>>(),
        })
    }

    /// Both forms of it.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(&self.json())? + "\n";
        for (name, text) in [("report.json", json), ("report.md", self.markdown())] {
            let file = folder.join(name);
            remove(&file)?;
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
            eprintln!("wrote {}", file.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figure::{Verdict, tests::figure};

    fn report() -> Report {
        let topology = Outcome {
            name: "topology",
            output: "as it was printed\n\n".to_owned(),
            json: json!({ "rows": [1, 2] }),
            figures: vec![figure(Some(1.0), Some(Verdict::Met)), figure(None, None)],
            failure: None,
        };
        let datapath = Outcome {
            name: "datapath",
            output: "half of\n".to_owned(),
            json: Value::Null,
            figures: Vec::new(),
            failure: Some("exit status: 4".to_owned()),
        };
        Report::new(Environment::default(), true, vec![topology, datapath])
    }

    #[test]
    fn all_figures_are_in_one_table() {
        let summary = report().summary();
        let lines: Vec<&str> = summary.lines().collect();
        assert_eq!(
            lines[2..],
            [
                "| topology  | up, 4 namespaces | ≤ 3.00 s | ≤ 50.0 ms |  1.000 s |          met |",
                "| topology  | up, 4 namespaces | ≤ 3.00 s | ≤ 50.0 ms |          | not measured |",
                "",
                "2 figures: 0 stretch, 1 met, 0 missed, 1 not measured",
                "",
                "datapath failed: exit status: 4",
            ]
        );
    }

    #[test]
    fn a_benchmark_that_failed_is_told_with_what_it_said() {
        let report = report();
        assert_eq!(report.failed(), ["datapath"]);
        let text = report.markdown();
        assert!(text.starts_with("# cargo xtask bench --quick\n\n"), "{text}");
        let end = "\n\n## topology\n\nas it was printed\n\n## datapath\n\nhalf of\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn what_benchmarks_wrote_is_passed_on_whole() {
        let told = report().json();
        assert_eq!(told["benchmarks"], json!({ "topology": { "rows": [1, 2] }, "datapath": null }));
        assert_eq!(told["failed"], json!({ "datapath": "exit status: 4" }));
        assert_eq!((&told["schema"], &told["quick"]), (&1.into(), &true.into()));
        assert_eq!(
            told["figures"][0],
            json!({
                "benchmark": "topology", "what": "up, 4 namespaces", "unit": "seconds", "must": 3.0,
                "stretch": 0.05, "measured": 1.0, "verdict": "met",
            })
        );
        assert!(told["figures"][1]["measured"].is_null());
    }

    #[test]
    fn an_earlier_report_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.md");
        fs::write(&file, "old").unwrap();
        report().write(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), report().markdown());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
