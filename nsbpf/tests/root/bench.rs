//! The benchmarks still measure, a little of everything. How fast it was is not
//! looked at.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::command::{Done, finish, run};

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
    bench.args(["--flows", "7", "--table", "1000", "--nsbpf"]).arg(env!("CARGO_BIN_EXE_nsbpf"));
    bench.arg("--json").arg(&json).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = finish(&mut bench);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    assert_eq!((&report["schema"], &report["flows"]), (&2.into(), &7.into()));
    let paths = report["paths"].as_array().expect("paths");
    let has = |mode: &str, end: &str| {
        assert!(
            paths.iter().any(|path| path["mode"] == mode && path["end"] == end),
            "{mode} {end}"
        );
    };
    for mode in ["wire", "bridge", "bridge+nf", "counters", "flows", "redirect", "xdp"] {
        has(mode, "xdp_sink");
        has(mode, "receiver");
    }
    // The sink does not see what these bring.
    for mode in ["peer", "router", "routed"] {
        has(mode, "receiver");
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
    tcp(&report, &done.out);
    compared(json.to_str().expect("UTF-8"));
    for program in report["programs"].as_array().expect("programs") {
        assert!(program["run_ns"]["median"].as_f64() > Some(0.0), "{program}");
        assert!(program["load_seconds"]["median"].as_f64() > Some(0.0), "{program}");
    }
    let figures = report["figures"].as_array().expect("figures");
    for figure in figures {
        let of_ports = figure["what"].as_str().is_some_and(|what| what.contains("3 ports"));
        assert!(!of_ports || figure["measured"].as_f64() > Some(0.0), "{figure}");
        assert!(!of_ports || figure["verdict"].is_null(), "{figure}: targets are for 1,000 ports");
        let of_flows = figure["what"].as_str().is_some_and(|what| what.contains("1000 flows"));
        assert!(!of_flows || figure["measured"].as_f64() > Some(0.0), "{figure}");
        assert!(!of_flows || figure["verdict"].is_null(), "{figure}: targets are for 1,000,000");
        let nothing = figure["measured"].is_null();
        assert!(!nothing || figure["verdict"].is_null(), "{figure}");
    }
    let judged = |what: &str| {
        let figure = figures.iter().find(|figure| figure["what"] == what);
        figure.unwrap_or_else(|| panic!("nothing is told of {what}"))
    };
    for what in ["TCP round trip p50, peer, of wire", "TCP in bulk, peer, of wire"] {
        assert!(judged(what)["measured"].as_f64() > Some(0.0), "{what}");
    }
    Ok(())
}

/// A second run beside the first: rounds this short may tell anything, but it is told; and
/// beside one that carried a hundred times as much, or as little, what has to be.
fn compared(before: &str) {
    let scaled = |by: f64| {
        let mut report: Value =
            serde_json::from_slice(&std::fs::read(before).expect("a report")).expect("JSON");
        for path in report["paths"].as_array_mut().expect("paths") {
            for figure in ["median", "lower_quartile", "upper_quartile"] {
                if let Some(value) = path["of_bridge"][figure].as_f64() {
                    path["of_bridge"][figure] = (value * by).into();
                }
            }
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), report.to_string()).expect("write a report");
        file
    };
    let few = ["bench", "--rounds", "1", "--round", "5ms", "--ports", "2", "--table", "1000"];
    let few = [&few[..], &["--modes", "wire,bridge,peer"]].concat();
    let Done { code, out, err } = run(&[&few[..], &["--flows", "7", "--compare", before]].concat());
    assert!(matches!(code, Some(0 | 1)), "{err}");
    assert!(out.contains("before: object ") && out.contains("peer, receiver, of bridge"), "{out}");
    let beside = |by: f64| {
        let file = scaled(by);
        let path = file.path().to_str().expect("UTF-8");
        run(&[&few[..], &["--flows", "7", "--compare", path]].concat())
    };
    let peer =
        |out: &str| out.lines().find(|line| line.contains("| peer, receiver")).map(str::to_owned);
    let Done { code, out, .. } = beside(100.0);
    assert!(code == Some(1) && peer(&out).is_some_and(|it| it.contains("slower")), "{out}");
    let out = beside(0.01).out;
    assert!(peer(&out).is_some_and(|it| it.contains("faster")), "{out}");
    let Done { code, err, .. } = run(&[&few[..], &["--compare", before]].concat());
    assert!(code == Some(2) && err.contains("were of 7 flows"), "{err}");
}

/// Nothing of it is ever void.
fn tcp(report: &Value, printed: &str) {
    const MODES: [&str; 4] = ["wire", "bridge", "redirect", "peer"];
    let two = report["processors"]["other"].is_number();
    let rows = |name: &str| report[name].as_array().cloned().expect("rows");
    let round_trips = rows("round_trips");
    assert_eq!(round_trips.len(), MODES.len() * if two { 2 } else { 1 });
    for row in &round_trips {
        assert_eq!(row["p50_ns"]["samples"].as_array().map(Vec::len), Some(2), "{row}");
        let median = |name: &str| row[name]["median"].as_f64().expect("a number");
        assert!(median("p50_ns") > 0.0 && median("p50_ns") <= median("p99_ns"), "{row}");
        assert!(median("per_second") > 0.0 && median("p50_of_wire") > 0.0, "{row}");
    }
    let bulk = rows("bulk");
    for row in &bulk {
        assert_eq!(row["processors"], if two { 2 } else { 1 }, "{row}");
        assert!(row["bits_per_second"]["median"].as_f64() > Some(0.0), "{row}");
        assert!(row["of_wire"]["median"].as_f64() > Some(0.0), "{row}");
    }
    for rows in [&round_trips[..MODES.len()], &bulk] {
        let modes: Vec<&str> = rows.iter().filter_map(|row| row["mode"].as_str()).collect();
        assert_eq!(modes, MODES);
    }
    assert!(printed.contains("TCP round trip") && printed.contains("TCP in bulk"), "{printed}");
}
