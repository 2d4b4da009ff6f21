//! Each program alone, on crafted frames (`BPF_PROG_TEST_RUN`): what it
//! returns, what it parsed, what it counted, and that it left the frame alone.

use aya::maps::{MapData, PerCpuArray};
use aya::programs::{Program, ProgramInfo, SchedClassifier, TestRun, TestRunOptions, Xdp};
use std::sync::Mutex;

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use libtest_mimic::Failed;
use nsbpf::datapath::OBJECT;
use nsbpf_common::packet::{Family, Fragment, Headers, Packet, protocol};
use nsbpf_common::stats::{Cell, Class, PortStats};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("programs::tc_ingress_parses_and_counts", || parses_and_counts("tc_ingress")),
    ("programs::tc_egress_parses_and_counts", || parses_and_counts("tc_egress")),
    ("programs::xdp_ingress_parses_and_counts", || parses_and_counts("xdp_ingress")),
    ("programs::an_unknown_interface_is_passed_uncounted", unknown_interface),
    ("programs::what_is_not_counted_is_logged_on_demand", logs_on_demand),
    ("programs::budgets_are_kept", budgets),
];

/// Verified instructions of a program at most.
const INSTRUCTIONS: u32 = 200_000;
/// Time for loading all of them at most: twice the budget, for a busy machine.
const LOAD_MILLISECONDS: u128 = 600;
/// In a test run the packet comes from the loopback interface.
const LOOPBACK: u32 = 1;
/// `TC_ACT_UNSPEC`: the next program decides.
const TC_ACT_UNSPEC: u32 = u32::MAX;
const XDP_PASS: u32 = 2;

fn load(port_base: u32) -> Result<Ebpf, Failed> {
    load_with_log(port_base, 0)
}

fn load_with_log(port_base: u32, log_level: u8) -> Result<Ebpf, Failed> {
    let mut ebpf = EbpfLoader::new()
        .override_global("PORT_BASE", &port_base, true)
        .override_global(aya_log::LEVEL, &log_level, true)
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

/// Runs a program on a frame: its verdict, and the frame as it left it.
fn run(ebpf: &Ebpf, program: &str, frame: &[u8]) -> Result<(u32, Vec<u8>), Failed> {
    let mut out = vec![0; frame.len() + 64];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
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

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    class: Class,
    expect: fn(&Headers),
}

fn ethernet(ethertype: &[u8], rest: &[&[u8]]) -> Vec<u8> {
    let macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&macs, ethertype].into_iter().chain(rest.iter().copied()).flatten().copied().collect()
}

fn ipv4(words_of_options: u8, fragment: [u8; 2], protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45 + words_of_options, 0, 0, 0, 0, 1, fragment[0], fragment[1]];
    header.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend([1, 1, 1, 1].repeat(words_of_options.into()));
    header
}

fn ipv6(next: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    header.extend([0xfd; 32]);
    header
}

fn ports(headers: &Headers) {
    assert_eq!((headers.source_port, headers.destination_port), (1000, 2000), "{headers:?}");
}

