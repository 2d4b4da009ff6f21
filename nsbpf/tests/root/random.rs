//! Any lab becomes any other: random labs are brought up, edited at random and
//! taken down, and after each step iproute2 has to see what the lab says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use crate::Test;
use crate::engine::{Up, lab};
use crate::world::{ip, ip_json, netns};

pub(crate) const TESTS: &[Test] = &[("random::any_lab_becomes_any_other", any_becomes_any)];

/// Pairs of labs that are tried, unless `PROPTEST_CASES` says how many.
const CASES: u32 = 20;
/// Namespaces that a lab can have.
const NAMESPACES: usize = 4;

/// A lab, by its choices.
#[derive(Clone, Debug)]
struct Model {
    bridges: [Option<BridgeModel>; 2],
    namespaces: Vec<Option<NamespaceModel>>,
    /// Pairs between namespaces, each the lower first.
    pairs: BTreeSet<(usize, usize)>,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct BridgeModel {
    inside: bool,
    jumbo: bool,
    address: bool,
    stp: bool,
}

#[derive(Clone, Debug)]
struct NamespaceModel {
    router: bool,
    setting: bool,
    route: bool,
    /// For each bridge: how it is on it.
    ports: [Option<PortModel>; 2],
}

#[derive(Clone, Debug)]
struct PortModel {
    addresses: u8,
    ipv6: bool,
    isolated: bool,
    up: bool,
}

fn models() -> impl Strategy<Value = Model> {
    let bridge = any::<[bool; 4]>().prop_map(|[inside, jumbo, address, stp]| BridgeModel {
        inside,
        jumbo,
        address,
        stp,
    });
    let port = (0..3_u8, any::<[bool; 3]>())
        .prop_map(|(addresses, [ipv6, isolated, up])| PortModel { addresses, ipv6, isolated, up });
    let ports = [proptest::option::of(port.clone()), proptest::option::of(port)];
    let namespace = (any::<[bool; 3]>(), ports).prop_map(|([router, setting, route], ports)| {
        NamespaceModel { router, setting, route, ports }
    });
    let bridges = [proptest::option::weighted(0.8, bridge.clone()), proptest::option::of(bridge)];
    let namespaces =
        proptest::collection::vec(proptest::option::weighted(0.8, namespace), NAMESPACES);
    let pairs = proptest::collection::btree_set((0..NAMESPACES, 0..NAMESPACES), 0..4);
    (bridges, namespaces, pairs).prop_map(|(bridges, namespaces, pairs)| {
        let mut model = Model { bridges, namespaces, pairs };
        model.make_sense();
        model
    })
}

impl Model {
    /// Leaves out what hangs on nothing.
    fn make_sense(&mut self) {
        if self.namespaces.iter().all(Option::is_none) {
            let ports = [None, None];
            let alone = NamespaceModel { router: false, setting: false, route: false, ports };
            self.namespaces[0] = Some(alone);
        }
        for namespace in self.namespaces.iter_mut().flatten() {
            for (port, bridge) in namespace.ports.iter_mut().zip(&self.bridges) {
                if bridge.is_none() {
                    *port = None;
                }
            }
        }
        let there: Vec<bool> = self.namespaces.iter().map(Option::is_some).collect();
        self.pairs.retain(|(one, other)| one < other && there[*one] && there[*other]);
    }

