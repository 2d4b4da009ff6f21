//! `nsbpf check`, and what `run` makes of expectations, from outside.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::Test;
use crate::command::{ended, nsbpf, ran, run};
use crate::world::{ip, netns, udp};

pub(crate) const TESTS: &[Test] = &[
    ("check::who_is_expected_to_be_reached_is", reached),
    ("check::a_lost_route_is_told_of", no_route),
    ("check::who_says_that_there_is_no_way", prohibited),
    ("check::who_must_not_be_reached_is_not", apart),
    ("check::silence_is_waited_for_and_ends", silence),
    ("check::a_server_that_is_there_is_used", server),
    ("check::a_port_that_nobody_listens_at", refused),
    ("check::ports_are_free_afterwards", ports_are_free),
    ("check::strangers_at_the_port_are_no_answer", strangers),
    ("check::a_matrix_of_all_pairs", matrix),
    ("check::what_up_said_last_counts", source_is_kept),
    ("check::a_run_checks_too", checked_run),
    ("check::ctrl_c_ends_it_at_once", ctrl_c),
    ("check::what_cannot_be_checked", cannot),
];

const ROUTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/05-router.yaml");
const APART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/08-apart.yaml");

#[track_caller]
fn report(arguments: &[&str], code: i32) -> Value {
    let text = ended(&[&["check", "--format", "json"], arguments].concat(), code).out;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Two namespaces on a bridge, and what is expected of them.
fn pair(name: &str, expect: &str) -> Result<tempfile::NamedTempFile, Failed> {
    let text = format!(
        "name: {name}\nbridges: {{ br0: {{}} }}\nnamespaces:\n  \
         n0: {{ interfaces: {{ eth0: {{ bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] }} }} }}\n  \
         n1: {{ interfaces: {{ eth0: {{ bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] }} }} }}\n\
         {expect}"
    );
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(file)
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().expect("UTF-8")
}

fn reached() -> Result<(), Failed> {
    ran(&["up", ROUTER]);
    let text = ran(&["check", "router"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "ok   left → right, ping (2/2): the router passes it on",
            "ok   right → left/eth0, tcp 80 (2/2)",
            "ok   left, right → router, udp 53 (8/8)",
            "3 of 3 expectations as expected",
        ]
    );
    let report = report(&["router"], 0);
    assert_eq!((&report["lab"], &report["met"]), (&json!("router"), &json!(true)));
    assert_eq!(report["expectations"][0]["tried"], 2);
    assert_eq!(report["expectations"][0]["because"], "the router passes it on");
    assert_eq!(report["matrix"], Value::Null);
    ran(&["down", "router"]);
    Ok(())
}

fn no_route() -> Result<(), Failed> {
    ran(&["up", ROUTER]);
    // Of one family only: the other address is still reached.
    ip(&["-netns", "left", "route", "delete", "default"]);
    let report = report(&["router"], 1);
    assert_eq!(report["met"], false);
    let expected = json!([{
        "from": "left", "to": "right", "address": "10.2.0.1",
        "seen": "the namespace has no route to it",
        "hint": "`ip -netns left route get 10.2.0.1`",
    }]);
    assert_eq!(report["expectations"][0]["failures"], expected);
    // The way back is lost as well.
    assert_eq!(report["expectations"][1]["failures"][0]["address"], "10.1.0.1");
    assert_eq!(report["expectations"][2]["met"], false, "10.2.0.254 is beyond");
    let text = ended(&["check", "router"], 1).out;
    assert!(text.starts_with("FAIL left → right, ping (1/2)"), "{text}");
    assert!(text.ends_with("\n0 of 3 expectations as expected\n"), "{text}");
    ran(&["down", "router"]);
    Ok(())
}

fn prohibited() -> Result<(), Failed> {
    ran(&["up", ROUTER]);
    ip(&["-netns", "router", "route", "add", "prohibit", "10.2.0.1/32"]);
    ip(&["-netns", "router", "-6", "route", "add", "unreachable", "fd02::1/128"]);
    let report = report(&["router"], 1);
    let failures = report["expectations"][0]["failures"].as_array().expect("failures");
    let seen: Vec<&str> = failures.iter().filter_map(|failure| failure["seen"].as_str()).collect();
    assert_eq!(seen, ["administratively prohibited, says 10.1.0.254", "no route, says fd01::fe"]);
    ran(&["down", "router"]);
    Ok(())
}

fn apart() -> Result<(), Failed> {
    ran(&["up", APART]);
    let text = ran(&["check", "apart"]);
    assert!(text.contains("ok   red0, red1 ↛ blue, ping (4/4): there is no route"), "{text}");
    // With routes both ways they do reach each other: of one family.
    ip(&["-netns", "red0", "route", "add", "10.2.0.0/24", "dev", "eth0"]);
    ip(&["-netns", "blue", "route", "add", "10.1.0.0/24", "dev", "eth0"]);
    let report = report(&["apart"], 1);
    let expectations = report["expectations"].as_array().expect("expectations");
    assert_eq!(expectations[0]["met"], true);
    for expectation in &expectations[1..] {
        let failures = expectation["failures"].as_array().expect("failures");
        assert_eq!(failures.len(), 1, "{expectation}");
        assert_eq!(failures[0]["from"], "red0");
        assert_eq!(failures[0]["address"], "10.2.0.1");
        assert_eq!(failures[0]["seen"], "it answers");
    }
    ran(&["down", "apart"]);
    Ok(())
}

/// Who has a route to nowhere: nothing comes, however it is tried.
fn silence() -> Result<(), Failed> {
    ran(&["up", APART]);
    // Blue gets it, and has no way to answer.
    ip(&["-netns", "red0", "route", "add", "10.2.0.0/24", "dev", "eth0"]);
    let report = report(&["apart"], 1);
    let expectations = report["expectations"].as_array().expect("expectations");
    assert_eq!(expectations[1]["met"], true, "a ping takes an answer");
    assert_eq!(expectations[2]["met"], true, "a connection takes an answer");
    // What arrives by UDP has reached.
    let failure = &expectations[3]["failures"][0];
    assert_eq!(failure["seen"], "it was reached, but the answer got lost");
    ran(&["down", "apart"]);
    let file =
        pair("mute", "expect:\n  - { from: n0, to: n1 }\n  - { from: n0, to: n1, tcp: 80 }\n")?;
    ran(&["up", path(&file)]);
    for family in ["-4", "-6"] {
        let net = if family == "-4" { "10.0.0.1/32" } else { "fd00::1/128" };
        ip(&["-netns", "n1", family, "route", "add", "blackhole", net]);
    }
    let start = Instant::now();
    let report = self::report(&["mute"], 1);
    // All of it at the same time.
    assert!(start.elapsed() > Duration::from_secs(5) && start.elapsed() < Duration::from_secs(9));
    for expectation in report["expectations"].as_array().expect("expectations") {
        for failure in expectation["failures"].as_array().expect("failures") {
            assert_eq!(failure["seen"], "no answer in 5 s", "{expectation}");
            assert!(failure["hint"].as_str().expect("a hint").contains("firewall"));
        }
        assert_eq!(expectation["failures"].as_array().map(Vec::len), Some(2));
    }
    ran(&["down", "mute"]);
    Ok(())
}

fn listen(namespace: &str, address: &str, port: u16) -> TcpListener {
    let place = SocketAddr::new(address.parse().expect("an address"), port);
    let listener = netns(namespace).run(|| TcpListener::bind(place)).and_then(|bound| bound);
    listener.expect("listen")
}

fn server() -> Result<(), Failed> {
    let file = pair(
        "served",
        "expect:\n  - { from: n0, to: 10.0.0.2, tcp: 8080 }\n  - { from: n0, to: n1, udp: 5353 }\n",
    )?;
    ran(&["up", path(&file)]);
    ran(&["check", "served"]);
    let server = listen("n1", "0.0.0.0", 8080);
    ran(&["check", "served"]);
    server.set_nonblocking(true)?;
    let (_, from) = server.accept()?;
    assert_eq!(from.ip(), "10.0.0.1".parse::<IpAddr>()?, "it was the server that was reached");
    let n1 = netns("n1");
    let taken = n1.run(|| std::net::UdpSocket::bind("10.0.0.2:5353"))??;
    let report = report(&["served"], 1);
    let failures = &report["expectations"][1]["failures"];
    assert_eq!(failures.as_array().map(Vec::len), Some(1));
    let seen = failures[0]["seen"].as_str().expect("what was seen");
    assert_eq!(seen, "cannot be told: somebody in the namespace uses this port");
    drop(n1);
    drop((server, taken));
    ran(&["down", "served"]);
    Ok(())
}

/// A machine that is none of the lab's: the host, on the bridge.
fn refused() -> Result<(), Failed> {
    let file = pair(
        "outside",
        "expect:\n  - { from: n0, to: 10.0.0.99 }\n  - { from: n0, to: 10.0.0.99, tcp: 80 }\n  \
         - { from: n0, to: 10.0.0.99, tcp: 80, reach: false }\n",
    )?;
    ran(&["up", path(&file)]);
    ip(&["address", "add", "10.0.0.99/24", "dev", "br0"]);
    let told = report(&["outside"], 1);
    let expectations = told["expectations"].as_array().expect("expectations");
    assert_eq!(expectations[0]["met"], true);
    for expectation in &expectations[1..] {
        let failure = &expectation["failures"][0];
        assert_eq!(failure["seen"], "refused: packets cross, but nobody listens there");
        assert_eq!((&failure["to"], &failure["address"]), (&Value::Null, &json!("10.0.0.99")));
    }
    let server = TcpListener::bind("10.0.0.99:80")?;
    let told = report(&["outside"], 1);
    assert_eq!(told["expectations"][1]["met"], true);
    assert_eq!(told["expectations"][2]["failures"][0]["seen"], "it answers");
    drop(server);
    ran(&["down", "outside"]);
    Ok(())
}

fn ports_are_free() -> Result<(), Failed> {
    ran(&["up", ROUTER]);
    ran(&["check", "router"]);
    // Without `SO_REUSEADDR` a connection that lingers (TIME_WAIT) keeps it taken.
    netns("left").run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&"10.1.0.1:80".parse::<SocketAddr>().expect("an address").into())?;
        socket.listen(1)
    })??;
    ran(&["down", "router"]);
    Ok(())
}

