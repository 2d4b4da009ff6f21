//! Queues of veth pairs, as iproute2 tells.

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;
use serde_json::Value;

use super::carry::stream;
use super::{LAB, by};
use crate::engine::{Up, lab};
use crate::world::ip_json;

const QUEUES: &str = "
name: queues
bridges: { br0: {}, br1: { namespace: switch } }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, queues: 3, addresses: [10.0.0.1/24] }, eth1: { peer: b/eth1 } } }
  b: { interfaces: { eth0: { bridge: br1 }, eth1: { queues: 64 } } }
";

/// Queues for sending and for receiving of a link.
fn queues(of: &[&str], name: &str) -> [u64; 2] {
    let link = ip_json(&[of, &["-details", "link", "show", name]].concat());
    let number = |key: &str| link[0][key].as_u64().unwrap_or_default();
    [number("num_tx_queues"), number("num_rx_queues")]
}

fn address(namespace: &str) -> Value {
    ip_json(&["-netns", namespace, "address", "show", "eth0"])[0]["addr_info"].clone()
}

pub(super) fn of_pairs() -> Result<(), Failed> {
    let before = lab(QUEUES);
    let up = Up::new(&before);
    let by_peer = by(Way::Peer);
    let all = || {
        let [a, b, switch] = ["a", "b", "switch"].map(|name| ["-netns", name]);
        let links = [(&[][..], "a-eth0"), (&a, "eth0"), (&switch, "b-eth0"), (&b, "eth0")];
        let pair = [(&a[..], "eth1"), (&b, "eth1")];
        let ends = links.into_iter().chain(pair).map(|(of, name)| queues(of, name));
        ends.map(|[sending, receiving]| {
            assert_eq!(sending, receiving);
            sending
        })
        .collect::<Vec<_>>()
    };
    up.converge_with(&before, &by_peer);
    assert_eq!(all(), [3, 3, 1, 1, 64, 64]);
    assert_eq!(up.converge_with(&before, &by_peer).steps, 0);
    // What is on the pair comes back with it.
    let addresses = address("a");
    let more = lab(&QUEUES.replace("queues: 3", "queues: 5").replace("queues: 64", ""));
    up.converge_with(&more, &by_peer);
    assert_eq!(all(), [5, 5, 1, 1, 1, 1]);
    assert_eq!(address("a")[0]["local"], addresses[0]["local"]);
    assert_eq!(up.converge_with(&more, &by_peer).steps, 0);
    up.down();
    Ok(())
}

pub(super) fn carry() -> Result<(), Failed> {
    let lab = lab(&LAB.replace("bridge: br0", "bridge: br0, queues: 4"));
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Xdp));
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..4)
            .flat_map(|_| [("a", "b", "10.0.0.2"), ("b", "a", "fd00::1")])
            .map(|(from, to, address)| scope.spawn(move || stream(from, to, address)))
            .collect();
        for stream in streams {
            stream.join().expect("a stream");
        }
    });
    assert!(up.stats()["a/eth0"].tx.way(Way::Xdp).packets > 1000);
    up.down();
    Ok(())
}
