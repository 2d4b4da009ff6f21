//! Namespaces of others keep what they have.

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;

use crate::Test;
use crate::engine::{Up, lab};
use crate::world::{Foreign, ip};

pub(crate) const TESTS: &[Test] = &[
    ("guests::a_way_of_their_own_stays", own_way),
    ("guests::a_route_is_not_taken_from_them", taken_route),
    ("guests::a_name_that_they_use_is_refused", taken_name),
    ("guests::one_namespace_under_two_names", twice),
];

const GUEST: &str = "name: guests\nbridges: { br0: { uplink: true, addresses: [10.0.0.254/24] } }\n\
    namespaces:\n  guest:\n    netns: theirs\n    \
    interfaces: { lab0: { bridge: br0, addresses: [10.0.0.1/24] } }\n";

/// A namespace with a link and a default route.
struct Theirs(Foreign);

impl Theirs {
    fn new() -> Self {
        let foreign = Foreign::new("theirs");
        let inside = |arguments: &str| {
            ip(&[&["-netns", "theirs"], &*arguments.split(' ').collect::<Vec<_>>()].concat());
        };
        inside("link add e0 type veth peer name e1");
        inside("address add 192.0.2.2/24 dev e0");
        inside("link set e1 up");
        inside("link set e0 up");
        inside("route add default via 192.0.2.1");
        Self(foreign)
    }

    fn routes(&self) -> String {
        // What the link's carrier adds comes when the kernel has the time.
        ip(&["-netns", self.0.name(), "route"]).replace(" linkdown", "")
    }

    fn links(&self) -> Vec<String> {
        let links = ip(&["-netns", self.0.name(), "-brief", "link"]);
        links.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
    }
}

fn own_way() -> Result<(), Failed> {
    let theirs = Theirs::new();
    let before = theirs.routes();
    let guests = lab(GUEST);
    let up = Up::new(&guests);
    up.converge(&guests, IngressHook::Tc);
    let during = theirs.routes();
    assert_eq!(during.lines().next(), before.lines().next());
    assert!(during.contains("dev lab0"), "{during}");
    assert_eq!(up.converge(&guests, IngressHook::Tc).steps, 0);
    up.down();
    assert_eq!(theirs.routes(), before);
    // One that has no way gets one.
    ip(&["-netns", "theirs", "route", "delete", "default"]);
    let up = Up::new(&guests);
    up.converge(&guests, IngressHook::Tc);
    assert!(theirs.routes().starts_with("default via 10.0.0.254 dev lab0"));
    up.down();
    Ok(())
}

#[track_caller]
fn refused(text: &str, says: &str) {
    let theirs = Theirs::new();
    let everything = || (theirs.routes(), theirs.links());
    let before = everything();
    let refused = lab(text);
    let up = Up::new(&refused);
    let error = up.try_converge(&refused, IngressHook::Tc).expect_err("it is refused").to_string();
    assert!(error.contains(says), "{error}");
    // Nothing had to be undone.
    assert!(!error.contains("undone"), "{error}");
    assert_eq!(everything(), before);
    up.down();
    drop(theirs);
}

fn taken_route() -> Result<(), Failed> {
    refused(
        &format!("{GUEST}    routes: [{{ to: default, via: 10.0.0.254 }}]\n"),
        "namespace guest has a route to 0.0.0.0/0 already",
    );
    Ok(())
}

fn taken_name() -> Result<(), Failed> {
    refused(
        &GUEST.replace("lab0", "e0"),
        "needs the interface name `e0` in namespace guest, but a link of that name exists already",
    );
    Ok(())
}

fn twice() -> Result<(), Failed> {
    refused(
        &format!(
            "{GUEST}  other: {{ netns: theirs, interfaces: {{ lab1: {{ bridge: br0 }} }} }}\n"
        ),
        "namespace other: it is the same as namespace guest",
    );
    Ok(())
}
