//! Each program alone, on crafted frames (`BPF_PROG_TEST_RUN`): what it
//! returns, what it parsed, what it counted, and that it left the frame alone.

mod budgets;
mod frames;

use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues};
use aya::programs::{Program, TestRun, TestRunOptions};
use std::sync::Mutex;

use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use libtest_mimic::Failed;
use nsbpf::datapath::OBJECT;
use nsbpf_common::guard::{self, OwnAddress};
use nsbpf_common::packet::Headers;
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::port::PortConfig;
use nsbpf_common::sight::{Seen, Sight};
use nsbpf_common::stats::{Cell, Class, Direction, PortStats, Size};
use nsbpf_common::verdict::Reason;
use nsbpf_common::weight::Weight;

use crate::Test;
use frames::{Frame, ethernet, frames, ipv4, ipv6};

pub(crate) const TESTS: &[Test] = &[
    ("programs::tc_ingress_counts", || counts("tc_ingress")),
    ("programs::tc_egress_counts", || counts("tc_egress")),
    ("programs::xdp_ingress_counts", || counts("xdp_ingress")),
    ("programs::tc_ingress_guards", || guards("tc_ingress")),
    ("programs::xdp_ingress_guards", || guards("xdp_ingress")),
    ("programs::direct_links_are_told_by_the_device", direct_links_are_told_by_the_device),
    ("programs::pairs_are_counted_and_misses_too", pairs_are_counted_and_misses_too),
    ("programs::segments_are_counted", segments_are_counted),
    ("programs::an_unknown_interface_is_passed_uncounted", unknown_interface),
    ("programs::what_is_not_counted_is_logged_on_demand", logs_on_demand),
    ("programs::budgets_are_kept", budgets::instructions),
    ("programs::budgets_of_stack_are_kept", budgets::stack),
];

/// In a test run the packet comes from the loopback interface.
const LOOPBACK: u32 = 1;
/// `TC_ACT_UNSPEC`: the next program decides.
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_SHOT: u32 = 2;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
/// Ports that the maps have room for.
const PORTS: u16 = 2;
/// Flows, paths and stations that they have room for.
const FLOWS: u32 = 1 << 10;
/// Where fields of the kernel's structures are.
pub(crate) const KERNEL_OFFSETS: [&str; 9] = [
    "NFCT_OFFSET",
    "DEV_OFFSET",
    "QDISC_OFFSET",
    "ENQUEUE_OFFSET",
    "NET_OFFSET",
    "HOOKS_V4_OFFSET",
    "HOOKS_V6_OFFSET",
    "FIRST_HOOK_OFFSET",
    "PRIORITY_OFFSET",
];
/// For how long paths and stations are known: as long as a test runs.
const TICKS: u32 = 1 << 20;

/// How the programs are loaded.
#[expect(clippy::struct_excessive_bools, reason = "each is a global of the kernel half")]
struct Switches {
    port_base: u32,
    log_level: u8,
    guard: bool,
    direct_links: bool,
    fast_paths: bool,
    host_routes: bool,
    flows: bool,
    policy: bool,
    /// A lab whose matrix is not a table.
    large: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            port_base: LOOPBACK,
            log_level: 0,
            guard: false,
            direct_links: false,
            fast_paths: false,
            host_routes: false,
            flows: false,
            policy: false,
            large: false,
        }
    }
}

