//! The kernel half against what is compiled, and against the rules read one after the other:
//! the same verdict, and the same rule that counts, for a million of packets.

mod kernel;
mod random;

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use libtest_mimic::Failed;
use nsbpf::lab::policy::Fallback;
use nsbpf::lab::{Lab, Policy};
use nsbpf::policy::{Ends, Kind, Looked, Ruleset, compile};
use nsbpf_common::policy::{Action, NONE, ROUTED, Subject, field};

use kernel::Kernel;
use random::{Frame, Random};

/// Sets of rules, and packets for each: by two programs that is a million.
const SETS: u64 = 25;
const PACKETS: usize = 20_000;
/// Rules of a set at most.
const RULES: u64 = 40;
/// The port that packets come in by.
const PORT: u16 = 3;

/// What is decided on a packet: by which rule, if any, and whether it passes.
type Expected = Option<(u32, bool)>;

/// A set of rules, and packets with what becomes of each.
struct Set {
    policy: Policy,
    ruleset: Ruleset,
    is_router: bool,
    packets: Vec<(Vec<u8>, Expected)>,
}

pub(super) fn agrees() -> Result<(), Failed> {
    let start = Instant::now();
    let (to, sets) = sync_channel::<Set>(1);
    let making = thread::spawn(move || {
        let lab = Lab::parse(random::words::LAB, "lab.yaml").expect("a lab");
        for number in 0..SETS {
            if to.send(set(&lab, number)).is_err() {
                return;
            }
        }
    });
    let mut kernels = [Kernel::load("tc_ingress")?, Kernel::load("xdp_ingress")?];
    let (mut pairs, mut rules, mut by_rule, mut dropped) = (0, 0, 0, 0);
    for (number, set) in sets.iter().enumerate() {
        rules += set.policy.rules.len();
        for kernel in &mut kernels {
            kernel.put(&set.policy, &set.ruleset, set.is_router)?;
            for (frame, expected) in &set.packets {
                let told = kernel.judge(frame, *expected)?;
                let wanted = expected.is_none_or(|(_, passes)| passes);
                let what = || format!("set {number}: {expected:?} of {frame:02x?}");
                assert_eq!(told.passes, wanted, "{}: passes, {}", kernel.program, what());
                assert!(told.is_counted, "{}: counts, {}", kernel.program, what());
                pairs += 1;
                by_rule += usize::from(expected.is_some_and(|(slot, _)| slot != 0));
                dropped += usize::from(!wanted);
            }
            kernel.adds_up()?;
        }
    }
    making.join().expect("what makes packets");
    println!(
        "{pairs} packets judged by {rules} rules of {SETS} sets in {:?}: {by_rule} by a rule, \
         {dropped} dropped",
        start.elapsed()
    );
    assert_eq!(pairs, 2 * PACKETS * SETS as usize);
    assert!(by_rule > pairs / 4 && dropped > pairs / 10, "hardly anything was decided");
    Ok(())
}

fn set(lab: &Lab, seed: u64) -> Set {
    let mut random = Random::new(seed);
    let policy = random.policy(lab, random::LENGTHS[seed as usize % 4].min(RULES));
    let mut ends = Ends::of_lab(lab);
    // The port is another interface's each time.
    let count = ends.0.len() as u16;
    for end in ends.0.values_mut() {
        end.number = (end.number + seed as u16) % count + 1;
    }
    let ruleset = compile(&policy, &ends).expect("a policy");
    let is_router = seed % 3 == 2;
    let port = if is_router { ROUTED } else { PORT.into() };
    let mut packets = Vec::with_capacity(PACKETS);
    while packets.len() < PACKETS {
        let mut frame = random.frame();
        frame.subject.set(field::PORT, port);
        let expected = expected(&policy, &ruleset, &ends, &frame);
        packets.push((frame.bytes, expected));
        if let Some(follower) = frame.follower
            && packets.len() < PACKETS
        {
            packets.push((follower, expected));
        }
    }
    Set { policy, ruleset, is_router, packets }
}

fn expected(policy: &Policy, ruleset: &Ruleset, ends: &Ends, frame: &Frame) -> Expected {
    let Frame { kind, subject, is_discovery, .. } = frame;
    let default = (0, policy.default == Fallback::Allow);
    if *is_discovery && !ruleset.about_discovery {
        return None;
    }
    if subject.field(field::ETHERTYPE) == 0x0806 && !ruleset.about_arp {
        return None;
    }
    // They follow a first fragment, and this one has none.
    if subject.field(field::FRAGMENT) == 2 {
        return Some(default);
    }
    let looked = Looked { ends, kind: *kind, subject };
    let by_reading = policy.rules.iter().position(|rule| looked.is(&rule.matches));
    assert_eq!(found(ruleset, *kind, subject), by_reading, "{kind:?} {subject:?}");
    by_reading.map_or(Some(default), |place| {
        let passes = matches!(policy.rules[place].action.action(), Action::Allow | Action::Limit);
        Some((place as u32 + 1, passes))
    })
}

/// The rule that compiled ones find.
fn found(ruleset: &Ruleset, kind: Kind, subject: &Subject) -> Option<usize> {
    let index = ruleset.compiled.find(kind, subject).condition;
    let condition = (index != NONE).then(|| &ruleset.compiled.conditions[index as usize]);
    condition.map(|condition| condition.decision.slot() as usize - 1)
}
