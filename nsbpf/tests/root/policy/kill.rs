//! nsbpf is killed wherever that can happen while a policy comes into force: packets are
//! judged by all of one policy, and the next command leads on or back.

use std::cell::RefCell;

use libtest_mimic::Failed;
use serde_json::Value;

use super::{BACK, Files, LAB, NAME, POLICY, THERE, arrives, many, packets, shown};
use crate::command::{ended, ran};
use crate::kill_points::at_points;
use crate::leaks::Before;

/// Rules, by their names.
fn names(shown: &Value) -> Vec<String> {
    let rules = shown["rules"].as_array().into_iter().flatten();
    rules.map(|rule| rule["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What other maps there are besides those of the policy.
fn counters() -> u32 {
    let path = "/run/nsbpf/labs/policed/bpf/datapath/PORT_STATS";
    aya::maps::MapInfo::from_pin(path).expect("the counters").id()
}

/// From one lab to another, killed at each point on the way: those that are there keep their
/// counters, whichever of both policies was in force. Where programs are loaded anew, most
/// writes are of kinds that others are of too: one of so many is enough.
fn on_the_way(step: usize, from: &str, to: &str) -> Result<(), Failed> {
    let files = Files::new();
    let [from, to] = [("from.yaml", from), ("to.yaml", to)]
        .map(|(name, policy)| files.write(name, &format!("{LAB}{policy}")));
    let nothing = Before::now();
    let of = |lab: &str| {
        ran(&["up", lab]);
        let rules = names(&shown());
        ran(&["down", NAME]);
        rules
    };
    let (old, new) = (of(&from), of(&to));
    assert_ne!(old, new);
    let has_counters = !old.is_empty() && !new.is_empty();
    let had = RefCell::new((0, 0));
    let before = || {
        ran(&["up", &from]);
        assert!(arrives(THERE, 1500));
        let low = if has_counters { packets(&shown(), "low") } else { 0 };
        *had.borrow_mut() = (counters(), low);
    };
    at_points(step, &["up", &to], before, |point| {
        let found = names(&shown());
        assert!(found == old || found == new, "{point}: {found:?}");
        // In either everything that was allowed goes on.
        assert!(arrives(THERE, 1501), "{point}");
        ran(&["up", &to]);
        let after = shown();
        assert_eq!(names(&after), new, "{point}");
        let (map, low) = *had.borrow();
        assert_eq!(counters(), map, "{point}: all counters began anew");
        if has_counters {
            // One that was counted by programs that were killed on their way may be lost.
            assert!(packets(&after, "low") >= low, "{point}: {after}");
        }
        assert_eq!(arrives(BACK, 1500), new.is_empty(), "{point}");
        let again = ran(&["up", &to]);
        assert!(again.contains("nothing to change"), "{point}: {again}");
        ran(&["down", NAME]);
        if let Err(left) = nothing.check() {
            panic!("{point}: {}", left.message().unwrap_or_default());
        }
    });
    Ok(())
}

pub(super) fn first() -> Result<(), Failed> {
    on_the_way(11, "", POLICY)
}

pub(super) fn swapped() -> Result<(), Failed> {
    on_the_way(2, POLICY, &POLICY.replace("echo6", "other"))
}

pub(super) fn outgrown() -> Result<(), Failed> {
    on_the_way(13, POLICY, &format!("policy:\n{}", many(600)))
}

pub(super) fn taken_away() -> Result<(), Failed> {
    on_the_way(11, POLICY, "")
}

/// What was killed is taken down.
pub(super) fn down() -> Result<(), Failed> {
    let files = Files::new();
    let lab = files.path("lab.yaml");
    let nothing = Before::now();
    at_points(
        7,
        &["policy", "set", NAME, "--none"],
        || drop(ran(&["up", &lab])),
        |point| {
            ended(&["down", NAME], 0);
            if let Err(left) = nothing.check() {
                panic!("{point}: {}", left.message().unwrap_or_default());
            }
        },
    );
    Ok(())
}
