//! Every map and every load-time global.
//!
//! A global that is a switch removes what it turns off: the verifier knows its
//! value, sees code that nothing reaches, and takes it out.

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use nsbpf_common::answer::Answer;
use nsbpf_common::crossing::{Crossing, PLACES, Passage, Passages, Sighting, Station};
use nsbpf_common::flow::{Flow, FlowEvents, FlowKey, FlowPacket, RecentFlow, RecentRest};
use nsbpf_common::guard::OwnAddress;
use nsbpf_common::pair::Pair;
use nsbpf_common::policy::{
    Condition, FragmentHead, FragmentKey, Node, PolicyEvents, PolicyHead, Rare, RuleSetting,
    RuleStats, Subject,
};
use nsbpf_common::port::PortConfig;
use nsbpf_common::route::{Handed, Route};
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

/// Flows that last. The loader sets its size.
#[map]
pub static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(1, 0);

/// Flows that began and were not answered yet. The loader sets its size.
#[map]
pub static NEW_FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(1, 0);

/// What is of flows and not in their entries yet: as many places for each processor, one
/// processor's behind the other's, by [`FlowKey::place`]. The loader sets its size. (A
/// per-CPU array would lead to each place by a pointer of its own.) Who reads flows maps
/// it into memory.
#[map]
pub static RECENT_FLOWS: Array<RecentFlow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What else there is about those places.
#[map]
pub static RECENT_RESTS: Array<RecentRest> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What became of flows.
#[map]
pub static FLOW_EVENTS: PerCpuArray<FlowEvents> = PerCpuArray::with_max_entries(1, 0);

/// Scratch memory: a flow that is to begin.
#[map]
pub static BLANK_FLOWS: PerCpuArray<Flow> = PerCpuArray::with_max_entries(1, 0);

/// Scratch memory: a flow's key.
#[map]
pub static SPARE_KEYS: PerCpuArray<FlowKey> = PerCpuArray::with_max_entries(1, 0);

/// Where the bridge sends frames, and since when that is known. The loader sets its
/// size.
#[map]
pub static LEARNED_PATHS: LruHashMap<Crossing, Sighting> = LruHashMap::with_max_entries(1, 0);

/// At which port stations were seen last. The loader sets its size.
#[map]
pub static STATIONS: LruHashMap<Station, Sighting> = LruHashMap::with_max_entries(1, 0);

/// Paths that were taken last, by their crossings' places: what is looked up in
/// `LEARNED_PATHS` once is here for the next frames.
#[map]
pub static KNOWN_PATHS: PerCpuArray<Passages> = PerCpuArray::with_max_entries(1, 0);

/// Frames that were left to the bridge, likewise.
#[map]
pub static UNDER_WAY: PerCpuArray<Passage> = PerCpuArray::with_max_entries(PLACES, 0);

/// What the stacks of routers, and the host's, do to flows. The loader sets its size.
#[map]
pub static ROUTES: LruHashMap<FlowKey, Route> = LruHashMap::with_max_entries(1, 0);

/// Packets that were left to such a stack, by [`FlowKey::place`].
#[map]
pub static HANDED_PACKETS: PerCpuArray<Handed> = PerCpuArray::with_max_entries(PLACES, 0);

/// The devices behind ports that take frames from XDP, by port number. The loader sets
/// its size.
#[map]
pub static DEVICES: DevMap = DevMap::with_max_entries(1, 0);

/// The generation of the policy: it counts from 1, and its lowest bit tells which half of
/// the policy's tables is the one that holds.
#[map]
pub static POLICY_NOW: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// A policy for each half.
#[map]
pub static POLICY_HEADS: Array<PolicyHead> = Array::with_max_entries(2, BPF_F_MMAPABLE);

/// Trees of rules, two halves. The loader sets its size, as that of the next ones.
#[map]
pub static POLICY_NODES: Array<Node> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What rules are about, two halves.
#[map]
pub static POLICY_CONDS: Array<Condition> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What few of them are about, two halves.
#[map]
pub static POLICY_RARES: Array<Rare> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Limits of rules, by slot.
#[map]
pub static RULE_SETTINGS: Array<RuleSetting> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Counters of rules, by slot.
#[map]
pub static RULE_STATS: PerCpuArray<RuleStats> = PerCpuArray::with_max_entries(1, 0);

/// What else became of packets.
#[map]
pub static POLICY_EVENTS: PerCpuArray<PolicyEvents> = PerCpuArray::with_max_entries(1, 0);

/// Packets that are logged. The loader sets its size, in bytes.
#[map]
pub static POLICY_LOG: RingBuf = RingBuf::with_byte_size(4096, 0);

