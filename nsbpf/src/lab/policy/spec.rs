//! A policy as it is typed, with its places in the file.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::lab::schema::kind::{NameText, WordsText};
use crate::lab::schema::rule::{
    ActionText, BurstText, DscpText, EthertypeText, FallbackText, FlagsText, FragmentText,
    IcmpText, LimitText, LogText, MacsText, PortsText, ProtocolText, SideText, VlansText,
};
use crate::lab::schema::{self, Mapping};
use crate::lab::spec::Entries;
use crate::lab::words::Words;

/// Which packets may go from where to where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Policy")]
pub(in crate::lab) struct PolicySpec {
    /// What is done with packets that no rule is about: `allow` or `deny`. `allow` if not said.
    #[schemars(with = "Option<FallbackText>", extend("default" = "allow"))]
    pub(super) default: Option<Spanned<String>>,
    /// Whether replies to what was allowed are allowed whatever the rules say. `true` if not said.
    #[schemars(with = "Option<bool>", extend("default" = true))]
    pub(super) established: Option<bool>,
    /// Names for ends of packets, each a list of addresses, subnets, namespaces, interfaces and
    /// groups.
    #[serde(default)]
    #[schemars(with = "Mapping<NameText, WordsText>")]
    pub(super) sets: Entries<Option<Spanned<Words>>>,
    /// The rules, at most 65,536. The first that a packet is in decides.
    #[serde(default)]
    pub(super) rules: Vec<RuleSpec>,
}

/// What packets a rule is about, and what is done with them. What it does not ask may be
/// anything.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rule", transform = schema::limited_by_a_limit)]
pub(in crate::lab) struct RuleSpec {
    /// The rule's name, unique in its policy; letters, digits, `-`, `_`, `.`, at most 63 bytes.
    /// `rule-1` for the first, and so on, if not said.
    #[schemars(with = "Option<NameText>")]
    pub(super) name: Option<Spanned<String>>,
    /// Where the packet comes from: a namespace, one of its interfaces, a group (namespaces of a
    /// `count`), a subnet, an address, a set, a list of these, `any`, or `{ not: … }` for anything
    /// else.
    #[schemars(with = "Option<SideText>")]
    pub(super) from: Option<Spanned<SideSpec>>,
    /// Whom it is for, by its destination address; written as `from` is.
    #[schemars(with = "Option<SideText>")]
    pub(super) to: Option<Spanned<SideSpec>>,
    /// The IP protocol: `tcp`, `udp`, `sctp`, `icmp` (of IPv4), `icmpv6` (of IPv6), a number, a
    /// list, or `any`.
    #[schemars(with = "Option<ProtocolText>")]
    pub(super) proto: Option<Spanned<Words>>,
    /// Destination ports of TCP, UDP and SCTP: a port, a range, or a list.
    #[schemars(with = "Option<PortsText>")]
    pub(super) ports: Option<Spanned<Words>>,
    /// Source ports; written as `ports` is.
    #[schemars(with = "Option<PortsText>")]
    pub(super) source_ports: Option<Spanned<Words>>,
    /// TCP flags: `syn` for what begins a connection (SYN without ACK), or a list of `fin`, `syn`,
    /// `rst`, `psh`, `ack` and `urg` that are set, and with a `!` before it of those that are not.
    #[schemars(with = "Option<FlagsText>")]
    pub(super) flags: Option<Spanned<Words>>,
    /// ICMP types: a number, a number with a code (`3/1`), a name, or a list.
    #[schemars(with = "Option<IcmpText>")]
    pub(super) icmp: Option<Spanned<Words>>,
    /// The differentiated services code point: 0 to 63, `ef`, `cs0` to `cs7`, `af11` to `af43`, or
    /// a list.
    #[schemars(with = "Option<DscpText>")]
    pub(super) dscp: Option<Spanned<Words>>,
    /// The VLAN of the packet's tag: 1 to 4,094, a range, a list, or `none` for no tag.
    #[schemars(with = "Option<VlansText>")]
    pub(super) vlan: Option<Spanned<Words>>,
    /// Source and destination MAC address, or a list.
    #[schemars(with = "Option<MacsText>")]
    pub(super) source_mac: Option<Spanned<Words>>,
    /// Source and destination MAC address, or a list.
    #[schemars(with = "Option<MacsText>")]
    pub(super) destination_mac: Option<Spanned<Words>>,
    /// The network protocol: `arp`, `ipv4`, `ipv6`, a number, a list, or `any`. IPv4 and IPv6 if
    /// not said.
    #[schemars(with = "Option<EthertypeText>")]
    pub(super) ethertype: Option<Spanned<Words>>,
    /// `true`: only packets in fragments, `false`: only whole ones.
    #[schemars(with = "Option<FragmentText>")]
    pub(super) fragment: Option<Spanned<String>>,
    /// What is done: `allow`, `deny` (it ends), `reject` (it ends, and the sender is told), `limit`
    /// (allowed up to a limit), or `log` (allowed, and logged). Required.
    #[schemars(with = "ActionText")]
    pub(super) action: Spanned<String>,
    /// With `limit`: how many packets or bits a second, as `100/s` or `10Mbit/s`.
    #[schemars(with = "Option<LimitText>")]
    pub(super) limit: Option<Spanned<String>>,
    /// With `limit`: how many packets, or bits, at once. What a tenth of a second allows if not
    /// said, but one packet of any length at least.
    #[schemars(with = "Option<BurstText>")]
    pub(super) burst: Option<Spanned<String>>,
    /// Whether packets are logged: `true`, `false`, or a number to log one of so many. `false` if
    /// not said.
    #[schemars(with = "Option<LogText>", extend("default" = false))]
    pub(super) log: Option<Spanned<String>>,
}

/// `one`, `[one, another]` or `{ not: … }`.
pub(in crate::lab) enum SideSpec {
    These(Words),
    Not(Spanned<Words>),
}

impl SideSpec {
    /// Each word with its place; `whole` is that of all of it.
    pub(super) fn places(&self, whole: Location) -> Vec<(&str, Location)> {
        match self {
            Self::These(words) => words.places(whole),
            Self::Not(words) => words.value.places(words.referenced),
        }
    }

    pub(super) fn is_negated(&self) -> bool {
        matches!(self, Self::Not(_))
    }
}

impl<'de> Deserialize<'de> for SideSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SideVisitor)
    }
}

struct SideVisitor;

impl<'de> Visitor<'de> for SideVisitor {
    type Value = SideSpec;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name, a list of names, or what it is not")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<SideSpec, E> {
        Words::deserialize(StrDeserializer::new(word)).map(SideSpec::These)
    }

    // A namespace may be called `1`.
    fn visit_u64<E: Error>(self, word: u64) -> Result<SideSpec, E> {
        self.visit_str(&word.to_string())
    }

    fn visit_i64<E: Error>(self, word: i64) -> Result<SideSpec, E> {
        self.visit_str(&word.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<SideSpec, A::Error> {
        Words::deserialize(SeqAccessDeserializer::new(list)).map(SideSpec::These)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SideSpec, A::Error> {
        const NOT: &str = "not";
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != NOT {
                return Err(A::Error::unknown_field(&key, &[NOT]));
            }
            found = Some(map.next_value()?);
        }
        found.map(SideSpec::Not).ok_or_else(|| A::Error::missing_field(NOT))
    }
}