/// Somebody inside sends to the port that check listens at, and answers in
/// another's place: neither helps, neither hurts.
fn strangers() -> Result<(), Failed> {
    let file = pair(
        "hostile",
        "expect:\n  - { from: n0, to: 10.0.0.2, udp: 7000 }\n  \
         - { from: n0, to: 10.0.0.2, tcp: 7001 }\n  - { from: n0, to: 10.0.0.99, reach: false }\n",
    )?;
    ran(&["up", path(&file)]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let noise = udp(&netns("n1"), "10.0.0.2".parse()?);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let n1 = netns("n1");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = noise.send_to(&[0; 16], "10.0.0.2:7000");
                let _ = n1.run(|| std::net::TcpStream::connect("10.0.0.2:7001"));
            }
        });
        let report = run(&["check", "hostile"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        report
    });
    assert_eq!(report.code, Some(0), "{}{}", report.out, report.err);
    drop(noise);
    ran(&["down", "hostile"]);
    Ok(())
}

fn matrix() -> Result<(), Failed> {
    ran(&["up", ROUTER]);
    let told = report(&["router", "--all-pairs"], 0);
    let matrix = &told["matrix"];
    assert_eq!(matrix["namespaces"], json!(["left", "right", "router"]));
    assert_eq!((&matrix["pairs"], &matrix["ok"]), (&json!(6), &json!(6)));
    assert_eq!(matrix["cells"][0], json!([null, "ok", "ok"]));
    assert_eq!(told["expectations"].as_array().map(Vec::len), Some(3));
    ip(&["-netns", "left", "route", "delete", "default"]);
    ip(&["-netns", "left", "-6", "route", "delete", "default"]);
    let told = report(&["router", "--all-pairs"], 1);
    let matrix = &told["matrix"];
    // Of the router, the addresses beyond are out of reach.
    assert_eq!(matrix["cells"][0], json!([null, "no", "partial"]));
    assert_eq!(matrix["cells"][2], json!(["ok", "ok", null]));
    let silent: Vec<&Value> = matrix["failures"][1]["silent"]
        .as_array()
        .expect("silent addresses")
        .iter()
        .map(|silent| &silent["address"])
        .collect();
    assert_eq!(silent, ["10.2.0.254", "fd02::fe"]);
    let text = ended(&["check", "router", "--all-pairs"], 1).out;
    assert!(text.contains("     left  1   · NO  ~\n"), "{text}");
    assert!(text.contains("\n6 pairs pinged: 3 ok, 1 partial, 2 no answer\n"), "{text}");
    let sampled = report(&["router", "--all-pairs", "--sample", "2"], 1);
    assert_eq!((&sampled["matrix"]["pairs"], &sampled["matrix"]["tried"]), (&json!(6), &json!(2)));
    ran(&["down", "router"]);
    // Where nothing is expected, all pairs are.
    let file = pair("plain", "")?;
    ran(&["up", path(&file)]);
    ran(&["check", "plain", "--all-pairs"]);
    ip(&["-netns", "n1", "link", "set", "eth0", "down"]);
    ended(&["check", "plain", "--all-pairs"], 1);
    ran(&["down", "plain"]);
    Ok(())
}

