//! Kernel settings of a namespace.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde_saphyr::Spanned;

use super::problem::{Problem, listed};
use super::spec::{Entries, SysctlSpec};

/// The name of a setting under `net.`, with slashes: `net/ipv4/ip_forward`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SysctlName(Arc<str>);

impl SysctlName {
    /// Both switches that make a namespace a router.
    pub const FORWARDING: [&'static str; 2] =
        ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

    /// Checks a name. As sysctl(8) has it, the first separator decides: names with
    /// dots may have slashes inside a part (`net.ipv4.conf.eth0/1.rp_filter`).
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let dots_first = name.find('.') < name.find('/') || !name.contains('/');
        let path: String = if dots_first && name.contains('.') {
            name.chars()
                .map(|character| match character {
                    '.' => '/',
                    '/' => '.',
                    other => other,
                })
                .collect()
        } else {
            name.to_owned()
        };
        let known =
            |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        let parts: Vec<&str> = path.split('/').collect();
        let sound = parts.len() > 2
            && parts.first() == Some(&"net")
            && parts.iter().all(|part| !part.is_empty() && *part != "." && *part != "..")
            && parts.iter().all(|part| part.chars().all(known));
        sound.then(|| Self(path.into()))
    }

    /// The name, with slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The interface that it is a setting of, as in `net/ipv4/conf/eth0/rp_filter`.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self.0.split('/').collect::<Vec<_>>().as_slice() {
            [_, "ipv4" | "ipv6", "conf" | "neigh", interface, _]
                if !["all", "default", "lo"].contains(interface) =>
            {
                Some(interface)
            }
            _ => None,
        }
    }
}

impl fmt::Display for SysctlName {
    /// With dots, as sysctl(8) prints it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted: String = self
            .0
            .chars()
            .map(|character| match character {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect();
        formatter.pad(&dotted)
    }
}

/// Checks the settings of a namespace; `router` says that it forwards.
pub(super) fn check(
    spec: &Entries<SysctlSpec>,
    router: Option<&Spanned<bool>>,
    interfaces: &[&str],
    problems: &mut Vec<Problem>,
) -> BTreeMap<SysctlName, String> {
    let mut sysctls = BTreeMap::new();
    if router.is_some_and(|router| router.value) {
        let switches = SysctlName::FORWARDING.iter().filter_map(|name| SysctlName::new(name));
        sysctls.extend(switches.map(|name| (name, "1".to_owned())));
    }
    if spec.0.is_empty() {
        return sysctls;
    }
    let known: HashSet<&str> = interfaces.iter().copied().collect();
    for (key, SysctlSpec(value)) in &spec.0 {
        let mut problem = |title: String, help: String| {
            problems.push(Problem::new(title, key.referenced).help(help));
        };
        let Some(name) = SysctlName::new(&key.value) else {
            let title = format!("`{}` is no setting of a network namespace", key.value);
            problem(title, "write `net.ipv4.ip_forward`, say: what begins with `net.`".to_owned());
            continue;
        };
        if let Some(interface) = name.interface().filter(|name| !known.contains(name)) {
            let title = format!("`{name}` is of `{interface}`, which the namespace does not have");
            problem(title, format!("its interfaces are {}", listed(interfaces)));
            continue;
        }
        // What the kernel gives back is compared: white space is its own.
        let words: Vec<&str> =
            value.iter().flat_map(|value| value.split_ascii_whitespace()).collect();
        if words.is_empty() || words.iter().any(|word| !word.chars().all(|c| c.is_ascii_graphic()))
        {
            problem(format!("`{name}` has no value"), "write `1`, say".to_owned());
            continue;
        }
        if let Some(other) = sysctls.insert(name.clone(), words.join(" ")) {
            let title = format!("`{name}` is {other} already");
            let by_router = SysctlName::FORWARDING.contains(&name.as_str());
            let help = if by_router { "`router: true` says so" } else { "say it once" };
            problem(title, help.to_owned());
        }
    }
    sysctls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_dots_or_slashes() {
        for (typed, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
            ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ] {
            let name = SysctlName::new(typed).unwrap();
            assert_eq!(name.as_str(), path);
            assert_eq!(SysctlName::new(&name.to_string()), Some(name));
        }
        for typed in [
            "",
            "net",
            "net.x",
            "kernel.panic.x",
            "net.ipv4.//.kernel",
            "net/../kernel/panic",
            "net/ipv4/..",
            "net.ipv4..x",
            "net/ipv4/a b",
        ] {
            assert_eq!(SysctlName::new(typed), None, "{typed}");
        }
    }

    #[test]
    fn some_are_of_an_interface() {
        let interface = |name: &str| SysctlName::new(name).unwrap().interface().map(str::to_owned);
        assert_eq!(interface("net.ipv4.conf.eth0.rp_filter").as_deref(), Some("eth0"));
        assert_eq!(interface("net.ipv6.conf.all.forwarding"), None);
        assert_eq!(interface("net.ipv4.ip_forward"), None);
    }
}
