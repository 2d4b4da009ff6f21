//! `nsbpf gc` takes away what killed commands left, and nothing else.

use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::Test;
use crate::command::{Running, ran};
use crate::world::{everything, ip};

pub(crate) const TESTS: &[Test] = &[
    ("gc::what_a_killed_run_left", killed_run),
    ("gc::what_stays_and_what_runs_is_left_alone", others),
    ("gc::what_has_no_folder_any_more", no_folder),
];

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/quickstart.yaml");
const ROUTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/05-router.yaml");
const APART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/08-apart.yaml");
const PAIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/02-routes.yaml");

fn kill(lab: &str) {
    let mut running = Running::start(&[lab]);
    running.up();
    running.signal(Signal::KILL);
    running.end();
}

fn killed_run() -> Result<(), Failed> {
    assert_eq!(ran(&["gc"]), "nothing is left of killed commands\n");
    kill(QUICKSTART);
    assert!(ran(&["ls"]).contains("left by a killed command"));
    let before = everything();
    let told = ran(&["gc", "--dry-run"]);
    assert!(told.starts_with("quickstart: ") && told.ends_with("was killed\n"), "{told}");
    assert_eq!(everything(), before);
    let done = ran(&["gc"]);
    assert!(done.starts_with("quickstart is down after"), "{done}");
    assert_eq!(ran(&["gc"]), "nothing is left of killed commands\n");
    Ok(())
}

fn others() -> Result<(), Failed> {
    ran(&["up", ROUTER]);
    let mut running = Running::start(&[PAIR]);
    running.up();
    kill(APART);
    let done = ran(&["gc"]);
    assert!(done.starts_with("apart is down after") && done.lines().count() == 1, "{done}");
    let standings: Vec<String> = ran(&["ls", "--format", "json"])
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a lab"))
        .map(|lab| format!("{} {}", lab["lab"], lab["state"]))
        .collect();
    assert_eq!(standings, ["\"router\" \"up\"", "\"routes\" \"in_use\""]);
    assert!(running.report().is_some(), "the other run goes on");
    running.signal(Signal::INT);
    running.end();
    ran(&["down", "router"]);
    Ok(())
}

fn no_folder() -> Result<(), Failed> {
    ran(&["up", QUICKSTART]);
    // Somebody unmounts the lab's folder: namespaces and programs go with it.
    let folder = "/run/nsbpf/labs/quickstart";
    rustix::mount::unmount(folder, rustix::mount::UnmountFlags::DETACH)?;
    std::fs::remove_dir(folder)?;
    // A link with a birth mark of a slot that no lab has.
    let born = ["link", "add", "lost", "index", "524288001", "address", "02:6e:1f:40:00:01"];
    ip(&[&born[..], &["group", "1851924288", "type", "bridge"]].concat());
    // One of somebody else's that has the group alone.
    ip(&["link", "add", "theirs", "group", "1851924288", "type", "bridge"]);
    let done = ran(&["gc"]);
    assert!(done.contains("quickstart is down after"), "{done}");
    assert!(done.contains("link lost, left by a lab that nobody knows, is removed"), "{done}");
    let links = ip(&["-brief", "link"]);
    assert!(!links.contains("br0") && !links.contains("lost"), "{links}");
    assert!(links.contains("theirs"), "{links}");
    assert_eq!(ip(&["netns", "list"]), "");
    ip(&["link", "delete", "theirs"]);
    Ok(())
}
