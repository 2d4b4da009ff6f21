//! Every map and every load-time global.
//!
//! A global that is a switch removes what it turns off: the verifier knows its
//! value, sees code that nothing reaches, and takes it out.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap};
use nsbpf_common::guard::OwnAddress;
use nsbpf_common::pair::Pair;
use nsbpf_common::port::PortConfig;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::{Cell, PortStats};

/// Counters, by port number. The loader sets its size.
#[map]
pub static PORT_STATS: PerCpuArray<PortStats> = PerCpuArray::with_max_entries(1, 0);

/// What there is to know of a port, by its number. The loader sets its size.
#[map]
pub static PORT_CONFIGS: Array<PortConfig> = Array::with_max_entries(1, 0);

/// Traffic matrix of a small lab: what went from one port to another, a cell a
/// pair, by [`Pair::index`]. The loader sets its size.
#[map]
pub static PAIR_TABLE: PerCpuArray<Cell> = PerCpuArray::with_max_entries(1, 0);

/// Traffic matrix of a large lab, in which most pairs never meet. The loader sets
/// its size.
#[map]
pub static PAIR_CELLS: PerCpuHashMap<Pair, Cell> = PerCpuHashMap::with_max_entries(1, 0);

/// What found no room in the matrix of a large lab.
#[map]
pub static PAIRS_MISSED: PerCpuArray<Cell> = PerCpuArray::with_max_entries(1, 0);

/// Addresses that guarded ports may claim: a set. It takes memory for those that
/// it has.
#[map]
pub static OWN_ADDRESSES: HashMap<OwnAddress, u8> =
    HashMap::with_max_entries(1 << 14, BPF_F_NO_PREALLOC);

/// Scratch memory: what the packet at hand was found to be. One entry is enough: all
/// hooks run with bottom halves off, so that a CPU is done with one packet in one
/// program before it begins another.
#[map]
pub static SEEN_PACKETS: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);

/// Interface index of port 0; the loader sets it.
#[unsafe(no_mangle)]
pub static PORT_BASE: Global<u32> = Global::new(0);

/// Switch: ports that `PAIR_TABLE` has rows for; 0 when `PAIR_CELLS` is the
/// matrix.
#[unsafe(no_mangle)]
pub static PAIR_TABLE_PORTS: Global<u16> = Global::new(0);

/// Switch: some port is guarded.
#[unsafe(no_mangle)]
pub static GUARD: Global<u8> = Global::new(0);

/// Switch: some pair has no bridge.
#[unsafe(no_mangle)]
pub static DIRECT_LINKS: Global<u8> = Global::new(0);
