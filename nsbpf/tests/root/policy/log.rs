//! What `nsbpf policy log` tells.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{BACK, Files, LAB, NAME, THERE, arrives, shown};
use crate::command::{ended, nsbpf, ran};
use crate::world::reaches;

pub(super) fn told() -> Result<(), Failed> {
    let files = Files::new();
    let policy = "policy:
  rules:
    - { name: low, from: a, proto: udp, ports: 1000-1999, action: allow, log: true }
    - { name: back, from: b, proto: udp, action: deny, log: true }
";
    let lab = files.write("logging.yaml", &format!("{LAB}{policy}"));
    ended(&["policy", "log", NAME], 1);
    ran(&["up", &files.path("open.yaml")]);
    let none = ended(&["policy", "log", NAME], 1);
    assert!(none.err.contains("has no policy"), "{}", none.err);
    ran(&["up", &lab]);
    assert!(reaches("a", "10.0.0.2"));
    assert!(arrives(THERE, 1500) && !arrives(BACK, 1500));
    let logged = ran(&["policy", "log", NAME, "--count", "2", "--format", "json"]);
    let logged: Vec<Value> =
        logged.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    let [low, back] = &logged[..] else { panic!("{logged:?}") };
    assert_eq!(
        (&low["rule"], &low["dropped"], &low["via"]),
        (&"low".into(), &false.into(), &"a/eth0".into())
    );
    assert_eq!((&low["to"]["interface"], &low["to"]["port"]), (&"b/eth0".into(), &1500.into()));
    assert_eq!((&low["from"]["address"], &low["bytes"]), (&"10.0.0.1".into(), &47.into()));
    assert_eq!((&back["rule"], &back["dropped"]), (&"back".into(), &true.into()));
    // Each is told once.
    let mut child = nsbpf(&["policy", "log", NAME]).stdout(Stdio::piped()).spawn()?;
    assert!(arrives(THERE, 1501));
    let mut lines = BufReader::new(child.stdout.take().ok_or("a pipe")?).lines();
    let mut next = || lines.next().expect("a line").expect("read a line");
    let line = next();
    assert!(
        line.contains(" low allow a/eth0 10.0.0.1:") && line.contains(":1501 udp 47 B"),
        "{line}"
    );
    // It is there, so that another one is refused.
    let second = crate::command::run(&["policy", "log", NAME, "--count", "0"]);
    assert!(second.code == Some(1) && second.err.contains("another `nsbpf policy log`"));
    // The rules change, and whoever follows goes on.
    files.set("rules: [{ name: other, from: a, proto: udp, action: deny, log: true }]");
    assert!(!arrives(THERE, 1502));
    let line = next();
    assert!(
        line.contains(" other deny a/eth0 ") && line.contains("→ b/eth0 10.0.0.2:1502"),
        "{line}"
    );
    kill_process(Pid::from_child(&child), Signal::INT)?;
    assert_eq!(child.wait()?.code(), Some(0));
    assert_eq!(shown()["events"]["lost"], 0);
    ran(&["down", NAME]);
    Ok(())
}