fn load(switches: &Switches) -> Result<Ebpf, Failed> {
    let Switches {
        port_base,
        log_level,
        guard,
        direct_links,
        fast_paths,
        host_routes,
        flows,
        policy,
        large,
    } = switches;
    let [guard, direct_links, fast_paths, host_routes, flows, policy] =
        [guard, direct_links, fast_paths, host_routes, flows, policy].map(|on| u8::from(*on));
    let table_ports = if *large { 0 } else { PORTS };
    // Where the kernel tells what routes are not learned past: to the verifier any place is
    // as good.
    let offset = if host_routes == 0 { 0_u32 } else { 64 };
    let mut loader = EbpfLoader::new();
    for of in KERNEL_OFFSETS {
        loader.override_global(of, &offset, true);
    }
    let mut ebpf = loader
        .override_global("PORT_BASE", port_base, true)
        .override_global("GUARD", &guard, true)
        .override_global("DIRECT_LINKS", &direct_links, true)
        .override_global("FAST_PATHS", &fast_paths, true)
        .override_global("HOST_ROUTES", &host_routes, true)
        .override_global("TRACK_FLOWS", &flows, true)
        .override_global("POLICY", &policy, true)
        .override_global("PATH_TICKS", &TICKS, true)
        .override_global("STATION_TICKS", &TICKS, true)
        .override_global("PAIR_TABLE_PORTS", &table_ports, true)
        .override_global(aya_log::LEVEL, log_level, true)
        .map_max_entries("PORT_STATS", PORTS.into())
        .map_max_entries("PORT_CONFIGS", PORTS.into())
        .map_max_entries("FLOWS", FLOWS)
        .map_max_entries("NEW_FLOWS", FLOWS)
        .map_max_entries("LEARNED_PATHS", FLOWS)
        .map_max_entries("STATIONS", FLOWS)
        .map_max_entries("ROUTES", FLOWS)
        .map_max_entries("DEVICES", PORTS.into())
        .map_max_entries("PAIR_TABLE", Pair::table_length(PORTS))
        .load(OBJECT)?;
    for (_, program) in ebpf.programs_mut() {
        match program {
            Program::SchedClassifier(program) => program.load()?,
            Program::Xdp(program) => program.load()?,
            other => panic!("a program of kind {:?}", other.prog_type()),
        }
    }
    Ok(ebpf)
}

fn passed(program: &str) -> u32 {
    if program.starts_with("xdp") { XDP_PASS } else { TC_ACT_UNSPEC }
}

fn dropped(program: &str) -> u32 {
    if program.starts_with("xdp") { XDP_DROP } else { TC_ACT_SHOT }
}

/// Runs a program on a frame: its verdict, and the frame as it left it.
fn run(ebpf: &Ebpf, program: &str, frame: &[u8]) -> Result<(u32, Vec<u8>), Failed> {
    run_in(ebpf, program, frame, None)
}

fn run_in(
    ebpf: &Ebpf,
    program: &str,
    frame: &[u8],
    context: Option<&[u8]>,
) -> Result<(u32, Vec<u8>), Failed> {
    let mut out = vec![0; frame.len() + 64];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.ctx_in = context;
    options.data_out = Some(&mut out);
    let program = ebpf.program(program).expect(program);
    let result = match program {
        Program::SchedClassifier(program) => program.test_run(options),
        Program::Xdp(program) => program.test_run(options),
        other => panic!("a program of kind {:?}", other.prog_type()),
    };
    let result = result.map_err(|error| format!("{error:?}"))?;
    let length = result.data_size_out as usize;
    out.truncate(length);
    Ok((result.return_value, out))
}

/// Every frame, cut off at every byte: the programs count what the parser of
/// unit tests says that it is, and leave it alone.
fn counts(program: &str) -> Result<(), Failed> {
    pin_to_one_cpu()?;
    let mut ebpf = load(&Switches::default())?;
    for frame in frames() {
        for bytes in frame.prefixes(program) {
            let what = format!("{}, {} bytes", frame.name, bytes.len());
            let before = port_stats(&mut ebpf, 0)?;
            let (verdict, out) = run(&ebpf, program, bytes)?;
            assert_eq!(verdict, passed(program), "{what}");
            assert_eq!(out, bytes, "{what}: the frame was changed");
            let after = port_stats(&mut ebpf, 0)?;
            let [before, after] = [before, after].map(|stats| match program {
                "tc_egress" => stats.rx,
                _ => stats.tx,
            });
            let mut headers = Headers::EMPTY;
            headers.parse(bytes);
            let Sight { class, cast } = Sight::of(&headers);
            let mut expected = before;
            expected.count(class as usize, cast, &Weight::of_one(bytes));
            assert!(after.last_seen_ns > 0, "{what}");
            assert_eq!(without_time(after), without_time(expected), "{what}");
        }
    }
    Ok(())
}