fn source_is_kept() -> Result<(), Failed> {
    let file = pair("edited", "expect: [{ from: n0, to: n1 }]\n")?;
    ran(&["up", path(&file)]);
    ran(&["check", "edited"]);
    let text = std::fs::read_to_string(file.path())?;
    std::fs::write(file.path(), text.replace("to: n1 }", "to: n1, reach: false }"))?;
    ran(&["check", "edited"]);
    assert!(ran(&["up", path(&file)]).contains("nothing to change"));
    ended(&["check", "edited"], 1);
    ran(&["down", "edited"]);
    Ok(())
}

fn checked_run() -> Result<(), Failed> {
    // Nobody reaches who must not be reached: that is success.
    let text = ran(&["run", APART, "--duration", "10ms"]);
    assert!(text.contains("\n4 of 4 expectations as expected\n"), "{text}");
    assert!(!text.contains("no reply"), "{text}");
    // Neighbours that must not talk are no failed pings, but a failed expectation.
    let file = pair("strict", "expect: [{ from: all, to: all, reach: false, because: a test }]\n")?;
    let text = ended(&["run", path(&file), "--duration", "10ms"], 1).out;
    assert!(text.contains("\nFAIL all ↛ all, ping (0/4): a test\n"), "{text}");
    assert!(text.contains("\n0 of 1 expectation as expected\n"), "{text}");
    assert!(text.trim_end().ends_with("nothing of it is left"), "{text}");
    Ok(())
}

