//! Count: what each packet was, what it weighed, and between whom it went.

use aya_ebpf::bindings::BPF_NOEXIST;
use nsbpf_common::pair::Pair;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::{Cell, Direction, PortStats};
use nsbpf_common::verdict::Reason;

use super::clock;
use crate::maps::{PAIR_CELLS, PAIR_TABLE, PAIR_TABLE_PORTS, PAIRS_MISSED, PORT_STATS};

/// The counters of a port, if there is such a port.
#[inline(always)]
pub fn counters(port: u16) -> Option<&'static mut PortStats> {
    let stats = PORT_STATS.get_ptr_mut(port.into())?;
    // SAFETY: this CPU's own copy, and nothing else runs on this CPU that
    // touches it until the program returns.
    Some(unsafe { &mut *stats })
}

/// Counts a packet in one direction of a port.
#[inline(always)]
pub fn packet(direction: &mut Direction, seen: &Seen) {
    direction.count(seen.class(), seen.cast(), &seen.weight);
    direction.see(clock::tick(), clock::now_ns);
}

/// Counts that a packet, counted before, is dropped.
#[inline(always)]
pub fn dropped(direction: &mut Direction, reason: Reason, cell: Cell) {
    direction.count_drop(reason, cell);
}

/// Counts a packet that went from one port to another.
#[inline(always)]
pub fn pair(pair: Pair, cell: Cell) {
    let sum = match PAIR_TABLE_PORTS.load() {
        0 => PAIR_CELLS.get_ptr_mut(pair),
        ports => PAIR_TABLE.get_ptr_mut(pair.index(ports)),
    };
    if let Some(sum) = sum {
        // SAFETY: as for a port's counters.
        unsafe { *sum += cell };
    } else if PAIR_TABLE_PORTS.load() == 0 {
        new_pair(pair, cell);
    }
}

/// The first packet of a pair, on this CPU or on any.
#[inline(always)]
fn new_pair(pair: Pair, cell: Cell) {
    if PAIR_CELLS.insert(pair, cell, BPF_NOEXIST.into()).is_ok() {
        return;
    }
    // Another CPU made the entry in this moment, or there is no room for it.
    let sum = PAIR_CELLS.get_ptr_mut(pair).or_else(|| PAIRS_MISSED.get_ptr_mut(0));
    if let Some(sum) = sum {
        // SAFETY: as for a port's counters.
        unsafe { *sum += cell };
    }
}
