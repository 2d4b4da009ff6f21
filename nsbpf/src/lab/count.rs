//! Repetition: `count: 100` on a namespace means a hundred of them.

use std::collections::{BTreeMap, HashMap};

use serde_saphyr::{Location, Spanned};

use super::name::{Name, NameError};
use super::problem::Problem;
use super::spec::{Entries, NamespaceSpec};

/// Namespaces of a lab at most: one with more interfaces than port numbers cannot
/// be, and a small file should not make a large machine run out of memory.
pub(super) const MAX_NAMESPACES: usize = 1 << 16;

/// A namespace to be: one of its spec, or one of several.
pub(super) struct Member<'a> {
    pub(super) name: Name,
    pub(super) spec: &'a NamespaceSpec,
}

/// One namespace for each that is wanted, in the order of the file. Those of
/// `web` with a count of 3 are `web1`, `web2` and `web3`.
pub(super) fn expand<'a>(
    namespaces: &'a Entries<NamespaceSpec>,
    problems: &mut Vec<Problem>,
) -> Vec<Member<'a>> {
    let mut members: Vec<Member<'a>> = Vec::new();
    let mut places: HashMap<Name, Location> = HashMap::new();
    for (typed, spec) in &namespaces.0 {
        let place = typed.referenced;
        let names = match &spec.count {
            None => vec![typed.value.clone()],
            Some(count) => {
                refuse_what_is_single(typed.value.as_str(), spec, problems);
                let room = MAX_NAMESPACES - members.len();
                if count.value == 0 || count.value as usize > room {
                    let title = format!("a count of {} is not possible", count.value);
                    let help = format!("1 to {room} here");
                    problems.push(Problem::new(title, count.referenced).help(help));
                    continue;
                }
                (1..=count.value).map(|number| format!("{}{number}", typed.value)).collect()
            }
        };
        for name in names {
            let name = match Name::new(&name) {
                Ok(name) => name,
                Err(why) => {
                    problems.push(Problem::name(&name, "a namespace", place, why));
                    // What else is wrong with it is told as well, once.
                    let Ok(stand_in) = Name::new(&format!("_{}", members.len())) else { break };
                    members.push(Member { name: stand_in, spec });
                    break;
                }
            };
            if let Some(other) = places.insert(name.clone(), place) {
                let title =
                    format!("there is a namespace `{name}` already (line {})", other.line());
                problems.push(Problem::new(title, place).help("give one of them another name"));
                break;
            }
            members.push(Member { name, spec });
        }
    }
    members
}

/// Namespaces of a count, by the name that has it.
pub(super) fn groups(namespaces: &Entries<NamespaceSpec>) -> BTreeMap<String, Vec<Name>> {
    let group = |(typed, spec): &(Spanned<String>, NamespaceSpec)| {
        let most = u32::try_from(MAX_NAMESPACES).unwrap_or(u32::MAX);
        let count = spec.count.as_ref()?.value.min(most);
        let names = (1..=count).map_while(|number| member(&typed.value, number).ok());
        Some((typed.value.clone(), names.collect()))
    };
    namespaces.0.iter().filter_map(group).collect()
}

fn member(group: &str, number: u32) -> Result<Name, NameError> {
    Name::new(&format!("{group}{number}"))
}

/// Several namespaces cannot have what there is one of.
fn refuse_what_is_single(name: &str, spec: &NamespaceSpec, problems: &mut Vec<Problem>) {
    let adopted = [
        spec.netns.as_ref().map(|value| ("netns", value.referenced)),
        spec.pid.as_ref().map(|value| ("pid", value.referenced)),
        spec.container.as_ref().map(|value| ("container", value.referenced)),
    ];
    let interfaces = spec.interfaces.0.iter().flat_map(|(_, interface)| {
        [
            interface.mac.as_ref().map(|value| ("mac", value.referenced)),
            interface.peer.as_ref().map(|value| ("peer", value.referenced)),
        ]
    });
    for (key, place) in adopted.into_iter().chain(interfaces).flatten() {
        let title = format!("`{key}` is of one namespace, and `{name}` has a count");
        let help = "write the namespaces one by one";
        problems.push(Problem::new(title, place).help(help));
    }
    // Addresses that are written out are found to be there twice.
}
