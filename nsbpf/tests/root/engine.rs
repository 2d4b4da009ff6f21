//! The engine: from any state to the one that is wanted.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Failed;
use nsbpf::apply::{ApplyError, Converged, converge, survey, take_down};
use nsbpf::datapath::{OBJECT_DIGEST, StatsReader};
use nsbpf::lab::Lab;
use nsbpf::plan::{DEFAULT_FLOWS, Settings};
use nsbpf::state::{Attach, IngressHook, Object, State};
use nsbpf::store::{LabLock, Store};
use nsbpf_common::stats::PortStats;

use crate::Test;
use crate::command::ran;
use crate::world::{answers, ip, ip_json};

pub(crate) const TESTS: &[Test] = &[
    ("engine::up_again_changes_nothing", up_again),
    ("engine::an_edit_changes_only_what_differs", edit),
    ("engine::drift_is_put_right", drift),
    ("engine::the_hook_can_be_switched", switch_hook),
    ("engine::an_unfinished_link_is_taken_away", unfinished_link),
    ("engine::a_lost_folder_is_no_obstacle", lost_folder),
    ("engine::an_interrupt_undoes", interrupt),
    ("engine::a_hostile_namespace_does_not_stop_the_end", hostile_inside),
    ("engine::a_link_that_lost_one_mark_is_still_ours", lost_mark),
    ("engine::a_link_of_others_in_a_group_of_ours_stays", foreign_in_group),
    ("engine::an_altname_is_a_name", altname),
    ("engine::a_stray_of_any_index_goes", stray_index),
    ("engine::a_thousand_namespaces", thousand),
];

/// A lab that is up for the length of a test.
pub(crate) struct Up {
    pub(crate) store: Store,
    lock: Option<LabLock>,
}

impl Up {
    pub(crate) fn new(lab: &Lab) -> Self {
        let store = Store::new(&lab.name);
        let lock = store.lock().expect("lock the lab");
        Self { store, lock: Some(lock) }
    }

