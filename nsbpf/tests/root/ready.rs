//! What is up works at once, however much came up together.

use std::fmt::Write as _;

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;

use crate::Test;
use crate::engine::{Up, lab};
use crate::world::ip_json;

pub(crate) const TESTS: &[Test] = &[("ready::every_interface_is_ready_when_up_is_done", all_ready)];

/// Left to itself the kernel readies a hundred interfaces a second.
fn all_ready() -> Result<(), Failed> {
    const LAST: usize = 250;
    let mut source = "name: ready\nbridges: { br0: {} }\nnamespaces:\n".to_owned();
    for number in 1..=LAST {
        writeln!(
            source,
            "  n{number}: {{ interfaces: {{ eth0: {{ bridge: br0, addresses: [\"fd00::{number:x}/64\"] }} }} }}"
        )?;
    }
    let lab = lab(&source);
    let up = Up::new(&lab);
    up.converge(&lab, IngressHook::Tc);
    let ports = ip_json(&["-details", "link", "show", "master", "br0"]);
    let forwarding = ports.as_array().expect("links").iter().filter(|port| {
        port["operstate"] == "UP" && port["linkinfo"]["info_slave_data"]["state"] == "forwarding"
    });
    assert_eq!(forwarding.count(), LAST, "ports that forward");
    // In a list: who asks for one link makes it ready.
    let ready = (1..=LAST).filter(|number| {
        let links = ip_json(&["-netns", &format!("n{number}"), "link", "show"]);
        let mut links = links.as_array().expect("links").iter();
        links.any(|link| link["ifname"] == "eth0" && link["operstate"] == "UP")
    });
    assert_eq!(ready.count(), LAST, "interfaces that are ready");
    up.down();
    Ok(())
}
