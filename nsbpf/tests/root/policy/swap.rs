//! From one policy to another, as a whole or not at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use libtest_mimic::Failed;
use nsbpf::apply::{ApplyError, Oversight, converge};
use nsbpf::lab::Lab;
use nsbpf::observe::policy::in_force;
use nsbpf::plan::Step;
use nsbpf::state::{IngressHook, Object};
use nsbpf::store::Store;
use nsbpf_common::policy::RuleSetting;

use super::{LAB, POLICY, many};
use crate::engine::{Up, lab, settings};
use crate::truth::Ground;
use crate::upgrade::flooded;
use crate::world::reaches;

/// Stops before the first step of a kind.
struct StopBefore {
    kind: fn(&Object) -> bool,
    stop: AtomicBool,
}

impl StopBefore {
    fn new(kind: fn(&Object) -> bool) -> Self {
        Self { kind, stop: AtomicBool::new(false) }
    }
}

impl Oversight for StopBefore {
    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What is told of is done yet, and nothing after it.
    fn progress(&self, _: usize, _: usize, next: &Step) {
        if let Step::Add(object) | Step::Change { to: object, .. } = next
            && (self.kind)(object)
        {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn policy_of(store: &Store) -> Option<nsbpf::store::PolicyRecord> {
    let (datapath, _) = nsbpf::datapath::observe(store).expect("a datapath");
    in_force(store, &datapath).expect("what is in force")
}

fn with(policy: &str) -> Lab {
    lab(&format!("{LAB}{policy}"))
}

pub(super) fn undone() -> Result<(), Failed> {
    let tight = POLICY.replace("action: allow", "action: limit, limit: 7/s");
    let before = with(&tight);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let was = policy_of(&up.store).expect("a policy");
    // Another limit of the same rule, fewer rules, and more than the maps have room for.
    let loose = tight.replace("7/s", "9000/s");
    let large = format!("policy:\n{}", many(2000));
    let another = format!("{LAB}  c: {{ interfaces: {{ eth0: {{ bridge: br0 }} }} }}\n");
    for policy in [&loose, &tight.replace("echo6", "other"), &large] {
        let after = lab(&format!("{another}{policy}"));
        for kind in
            [(|object| matches!(object, Object::Policy(_))) as fn(&Object) -> bool, |object| {
                matches!(object, Object::Hook(_))
            }]
        {
            let stop = StopBefore::new(kind);
            let failed = converge(&up.store, &after, &settings(IngressHook::Tc), &stop);
            match failed {
                Err(ApplyError::Undone { .. }) => {}
                other => panic!("{other:?}"),
            }
            let now = policy_of(&up.store).expect("a policy");
            assert_eq!((now.digest, &now.rules), (was.digest, &was.rules));
            assert_eq!(limit(&up.store, now.rules[0].slot).interval, was.rules[0].setting.interval);
            assert_eq!(up.converge(&before, IngressHook::Tc).steps, 0);
        }
    }
    up.down();
    Ok(())
}

/// What the kernel knows of a rule's limit.
fn limit(store: &Store, slot: u32) -> RuleSetting {
    let pins = std::fs::read_dir(store.pins()).expect("pins");
    let mut paths = pins.flatten().map(|pin| pin.path());
    let path = paths.find(|path| path.to_string_lossy().contains("RULE_SETTINGS")).expect("a pin");
    let map = aya::maps::MapData::from_pin(path).expect("the limits");
    let map = aya::maps::Map::from_map_data(map).expect("a map");
    let map = aya::maps::Array::<_, RuleSetting>::try_from(map).expect("an array");
    map.get(&slot, 0).expect("a limit")
}

pub(super) fn first_undone() -> Result<(), Failed> {
    let open = lab(LAB);
    let up = Up::new(&open);
    up.converge(&open, IngressHook::Tc);
    let stop = StopBefore::new(|object| matches!(object, Object::Policy(_)));
    let failed = converge(&up.store, &with(POLICY), &settings(IngressHook::Tc), &stop);
    assert!(matches!(failed, Err(ApplyError::Undone { .. })), "{failed:?}");
    assert_eq!(policy_of(&up.store), None);
    assert!(reaches("b", "10.0.0.1"));
    assert_eq!(up.converge(&open, IngressHook::Tc).steps, 0);
    up.down();
    Ok(())
}

/// Both policies let it pass, so nothing is lost, and each packet is counted by one.
pub(super) fn under_a_flood() -> Result<(), Failed> {
    const SWAPS: usize = 6;
    let policies = [
        "policy: { default: deny, rules: [{ name: one, proto: udp, action: allow }] }\n",
        "policy: { default: deny, rules: [{ name: none, proto: tcp, action: deny }, { name: two, from: a, action: allow }] }\n",
    ];
    let source = |number: usize| format!("{}{}", crate::truth::LAB, policies[number % 2]);
    let ground = Ground::with(&source(0), &settings(IngressHook::Tc));
    let (sent, counted) = flooded(&ground, |received| {
        for number in 1..=SWAPS {
            let so_far = received.load(Ordering::Relaxed);
            let swapped = ground.up.converge(&lab(&source(number)), IngressHook::Tc);
            assert_eq!(swapped.steps, 1);
            assert!(swapped.policy.is_some() && swapped.programs.is_none());
            while received.load(Ordering::Relaxed) == so_far {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(counted, [sent, sent]);
    ground.down();
    Ok(())
}

/// Tables for many rules are in the kernel soon, and packets find theirs in them.
pub(super) fn many_rules() -> Result<(), Failed> {
    const RULES: usize = 10_000;
    let before = with(POLICY);
    let up = Up::new(&before);
    up.converge(&before, IngressHook::Tc);
    let start = Instant::now();
    let after = with(&format!("policy:\n{}", many(RULES)));
    let read = start.elapsed();
    let swap = up.converge(&after, IngressHook::Tc).policy.expect("a policy");
    println!(
        "read in {read:?}, compiled in {:?}, swapped in {:?}",
        swap.compiled_in, swap.swapped_in
    );
    assert_eq!((swap.added, swap.stayed), (RULES, 3));
    assert!(!reaches("b", "10.0.0.1") && reaches("a", "10.0.0.2"));
    assert_eq!(up.converge(&after, IngressHook::Tc).steps, 0);
    let (datapath, _) = nsbpf::datapath::observe(&up.store).expect("a datapath");
    let bytes = nsbpf::datapath::policy_memory(&up.store, &datapath)?;
    println!("{bytes} bytes in the kernel");
    assert!(bytes < 16 << 20, "{bytes} bytes");
    up.down();
    Ok(())
}
