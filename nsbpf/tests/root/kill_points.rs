//! nsbpf is killed at every point where that can happen, and what it leaves is
//! finished or taken away by the next command.
//!
//! A kill lands between two system calls: the kernel ends a process when it
//! returns from one. In particular the messages of one netlink datagram are
//! handled in one go: `netlink_rcv_skb` (Linux 6.18) does not look at signals. What
//! can be cut short makes nothing then: loading a program (`do_check` of the
//! verifier returns `EAGAIN`), or waiting for a lock before anything is done. So the
//! points that differ are those after each system call that writes, and a kill
//! before one is a kill after the one before.
//!
//! What only the process holds goes with it: an eBPF object that is not pinned, a
//! namespace that is not mounted and what is inside. A kill after such a write
//! leaves what the last lasting one left, and is not tried.

mod state;

use std::os::unix::process::ExitStatusExt;

use libtest_mimic::Failed;
use nsbpf_common::port::Slot;
use tempfile::TempDir;

use crate::Test;
use crate::command::{Done, run};
use crate::leaks::Before;
use crate::tracer::{Traced, trace_until};
use crate::world::{ip, ip_json, reaches};
use state::{comes_to, settled};

pub(crate) const TESTS: &[Test] = &[
    ("kill_points::up_goes_on_after_a_killed_up", up_up),
    ("kill_points::down_cleans_up_after_a_killed_up", up_down),
    ("kill_points::down_goes_on_after_a_killed_down", down_down),
    ("kill_points::up_makes_anew_after_a_killed_down", down_up),
    ("kill_points::up_goes_on_after_a_killed_edit", edit_up),
    ("kill_points::down_cleans_up_after_a_killed_edit", edit_down),
    ("kill_points::up_goes_on_after_a_killed_switch_of_hooks", switch_up),
    ("kill_points::up_goes_on_after_a_killed_switch_to_tcx", || {
        moved_up(&["--attach", "clsact"], &["--attach", "tcx"])
    }),
    ("kill_points::up_goes_on_after_a_killed_switch_to_clsact", || {
        moved_up(&["--attach", "tcx"], &["--attach", "clsact"])
    }),
    ("kill_points::up_goes_on_after_a_killed_replacement", replaced_up),
    ("kill_points::up_goes_on_after_a_killed_up_by_xdp", xdp_up),
    ("kill_points::up_goes_on_after_a_killed_change_to_xdp", || {
        offloads_are_back(&["xdp", "peer"])
    }),
    ("kill_points::up_goes_back_after_a_killed_change_to_xdp", || offloads_are_back(&["peer"])),
    ("kill_points::up_goes_on_after_a_killed_change_from_xdp", || {
        moved_up(&["--fastpath", "xdp"], &["--fastpath", "peer"])
    }),
];

const NAME: &str = "killed";
const LAB: &str = "name: killed
bridges: { br0: {} }
namespaces:
  a:
    interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } }
    routes: [{ to: default, via: 10.0.0.2 }]
  b:
    router: true
    interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24] } }
";
/// Another address and gateway, a namespace less, a namespace more.
const EDITED: &str = "name: killed
bridges: { br0: {} }
namespaces:
  a:
    interfaces: { eth0: { bridge: br0, addresses: [10.0.0.3/24, 'fd00::1/64'] } }
    routes: [{ to: default, via: 10.0.0.9 }]
  c: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.9/24] } } }
";
/// On the way from one to the other.
const BETWEEN: &str = "name: killed
bridges: { br0: {} }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, addresses: ['fd00::1/64'] } } }
";

/// The lab before and after the edit, as files, and what there was before both.
struct Labs {
    _folder: TempDir,
    lab: String,
    between: String,
    edited: String,
    before: Before,
}