fn ctrl_c() -> Result<(), Failed> {
    ran(&["up", ROUTER]);
    // Nobody has it, so that there is something to wait for.
    let text = std::fs::read_to_string(ROUTER)?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("{text}  - {{ from: left, to: 10.1.0.77 }}\n"))?;
    ran(&["up", path(&file)]);
    let mut child = nsbpf(&["check", "router"]).stdout(Stdio::piped()).spawn()?;
    let pid = Pid::from_child(&child);
    // It is at it once there is a socket in the namespace.
    let deadline = Instant::now() + Duration::from_secs(10);
    let raw = || netns("left").run(|| std::fs::read_to_string("/proc/thread-self/net/raw"));
    while raw()??.lines().count() < 2 {
        assert!(Instant::now() < deadline, "it never asks");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(pid, Signal::INT)?;
    let status = child.wait()?;
    // Left alone it would have ended by itself, and said how.
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
    let mut said = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut said)?;
    assert_eq!(said, "");
    let down = ran(&["down", "router"]);
    assert!(down.contains("nothing of it is left"), "{down}");
    Ok(())
}

fn cannot() -> Result<(), Failed> {
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let done = ended(arguments, code);
        assert!(done.err.contains(says), "{says:?} is not in {:?}", done.err);
    };
    refused(&["check", "nowhere"], 1, "there is no lab `nowhere`: no lab is up");
    let file = pair("plain", "")?;
    ran(&["up", path(&file)]);
    refused(&["check", "plan"], 1, "did you mean `plain`?");
    refused(&["check", "plain"], 2, "the lab `plain` expects nothing: add `expect:`");
    refused(&["check", "plain", "--sample", "2"], 2, "--all-pairs");
    std::fs::remove_file("/run/nsbpf/labs/plain/lab.yaml")?;
    refused(&["check", "plain", "--all-pairs"], 1, "`nsbpf up` it again");
    ran(&["up", path(&file)]);
    ran(&["check", "plain", "--all-pairs"]);
    ran(&["down", "plain"]);
    Ok(())
}
