//! Forwarding on the host: who turned it on, and what comes back.
//!
//! The test's own namespace is the host.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::lab::Name;
use nsbpf::net::host_forwarding::{Families, enable, enabled, release};
use nsbpf::store::{LabLock, Store};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Test;
use crate::world::{ip, netns};

pub(crate) const TESTS: &[Test] = &[
    ("forwarding::labs_share_it", shared),
    ("forwarding::only_what_is_needed", only_needed),
    ("forwarding::side_effects_are_put_back", side_effects),
    ("forwarding::routers_are_heard", router),
    ("forwarding::what_others_set_stays", others),
    ("forwarding::an_enable_cut_short", enable_cut_short),
    ("forwarding::a_release_cut_short", release_cut_short),
    ("forwarding::a_note_cut_short", note_cut_short),
];

const V4: &str = "ipv4/ip_forward";
const V6: &str = "ipv6/conf/all/forwarding";
const BOTH: Families = Families { ipv4: true, ipv6: true };
const ONLY_V4: Families = Families { ipv4: true, ipv6: false };
const ONLY_V6: Families = Families { ipv4: false, ipv6: true };
const NOTE: &str = "/run/nsbpf/forwarding";

#[track_caller]
pub(crate) fn write(switch: &str, value: &str) {
    let path = Path::new("/proc/sys/net").join(switch);
    fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[track_caller]
fn read(switch: &str) -> String {
    let path = Path::new("/proc/sys/net").join(switch);
    let text = fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// IPv4's switch and IPv6's.
#[track_caller]
fn switches() -> [String; 2] {
    [V4, V6].map(read)
}

/// A lab that does nothing but forward.
struct Lab {
    store: Store,
    lock: LabLock,
}

impl Lab {
    fn new(name: &str) -> Self {
        let store = Store::new(&Name::new(name).unwrap());
        let lock = store.lock().unwrap();
        Self { store, lock }
    }

    /// Nothing may be left: the leak check looks for the folder.
    fn end(self) {
        self.lock.retire();
    }
}

/// All that is there below `/proc/sys/net`.
fn everything() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for conf in ["ipv4/conf", "ipv6/conf"] {
        let mut interfaces: Vec<_> = fs::read_dir(Path::new("/proc/sys/net").join(conf))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        interfaces.sort();
        for interface in interfaces {
            for name in ["forwarding", "accept_redirects", "accept_ra"] {
                let file = format!("{conf}/{interface}/{name}");
                if Path::new("/proc/sys/net").join(&file).exists() {
                    let value = read(&file);
                    all.push((file, value));
                }
            }
        }
    }
    all
}

fn shared() -> Result<(), Failed> {
    let [one, two] = ["one", "two"].map(Lab::new);
    assert_eq!(switches(), ["0", "0"], "a new namespace does not forward");
    let before = everything();
    for _ in 0..2 {
        enable(&one.store, BOTH)?;
        assert_eq!(switches(), ["1", "1"]);
    }
    assert_eq!((enabled(&one.store)?, enabled(&two.store)?), (Some(BOTH), None));
    enable(&two.store, BOTH)?;
    for _ in 0..2 {
        release(&one.store)?;
        assert_eq!(switches(), ["1", "1"], "the other still needs it");
    }
    assert_eq!((enabled(&one.store)?, enabled(&two.store)?), (None, Some(BOTH)));
    assert!(Path::new(NOTE).exists());
    release(&two.store)?;
    assert_eq!(everything(), before);
    assert_eq!(enabled(&two.store)?, None);
    assert!(!Path::new(NOTE).exists());
    two.end();
    one.end();
    Ok(())
}

fn only_needed() -> Result<(), Failed> {
    let [one, two] = ["one", "two"].map(Lab::new);
    let before = everything();
    enable(&one.store, ONLY_V4)?;
    assert_eq!(switches(), ["1", "0"]);
    enable(&two.store, ONLY_V6)?;
    assert_eq!(switches(), ["1", "1"]);
    assert_eq!((enabled(&one.store)?, enabled(&two.store)?), (Some(ONLY_V4), Some(ONLY_V6)));
    release(&one.store)?;
    assert_eq!(switches(), ["0", "1"]);
    // A lab that came to need something else.
    enable(&two.store, ONLY_V4)?;
    assert_eq!(switches(), ["1", "0"]);
    assert_eq!(enabled(&two.store)?, Some(ONLY_V4));
    enable(&two.store, Families::default())?;
    assert_eq!(switches(), ["0", "0"]);
    release(&two.store)?;
    assert_eq!(everything(), before);
    one.end();
    two.end();
    Ok(())
}

fn side_effects() -> Result<(), Failed> {
    let lab = Lab::new("lab");
    ip(&["link", "add", "router", "type", "veth", "peer", "name", "learner"]);
    for (file, value) in [
        // As somebody may have had them for reasons of their own.
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv4/conf/router/forwarding", "1"),
        ("ipv6/conf/router/forwarding", "1"),
        ("ipv6/conf/learner/accept_ra", "1"),
        ("ipv6/conf/router/accept_ra", "1"),
    ] {
        write(file, value);
    }
    let before = everything();
    enable(&lab.store, BOTH)?;
    assert_eq!(switches(), ["1", "1"]);
    // It went on listening to routers, the one that forwarded went on not to.
    assert_eq!(read("ipv6/conf/learner/accept_ra"), "2");
    assert_eq!(read("ipv6/conf/router/accept_ra"), "1");
    assert_eq!(read("ipv6/conf/default/accept_ra"), "1");
    release(&lab.store)?;
    assert_eq!(everything(), before);

    // An interface that is gone, and one that came.
    enable(&lab.store, BOTH)?;
    ip(&["link", "delete", "router"]);
    ip(&["link", "add", "new", "type", "veth", "peer", "name", "other"]);
    assert_eq!(read("ipv4/conf/new/forwarding"), "1");
    release(&lab.store)?;
    assert_eq!(switches(), ["0", "0"]);
    assert_eq!(read("ipv4/conf/new/forwarding"), "0");
    ip(&["link", "delete", "new"]);
    lab.end();
    Ok(())
}

/// The host goes on using and hearing the router that it learnt from.
fn router() -> Result<(), Failed> {
    let lab = Lab::new("lab");
    ip(&["netns", "add", "router"]);
    ip(&["link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", "router"]);
    // Without waiting for others that could have the same address.
    write("ipv6/conf/uplink/accept_dad", "0");
    let router = netns("router");
    router.run(|| write("ipv6/conf/eth0/accept_dad", "0"))?;
    ip(&["link", "set", "uplink", "up"]);
    ip(&["-netns", "router", "link", "set", "eth0", "up"]);
    let learns = |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while ip(&["-6", "route", "show", "default", "proto", "ra"]).is_empty() {
            assert!(Instant::now() < deadline, "no default route was learnt {what}");
            // The link may not be up yet.
            let _ = router.run(advertise).expect("enter the router");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let has_route = || !ip(&["-6", "route", "show", "default", "proto", "ra"]).is_empty();
    learns("before");
    enable(&lab.store, ONLY_V6)?;
    assert!(has_route(), "the route was lost");
    ip(&["-6", "route", "flush", "proto", "ra"]);
    assert!(!has_route());
    learns("while forwarding is on");
    release(&lab.store)?;
    assert!(has_route(), "the route was lost");
    drop(router);
    ip(&["link", "delete", "uplink"]);
    ip(&["netns", "delete", "router"]);
    unmount("/run/netns", UnmountFlags::DETACH)?;
    lab.end();
    Ok(())
}

/// Sends a router advertisement (RFC 4861, section 4.2) from `eth0`.
fn advertise() -> std::io::Result<()> {
    const ADVERTISEMENT: u8 = 134;
    /// Seconds.
    const LIFETIME: u16 = 1800;
    let [high, low] = LIFETIME.to_be_bytes();
    // Type, code, checksum (the kernel's), hop limit, flags, lifetime, and two
    // times that are unspecified.
    let advertisement = [ADVERTISEMENT, 0, 0, 0, 64, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(b"eth0"))?;
    socket.set_multicast_hops_v6(255)?;
    let all_nodes: std::net::Ipv6Addr = "ff02::1".parse().expect("an address");
    socket.send_to(&advertisement, &SocketAddr::new(all_nodes.into(), 0).into()).map(drop)
}

fn others() -> Result<(), Failed> {
    let lab = Lab::new("lab");
    // On before: stays on.
    write(V4, "1");
    enable(&lab.store, BOTH)?;
    release(&lab.store)?;
    assert_eq!(switches(), ["1", "0"]);
    write(V4, "0");
    // Turned off meanwhile: it is told, stays off, and can be turned on again.
    enable(&lab.store, BOTH)?;
    write(V4, "0");
    assert_eq!(enabled(&lab.store)?, Some(ONLY_V6));
    enable(&lab.store, BOTH)?;
    assert_eq!(switches(), ["1", "1"]);
    write(V6, "0");
    release(&lab.store)?;
    assert_eq!(switches(), ["0", "0"]);
    // What listens to routers was changed meanwhile.
    ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"]);
    enable(&lab.store, ONLY_V6)?;
    assert_eq!(["one", "two"].map(accept_ra), ["2", "2"]);
    write("ipv6/conf/one/accept_ra", "0");
    release(&lab.store)?;
    assert_eq!(["one", "two"].map(accept_ra), ["0", "1"]);
    ip(&["link", "delete", "one"]);
    lab.end();
    Ok(())
}

fn accept_ra(interface: &str) -> String {
    read(&format!("ipv6/conf/{interface}/accept_ra"))
}

/// What happens as long as a file cannot be written: whoever wants to write it
/// gets no further, as if it had been killed there.
#[track_caller]
fn cut_short_at(switch: &str, work: impl FnOnce()) {
    let path = Path::new("/proc/sys/net").join(switch);
    mount_bind(&path, &path).unwrap();
    mount_remount(&path, MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();
    work();
    unmount(&path, UnmountFlags::DETACH).unwrap();
}

/// What a lab does, and another one.
type Work = fn(&Lab, &Lab) -> Result<(), Failed>;

/// A lab's work is cut short at each of these writes, and each of the next commands
/// follows. However that goes, in the end all is as it was before.
fn each_cut_short(
    places: &[&str],
    cut_short: fn(&Lab, &str) -> Result<(), Failed>,
    next: [Work; 3],
) -> Result<(), Failed> {
    let before = everything();
    for place in places {
        for (number, next) in next.iter().enumerate() {
            let [lab, other] = ["lab", "other"].map(Lab::new);
            cut_short(&lab, place)?;
            next(&lab, &other)?;
            release(&lab.store)?;
            assert_eq!(everything(), before, "{place}, {number}");
            assert!(!Path::new(NOTE).exists());
            lab.end();
            other.end();
        }
    }
    Ok(())
}

/// Every write that an enable makes, and every next command.
fn enable_cut_short() -> Result<(), Failed> {
    let cut_short = |lab: &Lab, place: &str| {
        cut_short_at(place, || {
            assert!(enable(&lab.store, BOTH).is_err(), "{place} was not written");
            assert!(enabled(&lab.store).unwrap().is_some_and(|families| families != BOTH));
        });
        Ok(())
    };
    let same_again: Work = |lab, _| {
        enable(&lab.store, BOTH)?;
        assert_eq!(enabled(&lab.store)?, Some(BOTH));
        assert_eq!(["one", "two"].map(accept_ra), ["2", "2"]);
        Ok(())
    };
    let another_comes_and_goes: Work = |lab, other| {
        enable(&other.store, BOTH)?;
        assert_eq!(["one", "two"].map(accept_ra), ["2", "2"]);
        assert_eq!(enabled(&lab.store)?, Some(BOTH));
        Ok(release(&other.store)?)
    };
    let it_gives_up: Work = |_, _| Ok(());
    ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"]);
    each_cut_short(
        &["ipv6/conf/one/accept_ra", "ipv6/conf/two/accept_ra", V4, V6],
        cut_short,
        [same_again, another_comes_and_goes, it_gives_up],
    )?;
    ip(&["link", "delete", "one"]);
    Ok(())
}

/// Every write that a release makes, and every next command.
fn release_cut_short() -> Result<(), Failed> {
    let cut_short = |lab: &Lab, place: &str| {
        enable(&lab.store, BOTH)?;
        cut_short_at(place, || {
            assert!(release(&lab.store).is_err(), "{place} was not written");
            // `down` sees that there is something left to do.
            assert_eq!(enabled(&lab.store).unwrap(), Some(Families::default()));
        });
        Ok(())
    };
    let same_enables: Work = |lab, _| {
        enable(&lab.store, BOTH)?;
        assert_eq!(enabled(&lab.store)?, Some(BOTH));
        assert_eq!(switches(), ["1", "1"]);
        Ok(())
    };
    let another_finishes_it: Work = |_, other| {
        enable(&other.store, ONLY_V4)?;
        assert_eq!(switches(), ["1", "0"]);
        Ok(release(&other.store)?)
    };
    let same_again: Work = |_, _| Ok(());
    ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"]);
    for (file, value) in [
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv4/conf/one/forwarding", "1"),
        ("ipv6/conf/one/forwarding", "1"),
    ] {
        write(file, value);
    }
    each_cut_short(
        &[
            V4,
            "ipv4/conf/all/accept_redirects",
            "ipv4/conf/one/forwarding",
            V6,
            "ipv6/conf/one/forwarding",
            "ipv6/conf/two/accept_ra",
        ],
        cut_short,
        [same_enables, another_finishes_it, same_again],
    )?;
    ip(&["link", "delete", "one"]);
    Ok(())
}

/// Killed before the new note was put in the place of the old one.
fn note_cut_short() -> Result<(), Failed> {
    let lab = Lab::new("lab");
    let draft = lab.store.forwarding_draft();
    fs::write(&draft, "{")?;
    assert_eq!(enabled(&lab.store)?, Some(Families::default()), "something is left to do");
    release(&lab.store)?;
    assert!(!draft.exists());
    fs::write(&draft, "{")?;
    enable(&lab.store, BOTH)?;
    assert_eq!(enabled(&lab.store)?, Some(BOTH));
    release(&lab.store)?;
    // A note that somebody wrote by hand is not taken for nothing.
    fs::write(NOTE, "yes")?;
    for error in [enable(&lab.store, BOTH), release(&lab.store), enabled(&lab.store).map(drop)] {
        let error = error.expect_err("an unreadable note").to_string();
        assert!(error.contains(NOTE), "{error}");
    }
    assert_eq!(switches(), ["0", "0"]);
    fs::remove_file(NOTE)?;
    lab.end();
    Ok(())
}
