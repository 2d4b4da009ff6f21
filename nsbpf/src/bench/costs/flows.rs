//! What many flows cost whoever looks at them: `nsbpf flows`, from outside.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Instant;

use nsbpf_common::flow::{Flow, FlowPacket};

use crate::apply::{self, Wish};
use crate::bench::traffic::{self, Address, Shape};
use crate::bench::wiring::{Size, Wiring};
use crate::bench::{BenchError, io_error, mode};
use crate::datapath::FlowsFiller;
use crate::lab::Lab;
use crate::plan::Settings;
use crate::state::IngressHook;
use crate::store::Store;

/// How often they are looked at.
const READS: usize = 5;
/// Entries that as many as 128 processors keep: 128 each (`LOCAL_FREE_TARGET`, Linux 6.18).
const KEPT: u32 = 1 << 14;
/// Flows that are told: those that sent most.
pub(in crate::bench) const TOP: u16 = 20;

/// What looking at them took.
#[derive(Default)]
pub(in crate::bench) struct Flows {
    /// How many there are.
    pub(in crate::bench) count: u32,
    /// Seconds, from the start of the program to its end.
    pub(in crate::bench) read: Vec<f64>,
    /// The program's largest resident set, in bytes.
    pub(in crate::bench) memory_bytes: f64,
}

pub(in crate::bench) fn measure(table: u32) -> Result<Flows, BenchError> {
    let lab = Wiring::Bridge { netfilter: false }.lab(0, Size::USUAL);
    let lab = Lab::parse(&lab, "the benchmark's lab").map_err(Box::new)?;
    let store = Store::new(&lab.name);
    let lock = store.lock()?;
    let settings = mode::settings(&store, Some(IngressHook::Tc), Wish::Any)?;
    // Each processor keeps some entries to itself, and evicts what is old for more.
    let room = table + table / 8 + KEPT;
    let never = std::sync::atomic::AtomicBool::new(false);
    apply::converge(&store, &lab, &Settings { flows: room, ..settings }, &never)?;
    fill(&store, table)?;
    let mut flows = Flows { count: table, ..Flows::default() };
    for _ in 0..READS {
        let start = Instant::now();
        read(lab.name.as_str(), table)?;
        flows.read.push(start.elapsed().as_secs_f64());
    }
    flows.memory_bytes = children_bytes().map_err(io_error("ask for a child's memory"))?;
    apply::take_down(&store)?;
    lock.retire();
    Ok(flows)
}

/// So many flows to one address, from as many others.
fn fill(store: &Store, count: u32) -> Result<(), BenchError> {
    let mut filler = FlowsFiller::open(store)?;
    let address =
        |number: u8, v4| Address { mac: [2, 0, 0, 0, 0, number], v4, v6: Ipv6Addr::UNSPECIFIED };
    let to = address(2, Ipv4Addr::new(192, 0, 2, 1));
    for number in 1..=count {
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() | number);
        let frame = traffic::udp(Shape::SHORT, address(1, ip), to);
        let (mut packet, mut flow) = (FlowPacket::default(), Flow::default());
        packet.look_first(frame.as_slice());
        packet.settle(0, 0);
        flow.begin(packet.direction, 1);
        for direction in &mut flow.directions {
            direction.packets = u64::from(number);
            direction.bytes = u64::from(number) * 100;
        }
        filler.put(&packet.key, &flow)?;
    }
    Ok(())
}

/// Runs the program that this is. It has to see all of them.
fn read(lab: &str, count: u32) -> Result<(), BenchError> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["flows", lab, "--format", "json", "--limit", &TOP.to_string()]);
    let done = command.output().map_err(io_error("start nsbpf flows"))?;
    let failed = |why: String| io_error("run nsbpf flows")(io::Error::other(why));
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(failed(format!("{}: {}", done.status, said.trim_end())));
    }
    let report: serde_json::Value =
        serde_json::from_slice(&done.stdout).map_err(|error| failed(error.to_string()))?;
    match report["there"]["settled"].as_u64() {
        Some(seen) if seen >= u64::from(count) => Ok(()),
        seen => Err(failed(format!("of {count} flows it saw {}", seen.unwrap_or_default()))),
    }
}

/// The largest resident set of all children so far: no others are started. What a child
/// is before it is another program counts too (`exec_mmap`, Linux 6.18).
#[expect(clippy::cast_precision_loss, reason = "less than a petabyte")]
fn children_bytes() -> io::Result<f64> {
    // SAFETY: integers, for which 0 is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: it is alive, and of the type that the kernel writes.
    let done = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    // The kernel counts it in KiB.
    if done == 0 { Ok(usage.ru_maxrss as f64 * 1024.0) } else { Err(io::Error::last_os_error()) }
}
