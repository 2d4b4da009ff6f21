//! Words for ends of packets: addresses, and names of a lab.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::matches::{Place, Side, Word};
use super::spec::SideSpec;
use crate::lab::problem::{Problem, nearest_if_seen};
use crate::lab::spec::Entries;
use crate::lab::words::Words;
use crate::lab::{Bridge, Interface, InterfaceId, Name, Namespace};

/// The word for everything.
const ANY: &str = "any";

/// Namespaces of a count, by the name that has it.
pub(in crate::lab) type Groups = BTreeMap<String, Vec<Name>>;

/// What a lab has that words may mean.
#[derive(Clone, Copy)]
pub(in crate::lab) struct Known<'a> {
    pub(in crate::lab) namespaces: &'a [Namespace],
    pub(in crate::lab) bridges: &'a [Bridge],
    pub(in crate::lab) groups: &'a Groups,
}

/// What words mean. Those that were asked for once are known.
pub(super) struct Places<'a> {
    known: Known<'a>,
    namespaces: HashMap<&'a str, &'a Namespace>,
    interfaces: HashMap<(&'a str, &'a str), &'a Interface>,
    own: HashMap<&'a str, Vec<IpAddr>>,
    sets: HashMap<String, Arc<[Place]>>,
    found: HashMap<String, Word>,
}

impl<'a> Places<'a> {
    pub(super) fn new(known: Known<'a>) -> Self {
        let named = known.namespaces.iter().map(|it| (it.name.as_str(), it)).collect();
        let mut own: HashMap<&str, Vec<IpAddr>> = HashMap::new();
        for bridge in known.bridges {
            if let Some(namespace) = &bridge.namespace {
                let addresses = bridge.addresses.iter().map(IpNet::addr);
                own.entry(namespace.as_str()).or_default().extend(addresses);
            }
        }
        let interfaces = known.namespaces.iter().flat_map(|namespace| {
            let of = |it: &'a Interface| ((namespace.name.as_str(), it.name.as_str()), it);
            namespace.interfaces.iter().map(of)
        });
        let (interfaces, sets) = (interfaces.collect(), HashMap::new());
        Self { known, namespaces: named, interfaces, own, sets, found: HashMap::new() }
    }

    /// Checks the sets, which may be used from then on.
    pub(super) fn define(
        &mut self,
        sets: &Entries<Option<Spanned<Words>>>,
        problems: &mut Vec<Problem>,
    ) {
        let names: HashSet<&str> = sets.0.iter().map(|(name, _)| name.value.as_str()).collect();
        let mut defined = HashMap::new();
        for (name, words) in &sets.0 {
            let place = name.referenced;
            if let Some(problem) = self.why_no_set(&name.value, place) {
                problems.push(problem);
            }
            let words = words.as_ref().map(|words| words.value.places(words.referenced));
            let words = words.unwrap_or_default();
            if words.is_empty() {
                let title = format!("the set `{}` has no member", name.value);
                let help = "write some, as `[192.0.2.0/24, vnet0]`";
                problems.push(Problem::new(title, place).help(help));
            }
            let mut members = Vec::new();
            for (word, place) in words {
                if names.contains(word) && !self.is_of_lab(word) {
                    let title = format!("`{word}` is a set, and sets have no sets in them");
                    problems.push(Problem::new(title, place).help("write what is in it"));
                } else if word == ANY {
                    let title = "`any` is no member of a set".to_owned();
                    let help = "write `any` where the set is used";
                    problems.push(Problem::new(title, place).help(help));
                } else if let Some(word) = self.word(word, place, problems) {
                    members.extend(word.places.iter().cloned());
                }
            }
            defined.insert(name.value.clone(), members.into());
        }
        self.sets = defined;
    }

    fn is_of_lab(&self, word: &str) -> bool {
        self.namespaces.contains_key(word) || self.known.groups.contains_key(word)
    }

    fn why_no_set(&self, name: &str, place: Location) -> Option<Problem> {
        let taken = if name == ANY {
            "the word for everything"
        } else if name.parse::<IpAddr>().is_ok() {
            "an address"
        } else if self.namespaces.contains_key(name) {
            "a namespace"
        } else if self.known.groups.contains_key(name) {
            "a group of namespaces"
        } else {
            let why = Name::new(name).err()?;
            return Some(Problem::name(name, "a set", place, why));
        };
        let title = format!("`{name}` is {taken}, and cannot be a set as well");
        Some(Problem::new(title, place).help("give the set another name"))
    }

    /// What one side of a rule asks: `Ok(None)` if that may be anything.
    pub(super) fn side(
        &mut self,
        key: &str,
        said: Option<&Spanned<SideSpec>>,
        problems: &mut Vec<Problem>,
    ) -> Option<Side> {
        let said = said?;
        let place = said.referenced;
        let negated = said.value.is_negated();
        let typed = said.value.places(place);
        if typed.is_empty() {
            let title = format!("`{key}` names nobody");
            let help = "name a namespace, or write `any`";
            problems.push(Problem::new(title, place).help(help));
        }
        if typed.iter().any(|(word, _)| *word == ANY) {
            if negated {
                let title = "nothing is not `any`".to_owned();
                let help = "the rule is about no packet: leave it out";
                problems.push(Problem::new(title, place).help(help));
            }
            return None;
        }
        let words: Vec<Word> = typed
            .into_iter()
            .filter_map(|(word, place)| self.word(word, place, problems))
            .collect();
        Some(Side { negated, words })
    }