/// When the next packet is due to be logged, and to be answered: they are limited too.
#[map]
pub static NEXT_DUE: Array<u64> = Array::with_max_entries(2, 0);

/// Places in [`NEXT_DUE`].
pub const LOGGED: u32 = 0;
/// The other one.
pub const ANSWERED: u32 = 1;

/// Scratch memory: what the sender of the packet at hand is told.
#[map]
pub static ANSWERS: PerCpuArray<Answer> = PerCpuArray::with_max_entries(1, 0);

/// First fragments, for those that follow.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentHead> =
    LruHashMap::with_max_entries(1 << 12, 0);

/// Scratch memory: what the packet at hand is judged by, and a place to put that aside.
#[map]
pub static SUBJECTS: PerCpuArray<Subject> = PerCpuArray::with_max_entries(2, 0);

/// Scratch memory: what the ICMP message at hand is about.
#[map]
pub static RELATED_FLOWS: PerCpuArray<FlowPacket> = PerCpuArray::with_max_entries(1, 0);

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

/// Switch: flows are tracked.
#[unsafe(no_mangle)]
pub static TRACK_FLOWS: Global<u8> = Global::new(0);

/// Switch: there is a policy. Flows are tracked then.
#[unsafe(no_mangle)]
pub static POLICY: Global<u8> = Global::new(0);

/// What tells answers to rejected packets from packets that namespaces send: the loader
/// makes it up.
#[unsafe(no_mangle)]
pub static ANSWER_SECRET: Global<u64> = Global::new(0);

/// Places in `RECENT_FLOWS` for each processor; the loader sets it.
#[unsafe(no_mangle)]
pub static RECENT_PLACES: Global<u32> = Global::new(0);

/// How often what is in `RECENT_FLOWS` is told, in ticks of the kernel; the loader sets it.
#[unsafe(no_mangle)]
pub static TELL_TICKS: Global<u32> = Global::new(0);

/// What a tick of the kernel takes, in nanoseconds; the loader sets it.
#[unsafe(no_mangle)]
pub static TICK_NS: Global<u32> = Global::new(0);

/// Switch: packets of some port pass the bridge by where they can.
#[unsafe(no_mangle)]
pub static FAST_PATHS: Global<u8> = Global::new(0);

/// Switch: packets between bridges pass the host's stack by where they can.
#[unsafe(no_mangle)]
pub static HOST_ROUTES: Global<u8> = Global::new(0);

/// Where a packet's connection is noted, in bytes from its start; 0 if nowhere. The
/// loader sets this and the next ones by what the kernel tells of itself.
#[unsafe(no_mangle)]
pub static NFCT_OFFSET: Global<u32> = Global::new(0);

/// Where a packet's device is told.
#[unsafe(no_mangle)]
pub static DEV_OFFSET: Global<u32> = Global::new(0);

/// Where a device's queueing discipline is told.
#[unsafe(no_mangle)]
pub static QDISC_OFFSET: Global<u32> = Global::new(0);

/// Where a queueing discipline tells how it queues: nowhere, if it does not.
#[unsafe(no_mangle)]
pub static ENQUEUE_OFFSET: Global<u32> = Global::new(0);

/// Where a device's network namespace is told.
#[unsafe(no_mangle)]
pub static NET_OFFSET: Global<u32> = Global::new(0);

/// Where a network namespace tells what netfilter hooks it has, for IPv4 and for IPv6.
#[unsafe(no_mangle)]
pub static HOOKS_V4_OFFSET: Global<u32> = Global::new(0);

/// The same for IPv6.
#[unsafe(no_mangle)]
pub static HOOKS_V6_OFFSET: Global<u32> = Global::new(0);

/// Where a list of netfilter hooks has the first one.
#[unsafe(no_mangle)]
pub static FIRST_HOOK_OFFSET: Global<u32> = Global::new(0);

/// Where it is told of a hook which of several comes first.
#[unsafe(no_mangle)]
pub static PRIORITY_OFFSET: Global<u32> = Global::new(0);

/// For how many ticks of the kernel a path is taken; the loader sets it.
#[unsafe(no_mangle)]
pub static PATH_TICKS: Global<u32> = Global::new(0);

/// For how many ticks a station is where it was seen; the loader sets it.
#[unsafe(no_mangle)]
pub static STATION_TICKS: Global<u32> = Global::new(0);

/// Switch: some pair has no bridge.
#[unsafe(no_mangle)]
pub static DIRECT_LINKS: Global<u8> = Global::new(0);