    #[track_caller]
    pub(crate) fn converge(&self, lab: &Lab, ingress: IngressHook) -> Converged {
        self.try_converge(lab, ingress).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_converge(
        &self,
        lab: &Lab,
        ingress: IngressHook,
    ) -> Result<Converged, ApplyError> {
        converge(&self.store, lab, &settings(ingress), &AtomicBool::new(false))
    }

    /// With settings that are not those of every test.
    #[track_caller]
    pub(crate) fn converge_with(&self, lab: &Lab, settings: &Settings) -> Converged {
        converge(&self.store, lab, settings, &AtomicBool::new(false))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The counters of all interfaces, by their names.
    pub(crate) fn stats(&self) -> HashMap<String, PortStats> {
        let state = survey(&self.store).expect("look at the lab").state;
        let reader = StatsReader::open(&self.store).expect("open the counters");
        let ports = state.objects.values().filter_map(|object| match object {
            Object::Veth(veth) => Some(veth.ports()),
            _ => None,
        });
        ports
            .flatten()
            .map(|(id, number)| (id.to_string(), reader.read(number).expect("read counters")))
            .collect()
    }

    #[track_caller]
    pub(crate) fn down(mut self) {
        let down = take_down(&self.store).unwrap_or_else(|error| panic!("{error}"));
        assert!(down.lingering.is_empty(), "{:?}", down.lingering);
        self.lock.take().expect("still locked").retire();
    }
}

pub(crate) fn settings(ingress: IngressHook) -> Settings {
    Settings {
        ingress: Some(ingress),
        attach: Attach::Clsact,
        object: OBJECT_DIGEST.to_owned(),
        fastpath: None,
        flows: DEFAULT_FLOWS,
        log: false,
        rules_file: None,
    }
}

pub(crate) fn quickstart() -> Lab {
    lab(include_str!("../../../labs/quickstart.yaml"))
}

pub(crate) fn lab(source: &str) -> Lab {
    Lab::parse(source, "lab.yaml").unwrap_or_else(|error| panic!("{error}"))
}

/// The port number of an interface.
pub(crate) fn port(state: &State, interface: &str) -> u16 {
    let number = state.objects.values().find_map(|object| match object {
        Object::Veth(veth) => veth.ports().find(|(id, _)| id.to_string() == interface),
        _ => None,
    });
    number.expect(interface).1
}

fn up_again() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    assert!(up.converge(&lab, IngressHook::Tc).steps > 0);
    // Without the operational state, which follows some time after.
    let links = || -> Vec<String> {
        let links = ip_json(&["link"]);
        let identity = |link: &serde_json::Value| {
            ["ifindex", "ifname", "address", "master", "mtu", "group", "ifalias"]
                .map(|key| link[key].to_string())
                .join(" ")
        };
        links.as_array().expect("links").iter().map(identity).collect()
    };
    let before = links();
    assert_eq!(up.converge(&lab, IngressHook::Tc).steps, 0);
    assert_eq!(links(), before);
    up.down();
    Ok(())
}

fn edit() -> Result<(), Failed> {
    let before = quickstart();
    let after = lab("name: quickstart
bridges: { br0: {}, br1: {} }
namespaces:
  vnet0: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  vnet1: { interfaces: { eth0: { bridge: br1, addresses: [10.0.0.7/24] } } }
  vnet2: { interfaces: { eth0: { bridge: br0 }, eth1: { bridge: br1 } } }
");
    let up = Up::new(&before);
    // Not kept: a survey holds the namespaces open.
    let port = port(&up.converge(&before, IngressHook::Tc).survey.state, "vnet0/eth0");
    let untouched = || {
        let link = ip_json(&["-netns", "vnet0", "link", "show", "eth0"]);
        (link[0]["ifindex"].clone(), link[0]["address"].clone())
    };
    let identity = untouched();
    let counted = || StatsReader::open(&up.store).unwrap().read(port);
    let packets = counted()?.tx.total().packets;
    up.converge(&after, IngressHook::Tc);
    assert_eq!(untouched(), identity);
    assert!(counted()?.tx.total().packets >= packets, "counters began anew");
    let addresses = |namespace: &str| -> BTreeSet<String> {
        let shown = ip_json(&["-netns", namespace, "address", "show", "eth0"]);
        let infos = shown[0]["addr_info"].as_array().unwrap();
        let global = infos.iter().filter(|info| info["scope"] == "global");
        global.map(|info| info["local"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(addresses("vnet0"), ["10.0.0.1".to_owned(), "fd00::1".to_owned()].into());
    assert_eq!(addresses("vnet1"), ["10.0.0.7".to_owned()].into());
    assert_eq!(ip_json(&["link", "show", "vnet1-eth0"])[0]["master"], "br1");
    assert_eq!(ip_json(&["link", "show", "vnet2-eth1"])[0]["master"], "br1");
    // And back: what is too much goes.
    up.converge(&before, IngressHook::Tc);
    assert!(!ip(&["netns", "list"]).contains("vnet2"));
    assert!(!ip(&["link"]).contains("br1"));
    assert_eq!(up.converge(&before, IngressHook::Tc).steps, 0);
    assert_eq!(untouched(), identity);
    up.down();
    Ok(())
}

fn drift() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    up.converge(&lab, IngressHook::Tc);
    let foreign = "10.9.9.9/24";
    for change in [
        "link set br0 down",
        // Before Linux 6.2 only what is down can be renamed.
        "link set br0 down; link set br0 name other",
        "link set vnet0-eth0 nomaster",
        "link set vnet1-eth0 mtu 1400 down",
        "link set vnet1-eth0 type bridge_slave mcast_flood off",
        "-netns vnet0 address delete 10.0.0.1/24 dev eth0",
        "-netns vnet1 link set eth0 down",
    ] {
        for command in change.split("; ") {
            ip(&command.split(' ').collect::<Vec<_>>());
        }
        assert!(up.converge(&lab, IngressHook::Tc).steps > 0, "{change}");
        assert_eq!(up.converge(&lab, IngressHook::Tc).steps, 0, "{change}");
    }
    assert_eq!(ip_json(&["link", "show", "vnet0-eth0"])[0]["master"], "br0");
    let port = &ip_json(&["-details", "link", "show", "vnet1-eth0"])[0];
    assert_eq!(port["mtu"], 1500);
    assert_eq!(port["linkinfo"]["info_slave_data"]["mcast_flood"], true);
    // A name that `ip netns` lost, with the namespace behind it.
    ip(&["netns", "delete", "vnet0"]);
    assert!(up.converge(&lab, IngressHook::Tc).steps > 0);
    ip(&["netns", "exec", "vnet0", "true"]);
    // What others add to a namespace of ours stays.
    ip(&["-netns", "vnet0", "address", "add", foreign, "dev", "eth0"]);
    assert_eq!(up.converge(&lab, IngressHook::Tc).steps, 0);
    assert!(ip(&["-netns", "vnet0", "address"]).contains(foreign));
    up.down();
    Ok(())
}

fn switch_hook() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    let mode = || ip_json(&["link", "show", "vnet0-eth0"])[0]["xdp"]["mode"].as_u64();
    // `XDP_ATTACHED_DRV` and `XDP_ATTACHED_SKB` of `linux/if_link.h`.
    for (ingress, wanted) in [
        (IngressHook::Tc, None),
        (IngressHook::Xdp, Some(1)),
        (IngressHook::XdpGeneric, Some(2)),
        (IngressHook::Xdp, Some(1)),
        (IngressHook::Tc, None),
    ] {
        up.converge(&lab, ingress);
        assert_eq!(mode(), wanted);
        assert_eq!(up.converge(&lab, ingress).steps, 0);
    }
    up.down();
    Ok(())
}

/// A link with the birth mark and no alias: what a run leaves that is killed
/// between two messages.
fn unfinished_link() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    up.converge(&lab, IngressHook::Tc);
    ip(&["link", "set", "vnet0-eth0", "alias", ""]);
    ip(&["link", "set", "br0", "alias", ""]);
    up.converge(&lab, IngressHook::Tc);
    assert_eq!(up.converge(&lab, IngressHook::Tc).steps, 0);
    ip(&["link", "set", "vnet1-eth0", "alias", ""]);
    up.down();
    Ok(())
}

fn lost_folder() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    up.converge(&lab, IngressHook::Tc);
    up.store.remove_folder()?;
    assert!(up.converge(&lab, IngressHook::Tc).steps > 0);
    assert_eq!(up.converge(&lab, IngressHook::Tc).steps, 0);
    up.store.remove_folder()?;
    up.down();
    Ok(())
}

/// The root of a namespace names links as nobody can read and makes and deletes
/// them all the time.
fn hostile_inside() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    up.converge(&lab, IngressHook::Tc);
    ip(&["-netns", "vnet0", "link", "add", "dd", "type", "bridge"]);
    let name = std::ffi::OsStr::from_bytes(b"a\xffb");
    let renamed = std::process::Command::new("ip")
        .args(["-netns", "vnet0", "link", "set", "dd", "name"])
        .arg(name)
        .status()?;
    assert!(renamed.success());
    ip(&["link", "add", "dd", "group", "77", "type", "bridge"]);
    let renamed =
        std::process::Command::new("ip").args(["link", "set", "dd", "name"]).arg(name).status()?;
    assert!(renamed.success());
    assert_eq!(up.converge(&lab, IngressHook::Tc).steps, 0);
    ip(&["link", "delete", "group", "77"]);
    ip(&["-netns", "vnet1", "link", "set", "eth0", "name", "other", "netns", "vnet0"]);
    up.down();
    Ok(())
}

