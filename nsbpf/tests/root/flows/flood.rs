//! Who sends to many evicts nobody's connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

use libtest_mimic::Failed;
use nsbpf::datapath::FlowsReader;
use nsbpf::state::IngressHook;
use serde_json::Value;

use super::{PATIENCE, ground, listed, sum, told};
use crate::truth::Wire;
use crate::world::{ip_json, netns, udp};

const CONNECTIONS: usize = 1_000;
const FLOOD: u32 = 110_000;

pub(super) fn evicts_nobody() -> Result<(), Failed> {
    let ground = ground(IngressHook::Tc);
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
        let flows = listed(&["--port", &port, "--proto", "udp"]);
        flows.iter().map(identity).collect()
    };
    let before = connections();
    assert_eq!(before.len(), CONNECTIONS);
    for protocol in [6, 17] {
        flood(&ground, protocol)?;
        assert_eq!(connections(), before, "protocol {protocol}");
    }
    let report = told(&["--limit", "0"]);
    let number = |what: &Value| what.as_u64().expect("a number");
    let are_there = number(&report["there"]["settled"]) + number(&report["there"]["new"]);
    assert_eq!(number(&report["gone"]), number(&report["begun"]) - are_there);
    assert!(number(&report["gone"]) > u64::from(FLOOD), "{report}");
    assert!(number(&report["there"]["new"]) <= number(&report["room"]["new"]), "{report}");
    assert_eq!(number(&report["failed_packets"]), 0);
    drop((a, there));
    ground.down();
    Ok(())
}

fn identity(flow: &Value) -> String {
    let (sent, received) = (sum(&flow["sent"]), sum(&flow["received"]));
    assert_eq!((sent.0, received.0, &flow["settled"]), (1, 1, &Value::Bool(true)), "{flow:#}");
    format!("{} {sent:?} {received:?}", flow["from"]["port"])
}

/// Packets from as many ports as there are, twice, to an address that nobody has.
fn flood(ground: &crate::truth::Ground, protocol: u8) -> Result<(), Failed> {
    const PORTS: u32 = 60_000;
    let reader = FlowsReader::open(&ground.up.store)?;
    let begun = reader.events()?.begun;
    let mac = |namespace| -> Vec<u8> {
        let link = ip_json(&["-netns", namespace, "link", "show", "eth0"]);
        let mac = link[0]["address"].as_str().expect("a MAC address");
        mac.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
    };
    let wire = netns("a").run(Wire::new)??;
    let length = if protocol == 6 { 40 } else { 28 };
    let mut frame = [mac("b"), mac("a"), vec![8, 0, 0x45, 0, 0, length, 0, 0, 0, 0, 64]].concat();
    frame.extend([protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 99]);
    frame.resize(60, 0);
    // The flags of a SYN; of a datagram, behind its end.
    frame[47] = 2;
    for number in 0..FLOOD {
        frame[34..36].copy_from_slice(&((number % PORTS) as u16 + 1).to_be_bytes());
        frame[36..38].copy_from_slice(&((number / PORTS) as u16 + 1).to_be_bytes());
        wire.send(&frame)?;
    }
    let deadline = Instant::now() + PATIENCE;
    // Others (listener reports) begin flows too.
    while reader.events()?.begun - begun < u64::from(FLOOD) {
        assert!(Instant::now() < deadline, "{} of {FLOOD} began", reader.events()?.begun - begun);
    }
    Ok(())
}
