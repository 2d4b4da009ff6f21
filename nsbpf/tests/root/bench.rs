//! The benchmarks still measure, a little of everything. How fast it was is not
//! looked at.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::command::{Done, finish, run};

pub(crate) const TESTS: &[Test] = &[
    ("bench::topologies_are_measured", topology),
    ("bench::the_datapath_is_measured", datapath),
    ("bench::a_run_is_compared_with_another", compared),
    ("bench::a_known_delay_is_found", selftest),
    ("bench::rules_are_measured", rules),
    ("bench::all_paths_may_have_a_policy", with_policy),
    ("bench::cost_is_told_by_number", scaled),
    ("bench::a_command_is_measured", commands),
    ("bench::servers_do_not_outlive_it", servers),
    ("bench::nobody_has_to_read_it", unread),
];

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

/// Little of everything.
const LITTLE: [&str; 14] = [
    "--rounds",
    "2",
    "--round",
    "5ms",
    "--ports",
    "3",
    "--table",
    "1000",
    "--flow-counts",
    "1,7",
    "--frame-bytes",
    "64,3014",
    "--streams",
    "2",
];

fn datapath() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    let mut bench = Command::new(xtask());
    bench.args(["bench", "datapath", "--nsbpf", env!("CARGO_BIN_EXE_nsbpf"), "--json"]);
    bench.arg(&json).arg("--").args(LITTLE).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = finish(&mut bench);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    assert_eq!(report["schema"], 3);
    let experiments = report["experiments"].as_array().expect("experiments");
    for experiment in experiments {
        plausible(experiment, &done.out);
    }
    let two = report["processors"]["other"].is_number();
    let both = if two { "/processors=2" } else { "" };
    experiment(experiments, "connections/ipv4");
    experiment(experiments, &format!("bulk/ipv4/2{both}"));
    experiment(experiments, "round-trips/ipv4");
    experiment(experiments, &format!("round-trips/ipv4{both}"));
    for (shape, mtu) in [("ipv4/64/1", ""), ("ipv6/64/1", ""), ("ipv4/3014/1", "/mtu=3000")] {
        experiment(experiments, &format!("sockets/{shape}{mtu}"));
        for end in ["sink", "receiver"] {
            experiment(experiments, &format!("frames/{shape}/{end}{mtu}"));
        }
    }
    let modes = |id: &str| {
        let paths = experiment(experiments, id)["paths"].as_array().cloned().expect("paths");
        paths.iter().filter_map(|path| path["mode"].as_str().map(str::to_owned)).collect()
    };
    let of: Vec<String> = modes("frames/ipv4/64/1/sink");
    for mode in ["wire", "bridge", "bridge+nf", "counters", "flows", "redirect", "xdp-generic"] {
        assert!(of.iter().any(|name| name == mode), "{mode} is not in {of:?}");
    }
    // The sink does not see what these bring.
    assert!(!of.iter().any(|name| name == "peer" || name == "routed"), "{of:?}");
    let main = ["wire", "bridge", "bridge+nf", "redirect", "peer", "xdp"];
    assert_eq!(modes("frames/ipv4/64/7/receiver"), main);
    assert_eq!(modes("sockets/ipv6/64/1"), main);
    // All frames arrive: somewhere, at least once, whatever else the machine does.
    let sink = experiment(experiments, "frames/ipv4/64/1/sink")["paths"].as_array().cloned();
    let sink = sink.expect("paths");
    assert!(sink.iter().any(|path| path["void_rounds"] == 0), "{sink:?}");
    assert!(experiments.iter().all(|it| it["paths"][0]["failed"].is_null()), "{}", done.out);
    programs(&report);
    figures(&report);
    Ok(())
}

fn experiment<'a>(experiments: &'a [Value], id: &str) -> &'a Value {
    let ids: Vec<&Value> = experiments.iter().map(|experiment| &experiment["id"]).collect();
    let found = experiments.iter().find(|experiment| experiment["id"] == id);
    found.unwrap_or_else(|| panic!("{id} is not among {ids:?}"))
}