impl Labs {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [lab, between, edited] =
            [("lab", LAB), ("between", BETWEEN), ("edited", EDITED)].map(|(name, lab)| {
                let path = folder.path().join(name).with_extension("yaml");
                std::fs::write(&path, lab).expect("write a lab");
                path.to_str().expect("UTF-8").to_owned()
            });
        Self { _folder: folder, lab, between, edited, before: Before::now() }
    }

    /// `nsbpf down`, which must leave nothing. Where there was nothing but empty
    /// folders it may say so.
    #[track_caller]
    fn down(&self, point: &str) {
        let nothing = remains().is_empty();
        let Done { code, out: _, err } = run(&["down", NAME]);
        let fine = code == Some(0) || (nothing && err.contains("there is no lab `killed`"));
        assert!(fine, "{point}: down: {err}");
        if let Err(left) = self.before.check() {
            panic!("{point}: down: {}", left.message().unwrap_or_default());
        }
    }
}

#[track_caller]
fn up(arguments: &[&str], point: &str) {
    let done = run(arguments);
    assert_eq!(done.code, Some(0), "{point}: up: {}", done.err);
}

/// Kills a command after each of its writes. Before that, `prepare` is done, and
/// after it `recover`, which is told where.
#[track_caller]
pub(crate) fn at_each_point(arguments: &[&str], prepare: impl Fn(), recover: impl FnMut(&str)) {
    at_points(1, arguments, prepare, recover);
}

/// The same after each of so many writes, of a command that has too many.
#[track_caller]
pub(crate) fn at_points(
    step: usize,
    arguments: &[&str],
    prepare: impl Fn(),
    mut recover: impl FnMut(&str),
) {
    for number in (1..).step_by(step) {
        prepare();
        let Traced { status, err, writes, .. } = trace_until(arguments, number);
        if status.signal() != Some(libc::SIGKILL) {
            assert!(status.success(), "{arguments:?}, not killed: {err}");
            assert!(number > 1, "{arguments:?} wrote nothing");
            return recover("not killed");
        }
        let last = writes.last().map_or_else(String::new, ToString::to_string);
        recover(&format!("{} killed after write {number}, {last}", arguments[0]));
    }
}

/// What a killed command left that is more than empty folders: links, names of
/// namespaces, folders of labs.
fn remains() -> Vec<String> {
    let links = ip(&["-brief", "link"]);
    let mut remains: Vec<String> =
        links.lines().filter(|link| !link.starts_with("lo ")).map(str::to_owned).collect();
    for folder in ["/run/netns", "/run/nsbpf/labs"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        remains.extend(entries.map(|entry| entry.path().display().to_string()));
    }
    remains
}

/// Links that bear nsbpf's birth mark and nothing that tells what they are.
fn unfinished() -> Vec<String> {
    let links = ip_json(&["link"]);
    let links = links.as_array().expect("links").iter();
    let unfinished = links.filter(|link| {
        let group = link["group"].as_str().and_then(|group| group.parse().ok());
        group.and_then(Slot::of_group).is_some() && link["ifalias"].is_null()
    });
    unfinished.filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect()
}

fn up_up() -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.lab];
    up(&lab, "not killed");
    let expected = [settled()];
    labs.down("not killed");
    let nothing = || {};
    at_each_point(&lab, nothing, |point| {
        up(&lab, point);
        comes_to(&expected, point);
        labs.down(point);
    });
    Ok(())
}

fn up_down() -> Result<(), Failed> {
    let labs = Labs::new();
    let mut met = Vec::new();
    let nothing = || {};
    at_each_point(&["up", &labs.lab], nothing, |point| {
        met.extend(unfinished());
        labs.down(point);
    });
    for link in ["br0", "a-eth0", "b-eth0"] {
        assert!(met.iter().any(|met| met == link), "{link} was never unfinished: {met:?}");
    }
    Ok(())
}

fn down_down() -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.lab];
    at_each_point(&["down", NAME], || up(&lab, "before"), |point| labs.down(point));
    Ok(())
}

fn down_up() -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.lab];
    up(&lab, "not killed");
    let expected = [settled()];
    let as_before = || comes_to(&expected, "before");
    at_each_point(&["down", NAME], as_before, |point| {
        up(&lab, point);
        comes_to(&expected, point);
    });
    labs.down("at the end");
    Ok(())
}

