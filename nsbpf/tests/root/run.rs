//! `nsbpf run` from outside.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::apply::survey;
use nsbpf::datapath::StatsReader;
use nsbpf::lab::Name;
use nsbpf::store::Store;
use nsbpf_common::stats::Class;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Test;
use crate::command::{Running, finish, nsbpf, run};
use crate::engine::port;
use crate::world::{ip, ip_json, netns, udp};

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/quickstart.yaml");

pub(crate) const TESTS: &[Test] = &[
    ("run::quickstart_pings_counts_and_leaves_nothing", quickstart),
    ("run::quickstart_under_xdp", quickstart_under_xdp),
    ("run::ip_sees_what_the_lab_says", ip_sees_what_the_lab_says),
    ("run::sigint_takes_the_lab_down", || stopped_by(Signal::INT)),
    ("run::sigterm_takes_the_lab_down", || stopped_by(Signal::TERM)),
    ("run::sighup_takes_the_lab_down", || stopped_by(Signal::HUP)),
    ("run::a_killed_run_is_finished_by_the_next", killed),
    ("run::a_second_run_of_a_lab_is_refused", twice_at_once),
    ("run::labs_run_side_by_side", side_by_side),
    ("run::a_reader_that_goes_away_is_no_failure", broken_pipe),
    ("run::a_table_whose_reader_goes_away", table_broken_pipe),
    ("run::a_full_disk_is_a_failure", full_disk),
    ("run::a_reader_that_stops_reading", stalled_reader),
    ("run::errors_that_nobody_can_hear", full_stderr),
    ("run::a_very_long_duration", long_duration),
    ("run::what_a_killed_run_left_goes_with_a_failed_one", killed_then_refused),
    ("run::a_namespace_in_use_is_told_of", in_use),
];