/// NetworkManager, udev or a person changed one of the marks.
fn lost_mark() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    up.converge(&lab, IngressHook::Tc);
    for change in ["br0 address 02:00:00:00:00:01", "vnet0-eth0 group 0", "vnet1-eth0 group 5"] {
        let change = format!("link set {change}");
        for command in change.split("; ") {
            ip(&command.split(' ').collect::<Vec<_>>());
        }
        assert!(up.converge(&lab, IngressHook::Tc).steps > 0, "{change}");
        assert_eq!(up.converge(&lab, IngressHook::Tc).steps, 0, "{change}");
    }
    ip(&["link", "set", "br0", "address", "02:00:00:00:00:01"]);
    ip(&["link", "set", "vnet0-eth0", "group", "0"]);
    up.down();
    Ok(())
}

/// The group that links are moved to before they are deleted holds another's
/// link, and one of ours that a killed run put there.
fn foreign_in_group() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    let slot = up.converge(&lab, IngressHook::Tc).survey.state.slot().expect("a slot");
    let doomed = slot.doomed_group().to_string();
    ip(&["link", "add", "mine", "group", &doomed, "type", "bridge"]);
    ip(&["link", "set", "vnet0-eth0", "group", &doomed]);
    let edited =
        self::lab(&include_str!("../../../labs/quickstart.yaml").replace("vnet1", "other"));
    up.converge(&edited, IngressHook::Tc);
    assert_eq!(up.converge(&edited, IngressHook::Tc).steps, 0);
    ip(&["link", "show", "mine"]);
    up.down();
    ip(&["link", "delete", "mine"]);
    Ok(())
}

