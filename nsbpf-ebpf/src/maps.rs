//! Every map and every load-time global.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use nsbpf_common::packet::Headers;
use nsbpf_common::stats::PortStats;

/// Counters, by port number. The loader sets its size.
#[map]
pub static PORT_STATS: PerCpuArray<PortStats> = PerCpuArray::with_max_entries(1, 0);

/// Scratch memory: what the parser found in the packet at hand. One entry is
/// enough: all hooks run with bottom halves off, so that a CPU is done with one
/// packet in one program before it begins another.
#[map]
pub static PARSED_HEADERS: PerCpuArray<Headers> = PerCpuArray::with_max_entries(1, 0);

/// Interface index of port 0; the loader sets it.
#[unsafe(no_mangle)]
pub static PORT_BASE: Global<u32> = Global::new(0);