fn quickstart() -> Result<(), Failed> {
    let done = run(&["run", "--duration", "300ms", "--interval", "100ms"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.is_empty(), "{}", done.err);
    for line in ["vnet0 → vnet1 (10.0.0.2): ", "vnet1 → vnet0 (10.0.0.1): "] {
        let line = done.out.lines().find(|shown| shown.starts_with(line)).expect(line);
        assert!(line.contains(" ms"), "{line}");
    }
    for interface in ["vnet0/eth0", "vnet1/eth0"] {
        let row = done.out.lines().rfind(|row| row.trim_start().starts_with(interface));
        let row: Vec<&str> = row.expect(interface).split_whitespace().collect();
        assert!(row[1].parse::<u64>().unwrap() > 0, "{row:?}");
    }
    assert!(!done.out.contains('\u{1b}'), "no terminal, no escapes: {}", done.out);
    assert!(done.out.trim_end().ends_with("nothing of it is left"), "{}", done.out);
    Ok(())
}

fn quickstart_under_xdp() -> Result<(), Failed> {
    let mut running = Running::start(&["--hook", "xdp", "--duration", "2s"]);
    let report = running.up();
    let link = ip_json(&["-details", "link", "show", "vnet0-eth0"]);
    // 1 is native mode (`XDP_ATTACHED_DRV`).
    assert_eq!(link[0]["xdp"]["mode"], 1, "{link}");
    for interface in report["interfaces"].as_array().unwrap() {
        for direction in ["tx", "rx"] {
            let icmp = interface[direction]["ipv4"]["packets"].as_u64();
            assert!(icmp >= Some(2), "{direction} of {interface}");
        }
    }
    running.signal(Signal::INT);
    let (status, errors) = running.end();
    assert!(status.success(), "{errors}");
    Ok(())
}

fn ip_sees_what_the_lab_says() -> Result<(), Failed> {
    let mut running = Running::start(&[]);
    let report = running.up();
    let names: Vec<&Value> =
        report["interfaces"].as_array().unwrap().iter().map(|row| &row["interface"]).collect();
    assert_eq!(names, ["vnet0/eth0", "vnet1/eth0"]);
    for (namespace, address) in [("vnet0", "10.0.0.1"), ("vnet1", "10.0.0.2")] {
        let shown = ip_json(&["-netns", namespace, "address", "show", "eth0"]);
        let inet = &shown[0]["addr_info"][0];
        assert_eq!((&inet["local"], &inet["prefixlen"]), (&address.into(), &24.into()));
        let host = ip_json(&["-details", "link", "show", &format!("{namespace}-eth0")]);
        assert_eq!(host[0]["master"], "br0");
        assert_eq!(host[0]["ifalias"], format!("nsbpf:quickstart/{namespace}/eth0"));
        assert!(host[0]["link_netnsid"].is_number());
    }
    let listed = ip(&["netns", "list"]);
    assert!(listed.contains("vnet0") && listed.contains("vnet1"), "{listed}");
    ip(&["netns", "exec", "vnet0", "ip", "link", "show", "eth0"]);
    running.signal(Signal::INT);
    let (status, errors) = running.end();
    assert!(status.success(), "{errors}");
    Ok(())
}

fn stopped_by(signal: Signal) -> Result<(), Failed> {
    let mut running = Running::start(&[]);
    running.up();
    running.signal(signal);
    let (status, errors) = running.end();
    assert!(status.success(), "{errors}");
    assert!(errors.contains("nothing of it is left"), "{errors}");
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let mut running = Running::start(&[]);
    running.up();
    running.signal(Signal::KILL);
    let (status, _) = running.end();
    assert!(!status.success());
    assert!(ip(&["netns", "list"]).contains("vnet0"), "a killed run leaves its lab");
    counts_without_us()?;
    let done = run(&["run", "--duration", "100ms"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    Ok(())
}

/// The lab and its counters need no process of ours.
fn counts_without_us() -> Result<(), Failed> {
    let store = Store::new(&Name::new("quickstart")?);
    let port = port(&survey(&store)?.state, "vnet0/eth0");
    let reader = StatsReader::open(&store)?;
    let counted = || reader.read(port).map(|stats| stats.tx[Class::Ipv4Udp].packets);
    let before = counted()?;
    let [a, b] = [("vnet0", "10.0.0.1"), ("vnet1", "10.0.0.2")]
        .map(|(namespace, address)| udp(&netns(namespace), address.parse().unwrap()));
    a.send_to(b"still there", b.local_addr()?)?;
    b.set_read_timeout(Some(Duration::from_secs(5)))?;
    b.recv(&mut [0; 16])?;
    assert_eq!(counted()?, before + 1);
    Ok(())
}

fn twice_at_once() -> Result<(), Failed> {
    let mut running = Running::start(&[]);
    running.up();
    let second = run(&["run", "--duration", "100ms"]);
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("`quickstart` is in use by another nsbpf"), "{}", second.err);
    // Nor does anybody wait for its end.
    for arguments in [["up", LAB], ["down", "quickstart"]] {
        let done = run(&arguments);
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains("`quickstart` is in use by another nsbpf"), "{}", done.err);
    }
    // The first goes on: its counters still grow.
    let before = running.up();
    let tx = |report: &Value| report["pings"][0]["received"].as_u64();
    let grew = std::iter::from_fn(|| running.report()).take(100).any(|now| tx(&now) > tx(&before));
    assert!(grew, "the first run stands still");
    running.signal(Signal::INT);
    let (status, errors) = running.end();
    assert!(status.success(), "{errors}");
    Ok(())
}

fn side_by_side() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("other.yaml");
    let other = include_str!("../../../labs/quickstart.yaml")
        .replace("quickstart", "other")
        .replace("br0", "br1")
        .replace("vnet", "other");
    std::fs::write(&path, other)?;
    let mut first = Running::start(&[]);
    let mut second = Running::start(&[path.to_str().unwrap()]);
    assert_eq!(first.up()["lab"], "quickstart");
    assert_eq!(second.up()["lab"], "other");
    for running in [first, second] {
        running.signal(Signal::INT);
        let (status, errors) = running.end();
        assert!(status.success(), "{errors}");
    }
    Ok(())
}

