//! Who sends to many evicts nobody's connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::time::Instant;

use libtest_mimic::Failed;
use nsbpf::datapath::FlowsReader;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::flow::tcp_flag;
use nsbpf_common::packet::protocol;
use serde_json::Value;

use super::{LAB, PATIENCE, listed, sum, told};
use crate::engine::settings;
use crate::truth::{Ground, Wire};
use crate::world::{ip_json, netns, udp};

const CONNECTIONS: usize = 1_000;
const FLOOD: u32 = 110_000;
const PORTS: u32 = 60_000;
/// Where somebody accepts connections.
const LISTENED: u16 = 65_000;
const TCP: u8 = protocol::TCP;

pub(super) fn evicts_nobody() -> Result<(), Failed> {
    // Room for fewer than come.
    let ground = Ground::with(LAB, &Settings { flows: 1 << 15, ..settings(IngressHook::Tc) });
    let there = udp(&netns("b"), IpAddr::from([10, 0, 0, 2]));
    there.set_read_timeout(Some(PATIENCE))?;
    let a = netns("a");
    for port in (20_000..).take(CONNECTIONS) {
        let here = a.run(|| UdpSocket::bind((Ipv4Addr::new(10, 0, 0, 1), port)))??;
        here.set_read_timeout(Some(PATIENCE))?;
        here.send_to(&[0x6e; 100], there.local_addr()?)?;
        there.recv(&mut [0; 200])?;
        there.send_to(&[0x6e; 10], here.local_addr()?)?;
        here.recv(&mut [0; 200])?;
    }
    let port = there.local_addr()?.port().to_string();
    let connections = || -> BTreeSet<String> {
        let flows = listed(&["--port", &port, "--proto", "udp", "--host", "10.0.0.2"]);
        flows.iter().map(identity).collect()
    };
    let before = connections();
    assert_eq!(before.len(), CONNECTIONS);
    let b = netns("b");
    let listener = b.run(|| TcpListener::bind((Ipv4Addr::new(10, 0, 0, 2), LISTENED)))??;
    for (what, protocol, last) in
        [("unanswered", TCP, 99), ("refused", TCP, 2), ("datagrams", protocol::UDP, 99)]
    {
        flood(&ground, protocol, last, None)?;
        assert_eq!(connections(), before, "{what}");
    }
    // Each is agreed to, and broken off by who knows nothing of it.
    flood(&ground, TCP, 2, Some(LISTENED))?;
    assert_eq!(connections(), before, "half open");
    let report = told(&["--limit", "0"]);
    let number = |what: &Value| what.as_u64().expect("a number");
    let are_there = number(&report["there"]["settled"]) + number(&report["there"]["new"]);
    assert_eq!(number(&report["gone"]), number(&report["begun"]) - are_there);
    assert!(number(&report["gone"]) > 2 * u64::from(FLOOD), "{report}");
    assert!(number(&report["there"]["new"]) <= number(&report["room"]["new"]), "{report}");
    assert_eq!(number(&report["failed_packets"]), 0);
    drop((a, b, there, listener));
    ground.down();
    Ok(())
}

fn identity(flow: &Value) -> String {
    let (sent, received) = (sum(&flow["sent"]), sum(&flow["received"]));
    assert_eq!((sent.0, received.0, &flow["settled"]), (1, 1, &Value::Bool(true)), "{flow:#}");
    format!("{} {sent:?} {received:?}", flow["from"]["port"])
}

/// Packets from as many ports as there are to one port, or to two.
fn flood(ground: &Ground, protocol: u8, last: u8, to: Option<u16>) -> Result<(), Failed> {
    let reader = FlowsReader::open(&ground.up.store)?;
    let begun = reader.events()?.begun;
    let wire = netns("a").run(Wire::new)??;
    let mut frame = packet(protocol, last);
    let count = if to.is_some() { PORTS } else { FLOOD };
    for number in 0..count {
        let to = to.unwrap_or((number / PORTS) as u16 + 1);
        frame[34..36].copy_from_slice(&((number % PORTS) as u16 + 1).to_be_bytes());
        frame[36..38].copy_from_slice(&to.to_be_bytes());
        if protocol == TCP {
            frame[50..52].fill(0);
            let pseudo_header = [&frame[26..34], &[0, TCP, 0, 20]].concat();
            let sum = checksum(&[&pseudo_header, &frame[34..54]].concat());
            frame[50..52].copy_from_slice(&sum.to_be_bytes());
        }
        wire.send(&frame)?;
    }
    let deadline = Instant::now() + PATIENCE;
    // A busy machine may drop some before they are counted.
    while reader.events()?.begun - begun < u64::from(count) * 9 / 10 {
        assert!(Instant::now() < deadline, "{} of {count} began", reader.events()?.begun - begun);
    }
    Ok(())
}

/// A SYN or a datagram, from a to an address behind b.
fn packet(protocol: u8, last: u8) -> Vec<u8> {
    let mac = |namespace| -> Vec<u8> {
        let link = ip_json(&["-netns", namespace, "link", "show", "eth0"]);
        let mac = link[0]["address"].as_str().expect("a MAC address");
        mac.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
    };
    let length = if protocol == TCP { 40 } else { 28 };
    let mut frame = [mac("b"), mac("a"), vec![8, 0, 0x45, 0, 0, length, 0, 0, 0, 0, 64]].concat();
    frame.extend([protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, last]);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.resize(60, 0);
    if protocol == TCP {
        (frame[46], frame[47]) = (0x50, tcp_flag::SYN);
    } else {
        frame[39] = 8;
    }
    frame
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