    fn yaml(&self) -> String {
        let mut text = "name: random\nbridges:\n  never: {}\n".to_owned();
        for (number, bridge) in self.bridges.iter().enumerate() {
            let Some(BridgeModel { inside, jumbo, address, stp }) = bridge else { continue };
            let namespace = if *inside { "namespace: switch, " } else { "" };
            let mtu = if *jumbo { 9000 } else { 1500 };
            let address = if *address {
                format!("addresses: [10.{number}.0.254/24], ")
            } else {
                String::new()
            };
            let _ = writeln!(text, "  b{number}: {{ {namespace}{address}mtu: {mtu}, stp: {stp} }}");
        }
        text.push_str("namespaces:\n");
        for (place, namespace) in self.namespaces.iter().enumerate() {
            let Some(namespace) = namespace else { continue };
            let _ = writeln!(text, "  n{place}:\n    router: {}", namespace.router);
            if namespace.setting {
                let _ =
                    writeln!(text, "    sysctls: {{ net.ipv4.ip_default_ttl: {} }}", 40 + place);
            }
            text.push_str("    interfaces:\n");
            let mut dev = None;
            for (number, port) in namespace.ports.iter().enumerate() {
                let Some(port) = port else { continue };
                let addresses = port.written(number, place).join(", ");
                let PortModel { isolated, up, .. } = port;
                let _ = writeln!(
                    text,
                    "      e{number}: {{ bridge: b{number}, isolated: {isolated}, up: {up}, addresses: [{addresses}] }}"
                );
                dev = dev.or(up.then(|| format!("e{number}")));
            }
            for (one, other) in &self.pairs {
                let subnet = 100 + 10 * one + other;
                if *one == place {
                    let _ = writeln!(
                        text,
                        "      p{other}: {{ peer: n{other}/p{one}, addresses: [10.{subnet}.0.1/24] }}"
                    );
                } else if *other == place {
                    let _ = writeln!(text, "      p{one}: {{ addresses: [10.{subnet}.0.2/24] }}");
                }
            }
            if let Some(dev) = dev.filter(|_| namespace.route) {
                let _ = writeln!(text, "    routes: [{{ to: 192.0.2.0/24, dev: {dev} }}]");
            }
        }
        text
    }