fn broken_pipe() -> Result<(), Failed> {
    let mut running = Running::start(&[]);
    running.up();
    let (code, errors) = running.hang_up();
    assert_eq!(code, Some(0), "{errors}");
    Ok(())
}

fn table_broken_pipe() -> Result<(), Failed> {
    let mut child = nsbpf(&["run", "--interval", "20ms"]).stdout(Stdio::piped()).spawn()?;
    let mut line = [0; 16];
    child.stdout.take().expect("a pipe").read_exact(&mut line)?;
    assert_eq!(child.wait()?.code(), Some(0));
    Ok(())
}

fn full_disk() -> Result<(), Failed> {
    let full = || File::options().write(true).open("/dev/full");
    let done = finish(nsbpf(&["run", "--duration", "60s"]).stdout(full()?).stderr(Stdio::piped()));
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "error: write to standard output: No space left on device (os error 28)\n"
    );
    Ok(())
}

/// A pipe that is full: the lab comes down in time all the same.
fn stalled_reader() -> Result<(), Failed> {
    let mut command = nsbpf(&["run", "--interval", "10ms", "--duration", "60s"]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 16])?;
    let pid = Pid::from_child(&child);
    let start = Instant::now();
    while !stuck_in_a_write(child.id()) {
        assert!(start.elapsed() < Duration::from_secs(30), "the pipe does not fill");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(pid, Signal::TERM)?;
    let asked = Instant::now();
    let status = child.wait()?;
    assert!(status.success());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    Ok(())
}

/// Whether a thread of the process waits for room in a pipe.
fn stuck_in_a_write(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().any(|task| {
        let waits_in = std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
        waits_in.contains("pipe_write")
    })
}

fn full_stderr() -> Result<(), Failed> {
    let full = || File::options().write(true).open("/dev/full");
    let mut invalid = nsbpf(&["run", "/dev/null"]);
    assert_eq!(invalid.stderr(full()?).status()?.code(), Some(2));
    let mut json = nsbpf(&["run", "--format", "json", "--duration", "50ms"]);
    assert_eq!(json.stdout(Stdio::null()).stderr(full()?).status()?.code(), Some(0));
    Ok(())
}

fn long_duration() -> Result<(), Failed> {
    let mut running = Running::start(&["--duration", "18446744073709551615s"]);
    running.up();
    running.signal(Signal::INT);
    let (status, errors) = running.end();
    assert!(status.success(), "{errors}");
    Ok(())
}

fn killed_then_refused() -> Result<(), Failed> {
    let mut running = Running::start(&[]);
    running.up();
    running.signal(Signal::KILL);
    running.end();
    ip(&["netns", "delete", "vnet0"]);
    std::fs::write("/run/netns/vnet0", "")?;
    let done = run(&["run", "--duration", "50ms"]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("`vnet0` exists already"), "{}", done.err);
    std::fs::remove_file("/run/netns/vnet0")?;
    Ok(())
}

fn in_use() -> Result<(), Failed> {
    let mut running = Running::start(&[]);
    running.up();
    let mut user =
        std::process::Command::new("ip").args(["netns", "exec", "vnet0", "sleep", "60"]).spawn()?;
    let vnet0 = netns("vnet0");
    let start = Instant::now();
    while nsbpf::net::netns::users([&vnet0]).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "ip netns exec does not start");
        std::thread::yield_now();
    }
    drop(vnet0);
    running.signal(Signal::INT);
    let (status, errors) = running.end();
    user.kill()?;
    user.wait()?;
    assert!(status.success(), "{errors}");
    let expected = format!("lives until sleep (pid {}) lets go of it", user.id());
    assert!(errors.contains(&expected), "{errors}");
    Ok(())
}