/// Whatever rounds this short find, it is consistent, and printed.
fn plausible(experiment: &Value, printed: &str) {
    let title = experiment["title"].as_str().expect("a title");
    assert!(printed.contains(title), "{title} is not printed");
    let about = experiment["about"].as_str().expect("a metric");
    for path in experiment["paths"].as_array().expect("paths") {
        let there = path["available"] == true;
        // Only br_netfilter is not everywhere.
        assert!(there || path["mode"] == "bridge+nf", "{path}");
        let void = path["void_rounds"].as_u64().expect("a number");
        let (sent, delivered) = (path["sent"].as_u64(), path["delivered"].as_u64());
        assert!(delivered <= sent && (sent > Some(0)) == there, "{path}");
        assert!(void > 0 || delivered.map(|it| it * 1000) >= sent.map(|it| it * 999), "{path}");
        let metrics = path["metrics"].as_object().expect("metrics");
        let counted = metrics.get(about).map_or(0, |metric| samples(metric).len() as u64);
        assert_eq!(counted + void, if there { 2 } else { 0 }, "{path}");
        for metric in metrics.values() {
            assert!(metric["median"].as_f64() > Some(0.0), "{path}");
            if path["mode"] == "bridge" {
                assert_eq!(metric["of_bridge"]["median"].as_f64(), Some(1.0), "{path}");
            }
        }
        let p = |name: &str| metrics.get(name).and_then(|metric| metric["median"].as_f64());
        assert!(p("p99").is_none() || p("p50") <= p("p99"), "{path}");
        assert!(p("p99.9").is_none() || p("p99") <= p("p99.9"), "{path}");
    }
}

fn samples(metric: &Value) -> &[Value] {
    metric["samples"].as_array().map_or(&[], Vec::as_slice)
}

fn programs(report: &Value) {
    for program in report["programs"].as_array().expect("programs") {
        assert!(program["run_ns"]["median"].as_f64() > Some(0.0), "{program}");
        assert!(program["load_seconds"]["median"].as_f64() > Some(0.0), "{program}");
    }
    // A frame passes these once each.
    let runs = report["program_runs"].as_array().expect("runs of programs");
    for (mode, program) in
        [("counters", "tc_ingress"), ("flows", "tc_egress"), ("xdp", "xdp_ingress")]
    {
        let run = runs.iter().find(|run| run["mode"] == mode && run["program"] == program);
        let run = run.unwrap_or_else(|| panic!("{program} did not run on {mode}: {runs:?}"));
        let each = run["runs_per_frame"].as_f64().expect("a number");
        assert!((0.9..1.1).contains(&each), "{run}");
        assert!(run["run_ns"].as_f64() > Some(0.0), "{run}");
    }
    let interfaces = report["interfaces"].as_array().expect("interfaces");
    let of = |mode: &str| {
        let found = interfaces.iter().find(|it| it["mode"] == mode && it["mtu"] == 1500);
        found.unwrap_or_else(|| panic!("{mode}: {interfaces:?}"))["offloads"].to_string()
    };
    assert!(of("wire").contains("tx-checksum") && !of("xdp").contains("tx-checksum"));
}

fn figures(report: &Value) {
    let figures = report["figures"].as_array().expect("figures");
    for figure in figures {
        let nothing = figure["measured"].is_null();
        assert!(!nothing || figure["verdict"] != "met", "{figure}");
    }
    // Their targets are for more of them.
    for what in ["attach 3 ports, both directions", "read 1000 flows, the first 20"] {
        let figure = figures.iter().find(|figure| figure["what"] == what).expect("a figure");
        assert!(figure["measured"].as_f64() > Some(0.0) && figure["verdict"].is_null(), "{figure}");
    }
    let judged = figures.iter().find(|it| it["what"] == "TCP round trip p50, peer, of wire");
    assert!(judged.expect("a figure")["measured"].as_f64() > Some(0.0), "{judged:?}");
}

const FEW: [&str; 9] =
    ["bench", "--only", "frames", "--modes", "bridge,peer", "--flow-counts", "1", "--ip", "4"];

