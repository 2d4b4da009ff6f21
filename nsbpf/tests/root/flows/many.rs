//! Many flows: each is told once, and a million of them soon.

use std::collections::{HashMap, HashSet};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData};
use libtest_mimic::Failed;
use nsbpf::datapath::{FlowsReader, Reading};
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::flow::{Flow, FlowDirection, FlowKey, FlowPacket};
use serde_json::Value;

use super::LAB;
use crate::command::nsbpf;
use crate::engine::settings;
use crate::truth::Ground;

const WAYS: [Reading; 4] =
    [Reading::Batches(1), Reading::Batches(64), Reading::Batches(4096), Reading::Keys];

pub(super) type FlowMap = aya::maps::HashMap<MapData, FlowKey, Flow>;

pub(super) fn open(ground: &Ground, map: &str) -> Result<FlowMap, Failed> {
    let map = Map::from_map_data(MapData::from_pin(ground.up.store.pins().join(map))?)?;
    Ok(map.try_into()?)
}

/// A flow of its own for each number.
pub(super) fn made(number: u32) -> (FlowKey, Flow) {
    let mut frame = [0_u8; 60];
    frame[12..14].copy_from_slice(&[8, 0]);
    (frame[14], frame[23]) = (0x45, 17);
    frame[26..30].copy_from_slice(&(0x0a00_0000 | number).to_be_bytes());
    frame[30..34].copy_from_slice(&[192, 0, 2, 1]);
    frame[37] = 53;
    let (mut packet, mut flow) = (FlowPacket::default(), Flow::default());
    assert!(packet.look_first(frame.as_slice()));
    packet.settle(0, 0);
    flow.begin(packet.direction, 1);
    for direction in &mut flow.directions {
        (direction.packets, direction.bytes) = (u64::from(number), u64::from(number) * 100);
    }
    (packet.key, flow)
}

pub(super) fn with_flows(flows: u32) -> Ground {
    Ground::with(LAB, &Settings { flows, ..settings(IngressHook::Tc) })
}

pub(super) fn ways_to_read() -> Result<(), Failed> {
    const COUNT: u32 = 2_000;
    let ground = with_flows(8 * COUNT);
    let (mut settled, mut new) = (open(&ground, "FLOWS")?, open(&ground, "NEW_FLOWS")?);
    let mut wanted = HashMap::new();
    for number in 1..=COUNT {
        let (key, flow) = made(number);
        settled.insert(key, flow, 0)?;
        wanted.insert(key, (flow, true));
        // As while it moves from the one to the other.
        if number % 10 == 0 {
            new.insert(key, Flow::default(), 0)?;
        }
    }
    for number in COUNT + 1..COUNT + 100 {
        let (key, flow) = made(number);
        new.insert(key, flow, 0)?;
        wanted.insert(key, (flow, false));
    }
    for way in WAYS {
        let mut seen = HashMap::new();
        FlowsReader::open(&ground.up.store)?.by(way).each(|key, flow, settled| {
            assert!(seen.insert(*key, (*flow, settled)).is_none(), "{way:?}: {key:?} twice");
        })?;
        // The lab's own flows are there too.
        seen.retain(|key, _| wanted.contains_key(key));
        assert!(seen == wanted, "{way:?}: {} of {} flows", seen.len(), wanted.len());
    }
    drop((settled, new));
    ground.down();
    Ok(())
}

