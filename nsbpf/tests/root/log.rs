//! `nsbpf log`: what the kernel half says, whichever programs are the lab's.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::command::{nsbpf, run};
use crate::truth::LAB;
use crate::world::{ip, ip_json, tc};

pub(crate) const TESTS: &[Test] = &[
    ("log::what_programs_say_is_printed_until_interrupted", printed),
    ("log::programs_that_do_not_log_are_named", silent),
];

const PATIENCE: Duration = Duration::from_secs(10);

fn printed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lab.yaml");
    std::fs::write(&path, LAB)?;
    let path = path.to_str().ok_or("a path")?;
    assert_eq!(run(&["up", path, "--kernel-log", "--attach", "clsact"]).code, Some(0));
    let index = place_that_is_no_port();
    let mut child = nsbpf(&["log", "truth"]).stdout(Stdio::piped()).spawn()?;
    let out = BufReader::new(child.stdout.take().ok_or("a pipe")?);
    let (say, said) = mpsc::channel();
    let reading = thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = say.send(line);
        }
    });
    let expected = format!("interface {index} is no port: passed uncounted");
    heard(&said, &expected);
    // Others take their place, and say it elsewhere.
    let done = run(&["up", path, "--kernel-log", "--attach", "tcx"]);
    assert!(done.out.contains("replaced in place"), "{}{}", done.out, done.err);
    replace_there();
    while said.try_recv().is_ok() {}
    heard(&said, &expected);
    kill_process(Pid::from_child(&child), Signal::INT)?;
    assert_eq!(child.wait()?.code(), Some(0));
    reading.join().expect("the reader");
    ip(&["link", "delete", "theirs"]);
    assert_eq!(run(&["down", "truth"]).code, Some(0));
    Ok(())
}

/// A device of others with the lab's program, which is told of no port there. Returns
/// its interface index.
fn place_that_is_no_port() -> u64 {
    ip(&["link", "add", "theirs", "type", "veth", "peer", "name", "theirs1"]);
    ip(&["link", "set", "theirs", "up"]);
    ip(&["link", "set", "theirs1", "up", "address", "02:00:00:00:00:07"]);
    tc(&["qdisc", "add", "dev", "theirs", "clsact"]);
    replace_there();
    ip_json(&["link", "show", "theirs"])[0]["ifindex"].as_u64().expect("an index")
}

fn replace_there() {
    let pin = "/run/nsbpf/labs/truth/bpf/datapath/tc_egress";
    let filter = ["filter", "replace", "dev", "theirs", "egress", "prio", "7", "handle", "1"];
    tc(&[&filter[..], &["bpf", "direct-action", "object-pinned", pin]].concat());
}

/// Sends packets out of that device until the line is heard.
fn heard(said: &mpsc::Receiver<String>, expected: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sent = ip(&["link", "set", "theirs", "down"]) + &ip(&["link", "set", "theirs", "up"]);
        assert_eq!(sent, "");
        let last = said.recv_timeout(Duration::from_millis(100)).unwrap_or_default();
        if last.contains(expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{expected:?} was not heard: {last:?}");
    }
}

fn silent() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lab.yaml");
    std::fs::write(&path, LAB)?;
    let path = path.to_str().ok_or("a path")?;
    let says = |cause: &str| {
        let done = run(&["log", "truth"]);
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains(cause), "{cause:?} is not in {:?}", done.err);
    };
    says("there is no lab `truth`");
    assert_eq!(run(&["up", path, "--hook", "none"]).code, Some(0));
    says("it was brought up with `--hook none`");
    assert_eq!(run(&["up", path]).code, Some(0));
    says("`nsbpf up FILE --kernel-log`");
    assert_eq!(run(&["down", "truth"]).code, Some(0));
    Ok(())
}