    fn word(&mut self, word: &str, place: Location, problems: &mut Vec<Problem>) -> Option<Word> {
        if let Some(known) = self.found.get(word) {
            return Some(known.clone());
        }
        let places = match self.sets.get(word) {
            Some(set) => Arc::clone(set),
            None => match self.meaning(word, place, problems) {
                Ok(places) => places.into(),
                Err(problem) => {
                    problems.push(problem);
                    return None;
                }
            },
        };
        let known = Word { text: word.into(), places };
        self.found.insert(word.to_owned(), known.clone());
        Some(known)
    }

    fn meaning(
        &self,
        word: &str,
        place: Location,
        problems: &[Problem],
    ) -> Result<Vec<Place>, Problem> {
        if let Some(net) = address(word, place)? {
            return Ok(vec![Place::Net(net)]);
        }
        let (name, interface) = match word.split_once('/') {
            None => (word, None),
            Some((name, interface)) => (name, Some(interface)),
        };
        let namespaces = self.namespaces_of(name, place, problems)?;
        let Some(interface) = interface else {
            return self.all_of(&namespaces).ok_or_else(|| {
                Problem::new(format!("`{name}` has no interface, so no packet is its"), place)
            });
        };
        // The members of a group are alike.
        let first = namespaces.first().map_or(name, |it| it.name.as_str());
        if !self.interfaces.contains_key(&(first, interface)) {
            let title = format!("namespace `{name}` has no interface `{interface}`");
            let interfaces = namespaces.first().into_iter().flat_map(|it| &it.interfaces);
            let names = interfaces.map(|it| it.name.as_str());
            let help = nearest_if_seen(problems, interface, names);
            return Err(Problem::new(title, place).help_if(help));
        }
        let found = namespaces.iter().filter_map(|namespace| {
            let interface = self.interfaces.get(&(namespace.name.as_str(), interface))?;
            Some(id(namespace, interface))
        });
        Ok(vec![Place::Interfaces(found.collect())])
    }

    /// All interfaces of namespaces, and their addresses on bridges that are in them.
    fn all_of(&self, namespaces: &[&Namespace]) -> Option<Vec<Place>> {
        let own = namespaces.iter().filter_map(|it| self.own.get(it.name.as_str())).flatten();
        let mut places: Vec<Place> = own.map(|address| Place::Own(*address)).collect();
        let interfaces: Arc<[InterfaceId]> = namespaces
            .iter()
            .flat_map(|namespace| namespace.interfaces.iter().map(|it| id(namespace, it)))
            .collect();
        if !interfaces.is_empty() {
            places.push(Place::Interfaces(interfaces));
        }
        (!places.is_empty()).then_some(places)
    }

    /// The namespace of that name, or those of the group.
    fn namespaces_of(
        &self,
        name: &str,
        place: Location,
        problems: &[Problem],
    ) -> Result<Vec<&'a Namespace>, Problem> {
        match (self.namespaces.get(name), self.known.groups.get(name)) {
            (Some(namespace), None) => Ok(vec![*namespace]),
            (None, Some(group)) => {
                let members = group.iter().filter_map(|name| self.namespaces.get(name.as_str()));
                Ok(members.copied().collect())
            }
            (Some(_), Some(_)) => {
                let title = format!("`{name}` is a namespace, and namespaces of a count as well");
                let help = "give one of them another name, or write its interfaces";
                Err(Problem::new(title, place).help(help))
            }
            (None, None) => {
                let title = format!("there is no namespace, group or set `{name}`");
                let names = self.namespaces.keys().copied();
                let groups = self.known.groups.keys().map(String::as_str);
                let sets = self.sets.keys().map(String::as_str);
                // Nobody may be there to see them.
                let names = std::iter::once_with(|| {
                    let mut names: Vec<&str> = names.chain(groups).chain(sets).collect();
                    names.sort_unstable();
                    names
                });
                let names = names.flatten();
                let help = nearest_if_seen(problems, name, names);
                Err(Problem::new(title, place).help_if(help))
            }
        }
    }
}

fn id(namespace: &Namespace, interface: &Interface) -> InterfaceId {
    InterfaceId { namespace: namespace.name.clone(), interface: interface.name.clone() }
}

/// The addresses that a word means, if it is one for addresses.
fn address(word: &str, place: Location) -> Result<Option<IpNet>, Problem> {
    let net = match word.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => match word.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => return Ok(None),
        },
    };
    if let IpAddr::V6(address) = net.addr()
        && let Some(v4) = address.to_ipv4_mapped()
    {
        let title = format!("`{word}` is IPv4 in disguise");
        return Err(Problem::new(title, place).help(format!("write `{v4}`")));
    }
    if net != net.trunc() {
        let title = format!("`{word}` is no subnet: bits behind its prefix are set");
        let help =
            format!("write `{}` for the subnet, `{}` for the address", net.trunc(), net.addr());
        return Err(Problem::new(title, place).help(help));
    }
    Ok(Some(net))
}