    /// What iproute2 has to see: devices of each place, with master, MTU, whether
    /// they are up, and addresses.
    fn expected(&self) -> BTreeMap<String, Devices> {
        let mut places: BTreeMap<String, Devices> = BTreeMap::new();
        let mut add = |place: &str, name: String, device: Device| {
            places.entry(place.to_owned()).or_default().insert(name, device);
        };
        let plain = |mtu: u64| Device { master: None, mtu, up: true, addresses: BTreeSet::new() };
        add("", "never".to_owned(), plain(1500));
        let mut bridges = Vec::new();
        for (number, bridge) in self.bridges.iter().enumerate() {
            let Some(BridgeModel { inside, jumbo, address, .. }) = bridge else {
                bridges.push(("", 0));
                continue;
            };
            let (place, mtu) =
                (if *inside { "switch" } else { "" }, if *jumbo { 9000 } else { 1500 });
            bridges.push((place, mtu));
            let addresses = address.then(|| format!("10.{number}.0.254/24")).into_iter().collect();
            add(place, format!("b{number}"), Device { addresses, ..plain(mtu) });
        }
        for (place, namespace) in self.namespaces.iter().enumerate() {
            let Some(namespace) = namespace else { continue };
            for (number, port) in namespace.ports.iter().enumerate() {
                let Some(port) = port else { continue };
                let (switch, mtu) = bridges[number];
                let master = Some(format!("b{number}"));
                add(switch, format!("n{place}-e{number}"), Device { master, ..plain(mtu) });
                let addresses = port
                    .written(number, place)
                    .into_iter()
                    .map(|address| address.trim_matches('\'').to_owned());
                let addresses = addresses.collect();
                let device = Device { addresses, up: port.up, ..plain(mtu) };
                add(&format!("n{place}"), format!("e{number}"), device);
            }
        }
        for (one, other) in &self.pairs {
            let subnet = 100 + 10 * one + other;
            for (from, to, host) in [(one, other, 1), (other, one, 2)] {
                let addresses = BTreeSet::from([format!("10.{subnet}.0.{host}/24")]);
                add(&format!("n{from}"), format!("p{to}"), Device { addresses, ..plain(1500) });
            }
        }
        places
    }
}

impl PortModel {
    fn written(&self, bridge: usize, namespace: usize) -> Vec<String> {
        let ipv4 = (0..self.addresses).map(|number| {
            format!("10.{bridge}.0.{}/24", 10 * (namespace + 1) + usize::from(number))
        });
        let ipv6 = self.ipv6.then(|| format!("'fd0{bridge}::{}/64'", namespace + 1));
        ipv4.chain(ipv6).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    master: Option<String>,
    mtu: u64,
    up: bool,
    addresses: BTreeSet<String>,
}

type Devices = BTreeMap<String, Device>;

/// What iproute2 sees of a place; `""` is the host.
fn seen(place: &str) -> Devices {
    let inside = if place.is_empty() { vec![] } else { vec!["-netns", place] };
    let links = ip_json(&[inside.as_slice(), &["address"]].concat());
    let device = |link: &Value| {
        let text = |key: &str| link[key].as_str().map(str::to_owned);
        let infos = link["addr_info"].as_array().into_iter().flatten();
        let addresses = infos
            .filter(|info| info["scope"] == "global")
            .map(|info| {
                format!("{}/{}", info["local"].as_str().unwrap_or_default(), info["prefixlen"])
            })
            .collect();
        let flags = link["flags"].as_array().into_iter().flatten();
        let up = flags.into_iter().any(|flag| flag == "UP");
        let mtu = link["mtu"].as_u64().unwrap_or_default();
        (text("ifname").unwrap_or_default(), Device { master: text("master"), mtu, up, addresses })
    };
    links.as_array().into_iter().flatten().map(device).filter(|(name, _)| name != "lo").collect()
}

fn agrees(model: &Model) -> Result<(), TestCaseError> {
    let expected = model.expected();
    let mut names: BTreeSet<String> = ip(&["netns", "list"])
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    let mut wanted: BTreeSet<String> = (0..NAMESPACES)
        .filter(|place| model.namespaces[*place].is_some())
        .map(|place| format!("n{place}"))
        .collect();
    if model.bridges.iter().flatten().any(|bridge| bridge.inside) {
        wanted.insert("switch".to_owned());
    }
    prop_assert_eq!(&names, &wanted);
    names.insert(String::new());
    for name in &names {
        let none = Devices::new();
        prop_assert_eq!(&seen(name), expected.get(name).unwrap_or(&none), "{}", name);
    }
    for (place, namespace) in model.namespaces.iter().enumerate() {
        let Some(namespace) = namespace else { continue };
        let name = format!("n{place}");
        let read = |file: &str| {
            let path = format!("/proc/sys/net/ipv4/{file}");
            let read = netns(&name).run(move || std::fs::read_to_string(path));
            read.and_then(|read| read).expect("a setting").trim().to_owned()
        };
        prop_assert_eq!(read("ip_forward") == "1", namespace.router);
        let ttl = if namespace.setting { 40 + place } else { 64 };
        prop_assert_eq!(read("ip_default_ttl"), ttl.to_string());
        let has_route = namespace.route && namespace.ports.iter().flatten().any(|port| port.up);
        let routes = ip(&["-netns", &name, "route"]);
        prop_assert_eq!(routes.contains("192.0.2.0/24"), has_route, "{}", routes);
    }
    Ok(())
}

fn any_becomes_any() -> Result<(), Failed> {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config =
        Config { cases: cases.unwrap_or(CASES), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(models(), models()), |(first, second)| {
        let start = lab(&first.yaml());
        let up = Up::new(&start);
        up.converge(&start, IngressHook::Tc);
        agrees(&first)?;
        let edited = lab(&second.yaml());
        up.converge(&edited, IngressHook::Tc);
        agrees(&second)?;
        prop_assert_eq!(up.converge(&edited, IngressHook::Tc).steps, 0);
        up.down();
        prop_assert_eq!(ip(&["netns", "list"]), "");
        prop_assert_eq!(seen(""), Devices::new());
        Ok(())
    });
    Ok(outcome.map_err(|error| error.to_string())?)
}