/// A second run beside the first: rounds this short may tell anything, but it is told; and
/// beside one that carried a hundred times as much, or as little, what has to be.
fn compared() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let first = folder.path().join("first.json");
    let svg = folder.path().join("first.svg");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let short = ["--rounds", "6", "--round", "5ms", "--frame-bytes", "64"];
    let few = [&FEW[..], &short].concat();
    let files = ["--json", &path(&first), "--svg", &path(&svg)].map(str::to_owned);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let Done { code, err, .. } = run(&[&few[..], &files].concat());
    assert_eq!(code, Some(0), "{err}");
    let drawn = std::fs::read_to_string(&svg)?;
    assert!(drawn.starts_with("<svg") && drawn.contains("peer"), "{drawn}");
    let scaled = |by: f64| {
        let mut report: Value =
            serde_json::from_slice(&std::fs::read(&first).expect("a report")).expect("JSON");
        for experiment in report["experiments"].as_array_mut().expect("experiments") {
            for path in experiment["paths"].as_array_mut().expect("paths") {
                let ratio = &mut path["metrics"]["rate"]["of_bridge"];
                let Some(median) = ratio["median"].as_f64() else { continue };
                ratio["median"] = (median * by).into();
                ratio["confidence"] = vec![median * by; 2].into();
            }
        }
        let file = folder.path().join(format!("{by}.json"));
        std::fs::write(&file, report.to_string()).expect("write a report");
        path(&file)
    };
    let peer = |out: &str| {
        let mut lines = out.lines().filter(|line| line.contains("receiver: peer, rate of bridge"));
        lines.next().map(str::to_owned).unwrap_or_default()
    };
    let Done { code, out, .. } = run(&[&few[..], &["--compare", &scaled(100.0)]].concat());
    assert!(code == Some(1) && peer(&out).contains("slower"), "{out}");
    assert!(out.contains("before: object "), "{out}");
    let out = run(&[&few[..], &["--compare", &scaled(0.01)]].concat()).out;
    assert!(peer(&out).contains("faster"), "{out}");
    let other = ["bench", "--only", "bulk", "--rounds", "1", "--compare", &path(&first)];
    let Done { code, err, .. } = run(&other);
    assert!(code == Some(2) && err.contains("nothing of what is to be measured"), "{err}");
    Ok(())
}

