//! What the user typed, with its places in the file.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};

use super::problem::{Problem, nearest};
use super::words::Words;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabSpec {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) bridges: Entries<BridgeSpec>,
    pub(super) namespaces: Entries<NamespaceSpec>,
    #[serde(default)]
    pub(super) expect: Vec<ExpectSpec>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BridgeSpec {
    pub(super) namespace: Option<Spanned<String>>,
    pub(super) mtu: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) stp: bool,
    pub(super) forward_delay: Option<Spanned<u8>>,
    #[serde(default)]
    pub(super) vlan_filtering: bool,
    pub(super) vlan: Option<Spanned<u16>>,
    pub(super) uplink: Option<Spanned<bool>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceSpec {
    pub(super) count: Option<Spanned<u32>>,
    pub(super) netns: Option<Spanned<String>>,
    pub(super) pid: Option<Spanned<u32>>,
    pub(super) container: Option<Spanned<String>>,
    pub(super) router: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) sysctls: Entries<SysctlSpec>,
    #[serde(default)]
    pub(super) routes: Vec<RouteSpec>,
    #[serde(default)]
    pub(super) interfaces: Entries<InterfaceSpec>,
}

/// A value; `None` for a name with nothing behind it.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct SysctlSpec(pub(super) Option<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteSpec {
    pub(super) to: Spanned<String>,
    pub(super) via: Option<Spanned<String>>,
    pub(super) dev: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectSpec {
    pub(super) from: Spanned<Words>,
    pub(super) to: Spanned<Words>,
    pub(super) tcp: Option<Spanned<i64>>,
    pub(super) udp: Option<Spanned<i64>>,
    pub(super) reach: Option<bool>,
    pub(super) because: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InterfaceSpec {
    pub(super) bridge: Option<Spanned<String>>,
    pub(super) peer: Option<Spanned<String>>,
    pub(super) vlan: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) trunk: Vec<Spanned<String>>,
    pub(super) isolated: Option<Spanned<bool>>,
    pub(super) mac: Option<Spanned<String>>,
    pub(super) mtu: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<String>>,
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
        // The excerpt is ours to show.
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(source, options).map_err(|error| explain(&error))
    }
}

/// What a lab looks like, on a line.
const EXAMPLE: &str = "a small lab: \
    {name: a, bridges: {br0: {}}, namespaces: {n0: {interfaces: {eth0: {bridge: br0, addresses: [10.0.0.1/24]}}}}}";

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

fn explain(error: &Error) -> Problem {
    let location = error.location().unwrap_or(Location::UNKNOWN);
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            Problem::new(format!("unknown key `{field}`"), location)
                .help_if(nearest(field, expected.iter().copied()))
        }
        Error::SerdeMissingField { field, .. } => {
            Problem::new(format!("the key `{field}` is missing"), location).help(EXAMPLE)
        }
        Error::Eof { .. } => {
            Problem::new("the file ends before the lab does".to_owned(), location).help(EXAMPLE)
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            Problem::new(format!("`{key}` is there twice"), location)
                .label("this one is the second")
        }
        Error::Unexpected { expected, .. } => {
            Problem::new(describe(expected).to_owned(), location).help(EXAMPLE)
        }
        Error::MultipleDocuments { .. } => {
            let title = "a second lab begins here".to_owned();
            Problem::new(title, location).help("a file holds one lab: give this one its own")
        }
        Error::NullIntoString { .. } => Problem::new("the value is missing".to_owned(), location),
        other => {
            let text = other.to_string();
            let title = text.split(" at line ").next().unwrap_or(&text);
            Problem::new(title.trim_end_matches([' ', ':', ',']).to_owned(), location)
        }
    }
}
