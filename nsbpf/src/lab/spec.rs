//! What the user typed, with its places in the file.
//!
//! What is said of a key is what `docs/lab-reference.md` says of it, word for word:
//! it is also what an editor shows, by way of [`schema`](super::schema).

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};

use super::DEFAULT_MTU;
use super::bridge::{DEFAULT_FORWARD_DELAY, DEFAULT_VLAN};
use super::policy::spec::PolicySpec;
use super::problem::{Problem, nearest};
use super::queues::DEFAULT_QUEUES;
use super::schema::kind::{
    AddressText, ContainerText, Count, FastPathText, ForwardDelay, GatewayText, GuardText,
    InterfaceNameText, MacText, Mtu, NameText, NetnsText, PeerText, Pid, Port, Queues, SubnetText,
    SysctlNameText, SysctlValue, Text, Vlan, VlanRange, WordsText,
};
use super::schema::{self, Mapping};
use super::words::Words;

/// A lab of nsbpf: network namespaces, and what they are wired to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "nsbpf lab", example = schema::small_lab())]
pub(super) struct LabSpec {
    /// The lab's name, unique on a host. Letters, digits, `-`, `_`, `.`; at most 63 bytes.
    /// Required.
    #[schemars(with = "NameText")]
    pub(super) name: Spanned<String>,
    /// Bridges that the lab makes, by name (at most 15 bytes).
    #[serde(default)]
    #[schemars(with = "Mapping<InterfaceNameText, Option<BridgeSpec>>")]
    pub(super) bridges: Entries<BridgeSpec>,
    /// Namespaces, by name (at most 63 bytes). `ip netns` shows them under it. Required.
    #[schemars(
        with = "Mapping<NameText, Option<NamespaceSpec>>",
        extend("type" = "object", "minProperties" = 1)
    )]
    pub(super) namespaces: Entries<NamespaceSpec>,
    /// How packets between ports of a bridge travel: `bridge`, `redirect`, `peer` or `xdp`; see
    /// Fast paths. `peer` if not said.
    #[schemars(with = "Option<FastPathText>", extend("default" = "peer"))]
    pub(super) fastpath: Option<Spanned<String>>,
    /// Which packets may go from where to where; see Policy.
    #[schemars(with = "Option<PolicySpec>")]
    pub(super) policy: Option<Spanned<PolicySpec>>,
    /// Who must reach whom, and who must not; see Expectations.
    #[serde(default)]
    pub(super) expect: Vec<ExpectSpec>,
}

/// A bridge; `{}` for one as it comes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Bridge")]
pub(super) struct BridgeSpec {
    /// The namespace that the bridge is in. It is made if the lab has none of that name. No
    /// host firewall reaches the bridge there (`br_netfilter`'s calls are off). If not said
    /// the bridge is in the host's namespace.
    #[schemars(with = "Option<NameText>")]
    pub(super) namespace: Option<Spanned<String>>,
    /// Largest packet, in bytes, on the bridge and on everything attached to it: 68 to
    /// 65,535. 1500 if not said.
    #[schemars(with = "Option<Mtu>", extend("default" = DEFAULT_MTU))]
    pub(super) mtu: Option<Spanned<u32>>,
    /// The bridge's own addresses: a gateway for its namespaces.
    #[serde(default)]
    #[schemars(with = "Vec<AddressText>")]
    pub(super) addresses: Vec<Spanned<String>>,
    /// Whether it takes part in the spanning tree protocol. `false` if not said.
    #[serde(default)]
    pub(super) stp: bool,
    /// With `stp`: seconds that a port listens, and then learns, before it forwards; 2 to 30.
    /// 15 if not said.
    #[schemars(with = "Option<ForwardDelay>", extend("default" = DEFAULT_FORWARD_DELAY))]
    pub(super) forward_delay: Option<Spanned<u8>>,
    /// Whether it looks at VLANs. Takes a kernel with `CONFIG_BRIDGE_VLAN_FILTERING`. `false`
    /// if not said.
    #[serde(default)]
    pub(super) vlan_filtering: bool,
    /// The VLAN of the bridge's own addresses, 1 to 4,094. 1 if not said.
    #[schemars(with = "Option<Vlan>", extend("default" = DEFAULT_VLAN))]
    pub(super) vlan: Option<Spanned<u16>>,
    /// Gives the bridge's namespaces the way out through the host; see The way out.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    pub(super) uplink: Option<Spanned<bool>>,
}