/// A delay that is known is found. What is alike need not look so on a busy machine, and
/// then it is said.
fn selftest() -> Result<(), Failed> {
    let Done { code, out, err } = run(&["bench", "--selftest", "--round", "20ms"]);
    let row = |what: &str| {
        let row = out.lines().find(|line| line.contains(what));
        let cells = row.unwrap_or_else(|| panic!("{out}{err}")).split('|');
        cells.map(str::trim).map(str::to_owned).collect::<Vec<_>>()
    };
    let found = |row: &[String]| row[3].parse::<f64>().unwrap_or_else(|_| panic!("{out}"));
    let (delay, delayed) = (row("delay, ns"), row("delayed, of bridge"));
    assert!((250.0..1000.0).contains(&found(&delay)), "{out}");
    assert!(found(&delayed) < 0.9, "{out}");
    assert_eq!(code, Some(i32::from(out.contains("WRONG"))), "{out}{err}");
    let refused = run(&["bench", "--selftest", "--quick"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    Ok(())
}

/// Rules of ours and of nftables: what is sent passes all of them.
fn rules() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    let mut bench = Command::new(xtask());
    bench.args(["bench", "policy", "--nsbpf", env!("CARGO_BIN_EXE_nsbpf"), "--json"]);
    bench.arg(&json).args(["--", "--policy", "40", "--rounds", "2", "--round", "5ms"]);
    let done = finish(bench.stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    let experiments = report["experiments"].as_array().expect("experiments");
    for (id, others) in [("known", ["bridge-one", "nft-many"]), ("new", ["bridge-few", "nft-set"])]
    {
        for end in ["sink", "receiver"] {
            let paths = experiment(experiments, &format!("rules/40/{id}/{end}"))["paths"].clone();
            let paths = paths.as_array().expect("paths");
            let of = |name: &str| paths.iter().find(|path| path["mode"] == name);
            for name in ["bridge", "bridge-many", "xdp-many"].into_iter().chain(others) {
                let path = of(name).unwrap_or_else(|| panic!("{name} is not in {paths:?}"));
                assert!(path["available"] == true && path["failed"].is_null(), "{path}");
                assert!(path["delivered"].as_u64() > Some(0), "{path}");
            }
            assert_eq!(of("peer-many").is_some(), end == "receiver", "{paths:?}");
        }
    }
    let figures = report["figures"].as_array().expect("figures");
    assert!(figures.iter().all(|figure| figure["verdict"].is_null()), "{figures:?}");
    let swap = figures.iter().find(|it| it["what"] == "compile and swap a policy of 40 rules");
    assert!(swap.is_some_and(|it| it["measured"].as_f64() > Some(0.0)), "{figures:?}");
    Ok(())
}

/// All kinds of traffic pass a policy whose last rule is about them.
fn with_policy() -> Result<(), Failed> {
    let few = ["bench", "--policy", "30", "--rounds", "1", "--round", "5ms", "--flow-counts", "1"];
    let only = ["--only", "frames,sockets,round-trips,connections,bulk", "--frame-bytes", "64"];
    let modes = ["--streams", "1", "--modes", "bridge,flows,redirect,peer,xdp,routed"];
    let Done { code, out, err } = run(&[&few[..], &only, &modes].concat());
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("a policy of 30 rules"), "{out}");
    for flag in [["--flows", "off"], ["--policy", "0"], ["--policy", "65537"]] {
        let refused = run(&[&["bench", "--policy", "30"], &flag[..]].concat());
        assert_eq!(refused.code, Some(2), "{flag:?}: {}", refused.err);
    }
    Ok(())
}

/// More ports, and more flows: what that costs is told beside what few cost.
fn scaled() -> Result<(), Failed> {
    let few = ["bench", "--scale", "2,5", "--rounds", "1", "--round", "5ms", "--modes"];
    let Done { code, out, err } = run(&[&few[..], &["bridge,peer"]].concat());
    assert_eq!(code, Some(0), "{err}");
    for part in ["by flows", "by ports", "5 ports", "5 flows", "attach 5 ports"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    Ok(())
}

/// Somebody else's programs, measured by what arrives.
fn commands() -> Result<(), Failed> {
    let only = ["bench", "--only", "command", "--modes", "wire,peer", "--rounds", "2"];
    let bench = |arguments: &[&str]| run(&[&only[..], arguments].concat());
    let Done { code, out, err } = bench(&["--with", "ping -c 3 -i 0.01 -s 1000 {receiver}"]);
    assert_eq!(code, Some(0), "{err}");
    let row = out.lines().find(|line| line.starts_with("| peer")).expect("a row for peer");
    assert!(
        row.split('|').nth(2).and_then(|rate| rate.trim().parse().ok()) > Some(0.0_f64),
        "{out}"
    );
    // What fails is told, and the others go on.
    let failed = |arguments: &[&str], why: &str| {
        let done = bench(arguments);
        assert!(done.code == Some(1) && done.out.contains(why), "{why}: {done:?}");
        assert!(done.err.contains("paths that failed: 2"), "{done:?}");
    };
    failed(&["--with", "sh -c 'echo no such luck >&2; exit 3'"], "status: 3: no such luck");
    failed(&["--with", "/no/such/program"], "No such file");
    failed(&["--with", "true", "--field", "/x"], "no JSON");
    failed(&["--with", "true", "--server", "true"], "before it had a socket");
    let which = bench(&[]);
    assert!(which.code == Some(2) && which.err.contains("--with"), "{which:?}");
    Ok(())
}

/// A server that says more than a pipe holds and starts another process; and a client's own
/// figure. Nothing of them is left.
fn servers() -> Result<(), Failed> {
    const SERVER: &str = "perl -MIO::Socket::INET -e '
        $socket = IO::Socket::INET->new(LocalPort => 7, Proto => \"udp\") or die;
        print STDERR \"x\" x 1000000;
        fork or exec \"sleep\", \"999.25\";
        sleep 60;'";
    const CLIENT: &str = r#"perl -e 'print "{\"a\": [1, 22.5]}"'"#;
    let only = ["bench", "--only", "command", "--modes", "wire,bridge", "--rounds", "2"];
    let programs = ["--server", SERVER, "--with", CLIENT, "--field", "/a/1", "--less-is-better"];
    let Done { code, out, err } = run(&[&only[..], &programs].concat());
    assert_eq!(code, Some(0), "{out}{err}");
    let row = out.lines().find(|line| line.starts_with("| bridge")).expect("a row");
    assert!(row.contains("22.50") && out.contains("less is better"), "{out}");
    let is_left = |process: std::fs::DirEntry| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        command.windows(6).any(|part| part == b"999.25")
    };
    assert!(!std::fs::read_dir("/proc")?.flatten().any(is_left), "the server's child is left");
    Ok(())
}

/// Who reads what is printed has had enough of it: the report is written nevertheless, and
/// the outcome is what it is.
fn unread() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    std::fs::write(&json, "an earlier one")?;
    let bench = |arguments: &[&str]| {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_nsbpf"));
        bench.args(["bench", "--only", "command", "--rounds", "1", "--modes", "wire"]);
        bench.args(arguments).arg("--json").arg(&json);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        finish(bench.stdout(writer).stderr(Stdio::piped()))
    };
    let refused = bench(&["--with", "true", "--flow-counts", "0"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&json)?, "an earlier one");
    let failed = bench(&["--with", "false"]);
    assert_eq!(failed.code, Some(1), "{}", failed.err);
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    assert!(report["experiments"][0]["paths"][0]["failed"].is_string(), "{report}");
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "a file is left");
    Ok(())
}