fn altname() -> Result<(), Failed> {
    ip(&["link", "add", "q", "type", "bridge"]);
    ip(&["link", "property", "add", "dev", "q", "altname", "br0"]);
    let lab = quickstart();
    let up = Up::new(&lab);
    let error = up.try_converge(&lab, IngressHook::Tc).unwrap_err();
    assert!(error.to_string().contains("`br0`, but a link of that name exists already"), "{error}");
    ip(&["link", "delete", "q"]);
    up.down();
    Ok(())
}

/// A link with our marks at an index that nsbpf would never ask for.
fn stray_index() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    let slot = up.converge(&lab, IngressHook::Tc).survey.state.slot().expect("a slot");
    let group = slot.group().to_string();
    ip(&[
        "link",
        "add",
        "stray",
        "address",
        "02:6e:00:00:00:01",
        "group",
        &group,
        "type",
        "bridge",
    ]);
    up.converge(&lab, IngressHook::Tc);
    assert!(!ip(&["link"]).contains("stray"));
    up.down();
    Ok(())
}

/// Somebody wants it to stop as soon as the first step is done.
fn interrupt() -> Result<(), Failed> {
    let lab = quickstart();
    let up = Up::new(&lab);
    let settings = settings(IngressHook::Tc);
    let cancel = AtomicBool::new(false);
    let ended = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !up.store.folder().exists() && !ended.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            cancel.store(true, Ordering::Relaxed);
        });
        let outcome = converge(&up.store, &lab, &settings, &cancel);
        ended.store(true, Ordering::Relaxed);
        outcome.unwrap_err().to_string()
    });
    assert_eq!(error, "interrupted. What had been done was undone.");
    assert!(!up.store.folder().exists());
    up.down();
    Ok(())
}

/// As many as a bridge nearly takes, IPv4 and IPv6, by the commands that a user has.
fn thousand() -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let text = "name: many\nbridges: { br0: {} }\nnamespaces:\n  \
        n: { count: 1000, interfaces: { eth0: { bridge: br0, addresses: [10.1.0.0/16, 'fd01::/64'] } } }\n";
    std::fs::write(&file, text)?;
    let path = file.path().to_str().ok_or("a path")?;
    ran(&["up", path]);
    assert_eq!(ip(&["netns", "list"]).lines().count(), 1000);
    let ports = ip_json(&["link", "show", "master", "br0"]);
    assert_eq!(ports.as_array().map(Vec::len), Some(1000));
    assert!(ran(&["up", path]).starts_with("many is up already: nothing to change"));
    for (from, target) in [("n1", "10.1.3.232"), ("n1000", "fd01::1")] {
        let answered = answers(from, target, &[Duration::from_secs(1); 5]);
        assert!(answered, "{from} does not reach {target}");
    }
    let down = ran(&["down", "many"]);
    assert!(down.ends_with("nothing of it is left\n"), "{down}");
    assert_eq!(ip(&["netns", "list"]), "");
    Ok(())
}
