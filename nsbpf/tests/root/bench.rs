//! The benchmarks still measure, a little of everything. How fast it was is not
//! looked at.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::command::finish;

pub(crate) const TESTS: &[Test] =
    &[("bench::topologies_are_measured", topology), ("bench::the_datapath_is_measured", datapath)];

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
    let done = finish(bench.stdout(Stdio::piped()).stderr(Stdio::piped()));
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

fn datapath() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    let mut bench = Command::new(xtask());
    bench.args(["bench", "datapath", "--rounds", "2", "--round", "5", "--ports", "3"]);
    bench.args(["--flows", "7", "--nsbpf"]).arg(env!("CARGO_BIN_EXE_nsbpf"));
    bench.arg("--json").arg(&json).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = finish(&mut bench);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    assert_eq!((&report["schema"], &report["flows"]), (&1.into(), &7.into()));
    let paths = report["paths"].as_array().expect("paths");
    assert!(paths.len() > 2, "something is compared: {paths:?}");
    for path in paths {
        let ends = paths.iter().filter(|other| other["mode"] == path["mode"]);
        assert_eq!(ends.count(), 2, "each path has two ends: {path}");
    }
    for path in paths {
        let there = path["available"] == true;
        // Only br_netfilter is not everywhere.
        assert!(there || path["mode"] == "bridge+nf", "{path}");
        let counted = path["pps"]["samples"].as_array().map_or(0, Vec::len) as u64;
        let void = path["void_rounds"].as_u64().expect("a number");
        assert_eq!(counted + void, if there { 2 } else { 0 }, "{path}");
        assert!(path["pps"].is_null() || path["pps"]["median"].as_f64() > Some(0.0), "{path}");
        if path["mode"] == "bridge" && counted > 0 {
            assert_eq!(path["of_bridge"]["median"].as_f64(), Some(1.0), "{path}");
        }
        let mode = path["mode"].as_str().expect("a name");
        assert!(done.out.contains(mode), "{mode} is not printed");
    }
    // All frames arrive: somewhere, at least once, whatever else the machine does.
    assert!(paths.iter().any(|path| !path["pps"].is_null()), "{paths:?}");
    for program in report["programs"].as_array().expect("programs") {
        assert!(program["run_ns"]["median"].as_f64() > Some(0.0), "{program}");
        assert!(program["load_seconds"]["median"].as_f64() > Some(0.0), "{program}");
    }
    let figures = report["figures"].as_array().expect("figures");
    for figure in figures {
        let of_ports = figure["what"].as_str().is_some_and(|what| what.contains("3 ports"));
        assert!(!of_ports || figure["measured"].as_f64() > Some(0.0), "{figure}");
        assert!(!of_ports || figure["verdict"].is_null(), "{figure}: targets are for 1,000 ports");
        let nothing = figure["measured"].is_null();
        assert!(!nothing || figure["verdict"].is_null(), "{figure}");
    }
    for path in paths.iter().filter(|path| path["end"] == "xdp_sink") {
        let mode = path["mode"].as_str().expect("a name");
        let judged = figures.iter().any(|figure| {
            figure["unit"] == "share"
                && figure["what"].as_str().is_some_and(|what| what.starts_with(&format!("{mode},")))
        });
        assert_eq!(judged, mode.starts_with("counters"), "{mode}");
    }
    Ok(())
}