/// When a packet was seen depends on when the test ran.
fn without_time(mut direction: Direction) -> Direction {
    direction.see(u64::MAX, || 0);
    direction
}

/// On a guarded port every frame is parsed, and judged as unit tests judge it.
fn guards(program: &str) -> Result<(), Failed> {
    pin_to_one_cpu()?;
    let mut ebpf = load(&Switches { guard: true, ..Switches::default() })?;
    let config = PortConfig::new([2, 0, 0, 0, 0, 2]).guarded(true);
    set_config(&mut ebpf, 0, config)?;
    let own = [OwnAddress::v4(0, [10, 0, 0, 1]), OwnAddress::v6(0, [0xfd; 16])];
    let map = ebpf.map_mut("OWN_ADDRESSES").expect("OWN_ADDRESSES");
    let mut map: HashMap<_, OwnAddress, u8> = map.try_into()?;
    for address in own {
        map.insert(address, 1, 0)?;
    }
    let mut judged = std::collections::BTreeMap::<_, usize>::new();
    for frame in frames().into_iter().chain(spoofed()) {
        for bytes in frame.prefixes(program) {
            let what = format!("{}, {} bytes", frame.name, bytes.len());
            let before = port_stats(&mut ebpf, 0)?.tx;
            let (verdict, out) = run(&ebpf, program, bytes)?;
            assert_eq!(out, bytes, "{what}: the frame was changed");
            let mut headers = Headers::EMPTY;
            headers.parse_network(bytes);
            let judgement = guard::judge_mac(bytes, &config).and_then(|()| {
                let owns = |address: &_| own.contains(address);
                guard::judge_addresses(bytes, &headers, 0, &config, owns)
            });
            if judgement != Err(Reason::SpoofedMac) {
                assert_eq!(parsed(&mut ebpf)?, headers, "{what}");
            }
            let after = port_stats(&mut ebpf, 0)?.tx;
            assert_eq!(after.total().packets, before.total().packets + 1, "{what}");
            for reason in Reason::ALL {
                let dropped = u64::from(judgement == Err(reason));
                let [before, after] = [before, after].map(|stats| stats.drops(reason).packets);
                assert_eq!(after, before + dropped, "{what}: {}", reason.name());
            }
            let expected = if judgement.is_ok() { passed(program) } else { dropped(program) };
            assert_eq!(verdict, expected, "{what}: {judgement:?}");
            *judged.entry(judgement.err().map(Reason::name)).or_default() += 1;
        }
    }
    // Each outcome was met.
    assert!(judged.contains_key(&None));
    assert!(SPOOFED.iter().all(|reason| judged.contains_key(&Some(reason.name()))), "{judged:?}");
    assert_eq!(judged.len(), 1 + SPOOFED.len(), "{judged:?}");
    Ok(())
}

/// What a guard drops for.
const SPOOFED: [Reason; 4] =
    [Reason::SpoofedMac, Reason::SpoofedAddress, Reason::SpoofedArp, Reason::SpoofedNeighbour];