fn cases() -> Vec<Case> {
    const IPV4: &[u8] = &[0x08, 0x00];
    const IPV6: &[u8] = &[0x86, 0xdd];
    let udp = [[0x03, 0xe8, 0x07, 0xd0, 0, 40, 0, 0].as_slice(), &[0; 32]].concat();
    let mut tcp = vec![0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];
    tcp.extend([0; 32]);
    let extensions = [
        [43, 0, 0, 0, 0, 0, 0, 0].as_slice(),
        &[60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[17, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    vec![
        Case {
            name: "VLAN-tagged UDP over IPv4",
            frame: ethernet(&[0x81, 0x00, 0x20, 0x07], &[IPV4, &ipv4(0, [0; 2], 17), &udp]),
            class: Class::Ipv4Udp,
            expect: |headers| {
                ports(headers);
                assert_eq!((headers.vlan_tags, headers.vlan_tci), (1, 0x2007));
                assert_eq!(headers.network_offset, 18);
            },
        },
        Case {
            name: "two VLAN tags",
            frame: ethernet(
                &[0x88, 0xa8, 0x00, 0x09, 0x81, 0x00, 0x00, 0x07],
                &[IPV6, &ipv6(6), &tcp],
            ),
            class: Class::Ipv6Tcp,
            expect: |headers| {
                ports(headers);
                assert_eq!((headers.vlan_tags, headers.vlan_tci), (2, 9));
            },
        },
        Case {
            name: "IPv4 with options",
            frame: ethernet(IPV4, &[&ipv4(10, [0; 2], 6), &tcp]),
            class: Class::Ipv4Tcp,
            expect: |headers| {
                ports(headers);
                assert_eq!(headers.transport_offset, 14 + 60);
                assert_eq!(headers.payload_offset, 14 + 60 + 20);
            },
        },
        Case {
            name: "IPv6 with extension headers",
            frame: ethernet(IPV6, &[&ipv6(0), &extensions, &udp]),
            class: Class::Ipv6Udp,
            expect: |headers| {
                ports(headers);
                assert_eq!(headers.transport_offset, 14 + 40 + 32);
            },
        },
        Case {
            name: "a later fragment",
            frame: ethernet(IPV4, &[&ipv4(0, [0x20, 0x01], 17), &udp]),
            class: Class::Ipv4Udp,
            expect: |headers| {
                assert_eq!(headers.fragment(), Fragment::Later);
                assert_eq!((headers.source_port, headers.destination_port), (0, 0));
            },
        },
        Case {
            name: "ARP",
            frame: ethernet(&[0x08, 0x06], &[&[0; 46]]),
            class: Class::Arp,
            expect: |headers| assert_eq!(headers.family(), Family::Arp),
        },
        Case {
            name: "ICMPv6",
            frame: ethernet(IPV6, &[&ipv6(58), &[128; 32]]),
            class: Class::Ipv6Icmp,
            expect: |headers| assert_eq!(headers.protocol, protocol::ICMPV6),
        },
        Case {
            name: "LLC",
            frame: ethernet(&[0x00, 0x26], &[&[0x42; 46]]),
            class: Class::Other,
            expect: |headers| assert_eq!(headers.family(), Family::Other),
        },
        Case {
            name: "IPv4 whose options are cut off",
            frame: ethernet(IPV4, &[&[0x4f], &ipv4(0, [0; 2], 6)[1..]]),
            class: Class::Ipv4Tcp,
            expect: |headers| {
                assert_eq!(headers.transport_offset, 14 + 60);
                assert_eq!((headers.source_port, headers.destination_port), (0, 0));
            },
        },
    ]
}

fn parses_and_counts(program: &str) -> Result<(), Failed> {
    pin_to_one_cpu()?;
    let mut ebpf = load(LOOPBACK)?;
    for Case { name, frame, class, expect } in cases() {
        let before = port_stats(&mut ebpf)?;
        let (verdict, out) = run(&ebpf, program, &frame)?;
        let passed = if program.starts_with("xdp") { XDP_PASS } else { TC_ACT_UNSPEC };
        assert_eq!(verdict, passed, "{name}");
        assert_eq!(out, frame, "{name}: the frame was changed");
        let headers = parsed(&mut ebpf)?;
        expect(&headers);
        // The same code in user space reads the same.
        let mut here = Headers::EMPTY;
        here.parse(frame.as_slice());
        assert_eq!(headers, here, "{name}");
        let after = port_stats(&mut ebpf)?;
        let (before, after) = match program {
            "tc_egress" => (before.rx, after.rx),
            _ => (before.tx, after.tx),
        };
        let bytes = frame.as_slice().frame_bytes().into();
        let mut expected = before;
        expected.count(class, Cell { packets: 1, bytes });
        assert_eq!(after, expected, "{name}");
    }
    Ok(())
}

fn unknown_interface() -> Result<(), Failed> {
    let mut ebpf = load(LOOPBACK + 1)?;
    for (program, verdict) in
        [("tc_ingress", TC_ACT_UNSPEC), ("tc_egress", TC_ACT_UNSPEC), ("xdp_ingress", XDP_PASS)]
    {
        let frame = ethernet(&[0x08, 0x06], &[&[0; 46]]);
        assert_eq!(run(&ebpf, program, &frame)?, (verdict, frame));
    }
    assert_eq!(port_stats(&mut ebpf)?, PortStats::default());
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
        let mut ebpf = load_with_log(port_base, level)?;
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

fn budgets() -> Result<(), Failed> {
    let start = std::time::Instant::now();
    let ebpf = load(LOOPBACK)?;
    let took = start.elapsed().as_millis();
    assert!(took < LOAD_MILLISECONDS || is_emulated(), "loading took {took} ms");
    for (name, program) in ebpf.programs() {
        let info = match program {
            Program::SchedClassifier(program) => SchedClassifier::info(program)?,
            Program::Xdp(program) => Xdp::info(program)?,
            other => panic!("a program of kind {:?}", other.prog_type()),
        };
        let Some(count) = ProgramInfo::verified_instruction_count(&info) else {
            println!("{name}: this kernel, older than 5.16, does not tell");
            continue;
        };
        println!("{name}: {count} verified instructions");
        assert!(count <= INSTRUCTIONS, "{name}: {count} verified instructions");
    }
    Ok(())
}

/// Whether the processor is one of qemu's, whose time is not to be compared.
fn is_emulated() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|about| about.contains("QEMU TCG CPU"))
}

/// Scratch memory is a CPU's own.
fn pin_to_one_cpu() -> Result<(), Failed> {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(0);
    rustix::thread::sched_setaffinity(None, &cpus)?;
    Ok(())
}

fn parsed(ebpf: &mut Ebpf) -> Result<Headers, Failed> {
    let map = ebpf.map_mut("PARSED_HEADERS").expect("PARSED_HEADERS");
    let map: PerCpuArray<&mut MapData, Headers> = map.try_into()?;
    Ok(map.get(&0, 0)?[0])
}

fn port_stats(ebpf: &mut Ebpf) -> Result<PortStats, Failed> {
    let map = ebpf.map_mut("PORT_STATS").expect("PORT_STATS");
    let map: PerCpuArray<&mut MapData, PortStats> = map.try_into()?;
    let mut sum = PortStats::default();
    for value in map.get(&0, 0)?.iter() {
        sum += *value;
    }
    Ok(sum)
}