/// Flows begin, settle and go all the while.
pub(super) fn settling() -> Result<(), Failed> {
    const STAY: u32 = 3_000;
    let ground = with_flows(1 << 15);
    let mut settled = open(&ground, "FLOWS")?;
    let mut new = open(&ground, "NEW_FLOWS")?;
    for number in 0..STAY {
        let (key, flow) = made(number);
        settled.insert(key, flow, 0)?;
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<(), Failed> {
        let busy = scope.spawn(|| -> Result<u32, aya::maps::MapError> {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                for number in 0..500 {
                    let (key, flow) = made(100_000 + number);
                    new.insert(key, flow, 0)?;
                    settled.insert(key, flow, 0)?;
                    new.remove(&key)?;
                    settled.remove(&key)?;
                }
                rounds += 1;
            }
            Ok(rounds)
        });
        let looked = look_often(&ground, STAY);
        done.store(true, Ordering::Relaxed);
        assert!(busy.join().expect("the other thread")? > 1, "nothing changed meanwhile");
        looked
    })?;
    drop((settled, new));
    ground.down();
    Ok(())
}

fn look_often(ground: &Ground, stay: u32) -> Result<(), Failed> {
    let staying: HashSet<FlowKey> = (0..stay).map(|number| made(number).0).collect();
    for way in WAYS {
        let reader = FlowsReader::open(&ground.up.store)?.by(way);
        for _ in 0..20 {
            let mut seen = HashSet::new();
            reader.each(|key, _, _| assert!(seen.insert(*key), "{way:?}: {key:?} twice"))?;
            let missing = staying.difference(&seen).count();
            assert_eq!(missing, 0, "{way:?}");
        }
    }
    Ok(())
}

/// The first 20 of them. How long it took is printed, and looked at where it was compiled
/// to be fast.
pub(super) fn a_million() -> Result<(), Failed> {
    const COUNT: u32 = 1_000_000;
    const NEW: u32 = 100_000;
    const MAX_KILOBYTES: i64 = 300_000;
    let before = Instant::now();
    let ground = with_flows(COUNT + COUNT / 8);
    eprintln!("a lab with room for {} flows: up after {:?}", COUNT + COUNT / 8, before.elapsed());
    let (mut settled, mut new) = (open(&ground, "FLOWS")?, open(&ground, "NEW_FLOWS")?);
    for number in 1..=COUNT {
        let (key, flow) = made(number);
        settled.insert(key, flow, 0)?;
    }
    for number in 0..NEW {
        let (key, mut flow) = made(COUNT + 1 + number);
        flow.directions = <[FlowDirection; 2]>::default();
        new.insert(key, flow, 0)?;
    }
    drop((settled, new));
    let arguments = ["flows", "flows", "--format", "json", "--limit", "20"];
    let before = Instant::now();
    let child = nsbpf(&arguments).stdout(Stdio::piped()).spawn()?;
    let (out, kilobytes) = ended(child)?;
    let took = before.elapsed();
    let report: Value = serde_json::from_str(&out)?;
    eprintln!("{COUNT} flows: the first 20 after {took:?}, {kilobytes} kB of memory");
    let there = |how: &str| report["there"][how].as_u64();
    assert!(there("settled") >= Some(COUNT.into()), "{report}");
    assert!(there("new") >= Some(NEW.into()), "{report}");
    let flows = report["flows"].as_array().ok_or("a list")?;
    let packets: Vec<u64> =
        flows.iter().filter_map(|flow| flow["sent"]["packets"].as_u64()).collect();
    let wanted: Vec<u64> = (0..20).map(|place| u64::from(COUNT) - place).collect();
    assert_eq!(packets, wanted);
    assert!(kilobytes < MAX_KILOBYTES, "{kilobytes} kB");
    if !cfg!(debug_assertions) {
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    ground.down();
    Ok(())
}

/// What a command printed, and how much memory it had at most.
fn ended(mut child: std::process::Child) -> Result<(String, i64), Failed> {
    let mut out = child.stdout.take().ok_or("a pipe")?;
    let text = std::io::read_to_string(&mut out)?;
    let mut status = 0;
    // SAFETY: integers, for which 0 is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let pid = child.id() as libc::pid_t;
    // SAFETY: both are written by the kernel, and the child is ours and not waited for.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if waited != pid || status != 0 {
        return Err(format!("{waited} of {pid} ended with {status}: {text}").into());
    }
    Ok((text, usage.ru_maxrss))
}