/// A network namespace; `{}` for one with a loopback interface only.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Namespace", transform = schema::found_in_one_way)]
pub(super) struct NamespaceSpec {
    /// Makes that many of it: `web` with a count of 3 means `web1`, `web2` and `web3`.
    #[schemars(with = "Option<Count>")]
    pub(super) count: Option<Spanned<u32>>,
    /// Wires a namespace that somebody else made: a name that `ip netns` shows, or a path.
    #[schemars(with = "Option<NetnsText>")]
    pub(super) netns: Option<Spanned<String>>,
    /// The same, by a process in it.
    #[schemars(with = "Option<Pid>")]
    pub(super) pid: Option<Spanned<u32>>,
    /// The same, by the name or id of a container of podman or docker.
    #[schemars(with = "Option<ContainerText>")]
    pub(super) container: Option<Spanned<String>>,
    /// Whether it forwards packets between its interfaces, IPv4 and IPv6. `false` if not said.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    pub(super) router: Option<Spanned<bool>>,
    /// Kernel settings under `net.`, set before interfaces are made, those of an interface
    /// after it. What they were is put back when the lab no longer says them.
    #[serde(default)]
    #[schemars(with = "Mapping<SysctlNameText, SysctlValue>")]
    pub(super) sysctls: Entries<SysctlSpec>,
    /// Routes; see Routes.
    #[serde(default)]
    pub(super) routes: Vec<RouteSpec>,
    /// The namespace's interfaces, by name (at most 15 bytes).
    #[serde(default)]
    #[schemars(with = "Mapping<InterfaceNameText, Option<InterfaceSpec>>")]
    pub(super) interfaces: Entries<InterfaceSpec>,
}

/// A value; `None` for a name with nothing behind it.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct SysctlSpec(pub(super) Option<String>);

/// A route: `via` a gateway, or right on the link of `dev`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub(super) struct RouteSpec {
    /// A subnet, or `default`. Required.
    #[schemars(with = "SubnetText")]
    pub(super) to: Spanned<String>,
    /// The gateway.
    #[schemars(with = "Option<GatewayText>")]
    pub(super) via: Option<Spanned<String>>,
    /// The interface, for a gateway that is in no subnet of it, or for a destination that is
    /// right on the link.
    #[schemars(with = "Option<InterfaceNameText>")]
    pub(super) dev: Option<Spanned<String>>,
}

/// Who must reach whom, or must not.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Expectation", transform = schema::by_one_way)]
pub(super) struct ExpectSpec {
    /// Who begins: a namespace, a list of them, or `all`. Required.
    #[schemars(with = "WordsText")]
    pub(super) from: Spanned<Words>,
    /// What is tried: a namespace (all of its addresses), one of its interfaces, an address, a
    /// list of these, or `all`. Required.
    #[schemars(with = "WordsText")]
    pub(super) to: Spanned<Words>,
    /// By a TCP connection or a UDP datagram to that port, 1 to 65,535. By ping if neither is
    /// said.
    #[schemars(with = "Option<Port>")]
    pub(super) tcp: Option<Spanned<i64>>,
    /// By a TCP connection or a UDP datagram to that port, 1 to 65,535. By ping if neither is
    /// said.
    #[schemars(with = "Option<Port>")]
    pub(super) udp: Option<Spanned<i64>>,
    /// `false`: none of it may be reached. `true` if not said: all of it must be.
    #[schemars(extend("default" = true))]
    pub(super) reach: Option<bool>,
    /// Why so; `check` prints it.
    #[schemars(with = "Option<Text>")]
    pub(super) because: Option<String>,
}