fn spoofed() -> Vec<Frame> {
    let mut other_mac = ethernet(&[8, 0], &[&ipv4(0, [0; 2], 17), &[0; 8]]);
    other_mac[11] = 9;
    let mut other_address = ethernet(&[8, 0], &[&ipv4(0, [0; 2], 17), &[0; 8]]);
    other_address[14 + 15] = 9;
    let arp = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 2, 10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let advertisement = [[136, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[0xfe; 16]].concat();
    vec![
        Frame { name: "from another's MAC address", bytes: other_mac },
        Frame { name: "from another's IPv4 address", bytes: other_address },
        Frame { name: "ARP of another's address", bytes: ethernet(&[8, 6], &[&arp]) },
        Frame {
            name: "a neighbour advertisement of another's address",
            bytes: ethernet(&[0x86, 0xdd], &[&ipv6(58), &advertisement]),
        },
    ]
}

/// A pair without a bridge: what comes in by the device has left the one namespace
/// and entered the other.
fn direct_links_are_told_by_the_device() -> Result<(), Failed> {
    let mut ebpf = load(&Switches { direct_links: true, ..Switches::default() })?;
    set_config(&mut ebpf, 0, PortConfig::new([0; 6]).direct(1))?;
    set_config(&mut ebpf, 1, PortConfig::new([0; 6]).direct(0))?;
    let frame = ethernet(&[8, 0], &[&ipv4(0, [0; 2], 17), &[0; 40]]);
    let bytes = frame.len() as u64;
    for program in ["tc_ingress", "xdp_ingress"] {
        run(&ebpf, program, &frame)?;
    }
    let cell = |packets| Cell { packets, bytes: packets * bytes };
    let [here, there] = [port_stats(&mut ebpf, 0)?, port_stats(&mut ebpf, 1)?];
    assert_eq!((here.tx.total(), here.rx.total()), (cell(2), cell(0)));
    assert_eq!((there.tx.total(), there.rx.total()), (cell(0), cell(2)));
    assert_eq!(pair(&mut ebpf, Pair { from: 0, to: 1 })?, cell(2));
    Ok(())
}

/// The matrix in both shapes, and what has no room in the one of large labs.
fn pairs_are_counted_and_misses_too() -> Result<(), Failed> {
    let frame = ethernet(&[8, 0], &[&ipv4(0, [0; 2], 17), &[0; 40]]);
    let cell = Cell { packets: 1, bytes: frame.len() as u64 };
    let mut table = load(&Switches::default())?;
    run(&table, "tc_egress", &frame)?;
    assert_eq!(pair(&mut table, Pair { from: OUTSIDE, to: 0 })?, cell);
    let mut large = load(&Switches { large: true, ..Switches::default() })?;
    // The one entry that there is room for is another pair's.
    let map = large.map_mut("PAIR_CELLS").expect("PAIR_CELLS");
    let mut map: PerCpuHashMap<_, Pair, Cell> = map.try_into()?;
    let zeros = PerCpuValues::try_from(vec![Cell::default(); nr_cpus().map_err(|(_, e)| e)?])?;
    let other = Pair { from: 7, to: 7 };
    map.insert(other, zeros, 0)?;
    run(&large, "tc_egress", &frame)?;
    let map = large.map_mut("PAIRS_MISSED").expect("PAIRS_MISSED");
    let map: PerCpuArray<&mut MapData, Cell> = map.try_into()?;
    assert_eq!(map.get(&0, 0)?.iter().map(|cell| cell.packets).sum::<u64>(), 1);
    let map = large.map_mut("PAIR_CELLS").expect("PAIR_CELLS");
    let mut map: PerCpuHashMap<_, Pair, Cell> = map.try_into()?;
    map.remove(&other)?;
    run(&large, "tc_egress", &frame)?;
    run(&large, "tc_egress", &frame)?;
    let map = large.map_mut("PAIR_CELLS").expect("PAIR_CELLS");
    let map: PerCpuHashMap<_, Pair, Cell> = map.try_into()?;
    let values = map.get(&Pair { from: OUTSIDE, to: 0 }, 0)?;
    assert_eq!(values.iter().map(|cell| cell.packets).sum::<u64>(), 2);
    Ok(())
}

/// What a GSO packet is cut into is what is counted (`gso_size` and `gso_segs` of
/// the context that a test run takes).
fn segments_are_counted() -> Result<(), Failed> {
    /// Of `struct __sk_buff`: its size, and where the two are.
    const CONTEXT_BYTES: usize = 192;
    const GSO_SEGS: usize = 164;
    const GSO_SIZE: usize = 176;
    let mut tcp = vec![0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 16, 0, 0, 0, 0, 0, 0];
    tcp.extend([1; 12]);
    let frame = ethernet(&[8, 0], &[&ipv4(0, [0; 2], 6), &tcp, &[0; 2510]]);
    let headers = 14 + 20 + 32_u64;
    for segments in [3_u32, 0] {
        for program in ["tc_ingress", "tc_egress"] {
            let mut ebpf = load(&Switches::default())?;
            let mut context = [0_u8; CONTEXT_BYTES];
            context[GSO_SEGS..][..4].copy_from_slice(&segments.to_ne_bytes());
            context[GSO_SIZE..][..4].copy_from_slice(&1000_u32.to_ne_bytes());
            run_in(&ebpf, program, &frame, Some(&context))?;
            let stats = port_stats(&mut ebpf, 0)?;
            let direction = if program == "tc_egress" { stats.rx } else { stats.tx };
            let bytes = 3 * headers + 2510;
            assert_eq!(direction[Class::Ipv4Tcp], Cell { packets: 3, bytes }, "{program}");
            assert_eq!(direction.size(Size::UpTo1518), 2);
            assert_eq!(direction.size(Size::UpTo1023), 1);
        }
    }
    Ok(())
}

fn unknown_interface() -> Result<(), Failed> {
    let mut ebpf = load(&Switches { port_base: LOOPBACK + 1, ..Switches::default() })?;
    for program in ["tc_ingress", "tc_egress", "xdp_ingress"] {
        let frame = ethernet(&[0x08, 0x06], &[&[0; 46]]);
        assert_eq!(run(&ebpf, program, &frame)?, (passed(program), frame));
    }
    assert_eq!(port_stats(&mut ebpf, 0)?, PortStats::default());
    Ok(())
}

/// Keeps what is logged.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl log::Log for &Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

fn logs_on_demand() -> Result<(), Failed> {
    let debug = aya_log::Level::Debug as u8;
    let frame = ethernet(&[0x08, 0x06], &[&[0; 46]]);
    for (level, port_base, logs) in
        [(debug, LOOPBACK + 1, 3), (debug, LOOPBACK, 0), (0, LOOPBACK + 1, 0)]
    {
        let mut ebpf = load(&Switches { port_base, log_level: level, ..Switches::default() })?;
        let kept = Kept::default();
        let kept: &'static Kept = Box::leak(Box::new(kept));
        let mut logger = EbpfLogger::init_with_logger(&mut ebpf, kept)?;
        for program in ["tc_ingress", "tc_egress", "xdp_ingress"] {
            run(&ebpf, program, &frame)?;
        }
        logger.flush();
        let lines = kept.0.lock().unwrap();
        assert_eq!(lines.len(), logs, "{lines:?}");
        for line in lines.iter() {
            assert!(line.starts_with("DEBUG nsbpf_ebpf::"), "{line}");
            assert!(line.ends_with("interface 1 is no port: passed uncounted"), "{line}");
        }
    }
    Ok(())
}

/// Scratch memory is a CPU's own.
fn pin_to_one_cpu() -> Result<(), Failed> {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(0);
    rustix::thread::sched_setaffinity(None, &cpus)?;
    Ok(())
}

fn parsed(ebpf: &mut Ebpf) -> Result<Headers, Failed> {
    let map = ebpf.map_mut("SEEN_PACKETS").expect("SEEN_PACKETS");
    let map: PerCpuArray<&mut MapData, Seen> = map.try_into()?;
    Ok(map.get(&0, 0)?[0].headers)
}

fn port_stats(ebpf: &mut Ebpf, port: u32) -> Result<PortStats, Failed> {
    let map = ebpf.map_mut("PORT_STATS").expect("PORT_STATS");
    let map: PerCpuArray<&mut MapData, PortStats> = map.try_into()?;
    let mut sum = PortStats::default();
    for value in map.get(&port, 0)?.iter() {
        sum += *value;
    }
    Ok(sum)
}

fn set_config(ebpf: &mut Ebpf, port: u32, config: PortConfig) -> Result<(), Failed> {
    let map = ebpf.map_mut("PORT_CONFIGS").expect("PORT_CONFIGS");
    let mut map: Array<_, PortConfig> = map.try_into()?;
    map.set(port, config, 0)?;
    Ok(())
}

fn pair(ebpf: &mut Ebpf, pair: Pair) -> Result<Cell, Failed> {
    let map = ebpf.map_mut("PAIR_TABLE").expect("PAIR_TABLE");
    let map: PerCpuArray<&mut MapData, Cell> = map.try_into()?;
    let mut sum = Cell::default();
    for value in map.get(&pair.index(PORTS), 0)?.iter() {
        sum += *value;
    }
    Ok(sum)
}
