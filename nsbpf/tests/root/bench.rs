//! The benchmark of topologies still measures, on a handful of namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::command::finish;

pub(crate) const TESTS: &[Test] = &[("bench::topologies_are_measured", topology)];

/// Beside nsbpf, once `cargo xtask` was used at all.
fn xtask() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_nsbpf")).with_file_name("xtask")
}

/// Why a test of that name cannot run here.
pub(crate) fn why_not(test: &str) -> Option<&'static str> {
    (test.starts_with("bench::") && !xtask().is_file()).then_some("needs `cargo build -p xtask`")
}

fn topology() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    let mut bench = Command::new(xtask());
    bench.args(["bench", "topology", "--namespaces", "4", "--rounds", "1", "--watch", "20"]);
    bench.arg("--nsbpf").arg(env!("CARGO_BIN_EXE_nsbpf")).arg("--json").arg(&json);
    let done =
        finish(bench.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    let rows = report["rows"].as_array().expect("rows");
    for row in rows {
        let refused = row["note"].as_str().is_some_and(|note| note.starts_with("not available"));
        assert!(row["median"].is_number() != refused, "{row}");
        let what = row["what"].as_str().expect("a name");
        assert!(done.out.contains(what), "{what} is not printed");
    }
    let up = rows.iter().find(|row| row["what"] == "up with the datapath, both directions");
    let up = up.expect("a row for up");
    assert!(up["median"].as_f64() > Some(0.0), "{up}");
    assert!(up["script_ratio"].is_number() && up["batch_ratio"].is_number(), "{up}");
    assert_eq!(report["growth"].as_array().map(Vec::len), Some(3));
    Ok(())
}