/// One end of a veth pair.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Interface", transform = schema::attached_once)]
pub(super) struct InterfaceSpec {
    /// The bridge whose port the other end is. A bridge takes 1,023 ports.
    #[schemars(with = "Option<InterfaceNameText>")]
    pub(super) bridge: Option<Spanned<String>>,
    /// The interface that the other end is. One of the two says it.
    #[schemars(with = "Option<PeerText>")]
    pub(super) peer: Option<Spanned<String>>,
    /// On a bridge that looks at VLANs: the one whose packets are untagged here. 1 if neither
    /// this nor `trunk` is said.
    #[schemars(with = "Option<Vlan>")]
    pub(super) vlan: Option<Spanned<u16>>,
    /// The same for VLANs whose packets are tagged here.
    #[serde(default)]
    #[schemars(with = "Vec<VlanRange>")]
    pub(super) trunk: Vec<Spanned<String>>,
    /// Whether the port reaches only ports that are not isolated. `false` if not said.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    pub(super) isolated: Option<Spanned<bool>>,
    /// What is dropped when the interface sends it, and counted: with `true` packets that claim
    /// another's MAC or IP address (or tell of one by ARP or IPv6 neighbour discovery), with `mac`
    /// those that claim another's MAC address, which is the choice for a router. `false` if not
    /// said.
    #[schemars(with = "Option<GuardText>", extend("default" = false))]
    pub(super) guard: Option<Spanned<String>>,
    /// How what the interface sends travels over its bridge, if not as the lab says; see Fast
    /// paths.
    #[schemars(with = "Option<FastPathText>")]
    pub(super) fastpath: Option<Spanned<String>>,
    /// MAC address inside the namespace; unicast. If not said it follows from the lab's slot.
    #[schemars(with = "Option<MacText>")]
    pub(super) mac: Option<Spanned<String>>,
    /// Largest packet, in bytes. On a bridge it is the bridge's; of a pair one end says it.
    /// 1500 if not said.
    #[schemars(with = "Option<Mtu>")]
    pub(super) mtu: Option<Spanned<u32>>,
    /// Queues for sending and for receiving, at each end of the veth pair: on as many processors
    /// at once XDP handles what the interface sends, and the namespace what it is sent. 1 to 64;
    /// of a pair one end says it. Another number makes the pair anew. 1 if not said.
    #[schemars(with = "Option<Queues>", extend("default" = DEFAULT_QUEUES))]
    pub(super) queues: Option<Spanned<u16>>,
    /// IPv4 and IPv6 addresses with their prefix lengths; a subnet's own address hands out the
    /// next one that is free. They work at once, without duplicate address detection.
    #[serde(default)]
    #[schemars(with = "Vec<AddressText>")]
    pub(super) addresses: Vec<Spanned<String>>,
    /// Whether the interface is up. `true` if not said.
    #[schemars(extend("default" = true))]
    pub(super) up: Option<bool>,
}

/// A mapping in the order of the file, its keys with their places. Nothing stands
/// for an empty one, and a key with nothing behind it means its type's default.
pub(super) struct Entries<T>(pub(super) Vec<(Spanned<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a mapping of names")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Entries::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Entries::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key()? {
            entries.push((name, map.next_value::<Option<T>>()?.unwrap_or_default()));
        }
        Ok(Entries(entries))
    }
}

impl LabSpec {
    pub(super) fn parse(source: &str) -> Result<Self, Problem> {
        parse(source, EXAMPLE)
    }
}

/// Reads what is typed; `example` shows what it looks like, on a line.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(
    source: &str,
    example: &'static str,
) -> Result<T, Problem> {
    // The excerpt is ours to show. As YAML 1.2 has it, `n` and `on` are names and
    // no booleans. 65,536 rules of ten keys take a million nodes.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 1 << 22, max_events: 1 << 23 },
        with_snippet: false,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(source, options).map_err(|error| explain(&error, example))
}

/// What a lab looks like, on a line.
const EXAMPLE: &str = "a small lab: \
    {name: a, bridges: {br0: {}}, namespaces: {n0: {interfaces: {eth0: {bridge: br0, addresses: [10.0.0.1/24]}}}}}";

/// What a rule of a policy does.
const ACTIONS: &str = "write `allow`, `deny`, `reject`, `limit` or `log`";

/// What the parser expected, in the words of a lab's author.
fn describe(expected: &str) -> &'static str {
    if expected.contains("map") {
        "this should be a mapping: `name: value`, or `{}` for none"
    } else if expected.contains("seq") {
        "this should be a list: `[one, another]`"
    } else {
        "this should be a plain value"
    }
}

fn explain(error: &Error, example: &str) -> Problem {
    let location = error.location().unwrap_or(Location::UNKNOWN);
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            Problem::new(format!("unknown key `{field}`"), location)
                .help_if(nearest(field, expected.iter().copied()))
        }
        Error::SerdeMissingField { field, .. } => {
            let help = if *field == "action" { ACTIONS } else { example };
            Problem::new(format!("the key `{field}` is missing"), location).help(help)
        }
        Error::Eof { .. } => {
            Problem::new("the file ends too early".to_owned(), location).help(example)
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            Problem::new(format!("`{key}` is there twice"), location)
                .label("this one is the second")
        }
        Error::Unexpected { expected, .. } => {
            Problem::new(describe(expected).to_owned(), location).help(example)
        }
        Error::MultipleDocuments { .. } => {
            let title = "a second document begins here".to_owned();
            Problem::new(title, location).help("a file holds one: give this one its own")
        }
        Error::NullIntoString { .. } => {
            let problem = Problem::new("the value is missing".to_owned(), location);
            problem.help("what begins with `!` goes into quotes")
        }
        other => {
            let text = other.to_string();
            let title = text.split(" at line ").next().unwrap_or(&text);
            Problem::new(title.trim_end_matches([' ', ':', ',']).to_owned(), location)
        }
    }
}