fn edit_up() -> Result<(), Failed> {
    let labs = Labs::new();
    let [lab, between, edited] = [&labs.lab, &labs.between, &labs.edited].map(|lab| ["up", lab]);
    // A new interface gets the lowest number that is free: another one after a kill
    // that came when the old interface was gone.
    let expected = [&[lab, edited][..], &[lab, between, edited]].map(|way| {
        for arguments in way {
            up(arguments, "not killed");
        }
        let state = settled();
        labs.down("not killed");
        state
    });
    assert_ne!(expected[0], expected[1]);
    let before = || up(&lab, "before");
    at_each_point(&edited, before, |point| {
        up(&edited, point);
        comes_to(&expected, point);
        labs.down(point);
    });
    Ok(())
}

fn edit_down() -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.lab];
    let edited = ["up", &labs.edited];
    at_each_point(&edited, || up(&lab, "before"), |point| labs.down(point));
    Ok(())
}

/// The datapath is made anew, and every hook with it.
fn switch_up() -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.between];
    let switched = ["up", &labs.between, "--hook", "xdp"];
    up(&switched, "not killed");
    let expected = [settled()];
    labs.down("not killed");
    let before = || up(&lab, "before");
    at_each_point(&switched, before, |point| {
        up(&switched, point);
        comes_to(&expected, point);
        labs.down(point);
    });
    Ok(())
}

/// Whatever a port went through, it takes frames from XDP.
fn xdp_up() -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.lab, "--fastpath", "xdp"];
    up(&lab, "not killed");
    let expected = [settled()];
    labs.down("not killed");
    let nothing = || {};
    at_each_point(&lab, nothing, |point| {
        up(&lab, point);
        comes_to(&expected, point);
        // The first takes the bridge, which shows the way to those that follow.
        for number in 0..3 {
            assert!(reaches("a", "10.0.0.2"), "{point}: ping {number} is lost");
        }
        labs.down(point);
    });
    Ok(())
}

/// Wherever a change to XDP was killed, those fast paths lead back to what there was.
fn offloads_are_back(paths: &[&str]) -> Result<(), Failed> {
    let labs = Labs::new();
    let by = |path| ["up", &labs.between, "--fastpath", path];
    let features = || crate::offloads::of_all("a");
    up(&by("peer"), "not killed");
    let peer = features();
    up(&by("xdp"), "not killed");
    let xdp = features();
    assert_ne!(peer, xdp);
    labs.down("not killed");
    let before = || up(&by("peer"), "before");
    at_each_point(&by("xdp"), before, |point| {
        for path in paths {
            up(&by(path), point);
            assert_eq!(features(), if *path == "xdp" { &xdp } else { &peer }.clone(), "{point}");
        }
        labs.down(point);
    });
    Ok(())
}

/// From one way to attach, or for packets to travel, to the other, on the same maps.
fn moved_up(from: &[&str], to: &[&str]) -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.between];
    let (from, to) = ([&lab, from].concat(), [&lab, to].concat());
    up(&to, "not killed");
    let expected = [settled()];
    labs.down("not killed");
    replaced_at_each_point(&labs, &from, &to, &expected)
}

/// Other programs by the same way, on the same maps: all links there are.
fn replaced_up() -> Result<(), Failed> {
    let labs = Labs::new();
    let lab = ["up", &labs.between, "--hook", "xdp", "--attach", "tcx"];
    let logging = [&lab[..], &["--kernel-log"]].concat();
    up(&logging, "not killed");
    let expected = [settled()];
    labs.down("not killed");
    replaced_at_each_point(&labs, &lab, &logging, &expected)
}

/// Whenever it is killed, what was counted is there afterwards.
fn replaced_at_each_point(
    labs: &Labs,
    from: &[&str],
    to: &[&str],
    expected: &[serde_json::Value],
) -> Result<(), Failed> {
    let counters = || {
        let path = "/run/nsbpf/labs/killed/bpf/datapath/PORT_STATS";
        aya::maps::MapInfo::from_pin(path).expect("the counters").id()
    };
    let kept = std::cell::Cell::new(0);
    let before = || {
        up(from, "before");
        kept.set(counters());
    };
    at_each_point(to, before, |point| {
        assert_eq!(counters(), kept.get(), "{point}");
        up(to, point);
        assert_eq!(counters(), kept.get(), "{point}: the counters began anew");
        comes_to(expected, point);
        labs.down(point);
    });
    Ok(())
}
