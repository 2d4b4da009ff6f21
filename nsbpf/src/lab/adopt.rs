//! Namespaces that the lab did not make: where they are found.

use std::path::{Path, PathBuf};

use serde_saphyr::{Location, Spanned};

use super::Source;
use super::problem::Problem;
use super::spec::NamespaceSpec;

/// Bytes of a container's name at most; docker's and podman's ids have 64.
pub(super) const MAX_CONTAINER_BYTES: usize = 128;

/// Where a namespace is found; `None` for one that the lab makes.
pub(super) fn check(spec: &NamespaceSpec, problems: &mut Vec<Problem>) -> Option<Source> {
    let NamespaceSpec { netns, pid, container, router, sysctls, .. } = spec;
    let found: Vec<(Location, Option<Source>)> = [
        netns.as_ref().map(|text| (text.referenced, file(text, problems))),
        pid.as_ref().map(|pid| (pid.referenced, process(pid, problems))),
        container.as_ref().map(|text| (text.referenced, named_container(text, problems))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let [_, (second, _), ..] = found.as_slice() {
        let title = "a namespace is found in one way".to_owned();
        let help = "choose one of `netns`, `pid` and `container`";
        problems.push(Problem::new(title, *second).help(help));
    }
    let (_, source) = found.into_iter().next()?;
    let settings = sysctls.0.first().map(|(name, _)| name.referenced);
    if let Some(place) = router.as_ref().map(|router| router.referenced).or(settings) {
        let title = "the settings of an adopted namespace are its owner's".to_owned();
        let help = "a lab wires such a namespace, and changes nothing else in it";
        problems.push(Problem::new(title, place).help(help));
    }
    source
}

fn file(text: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Source> {
    let value = text.value.as_str();
    if value.starts_with('/') && !value.contains('\0') {
        return Some(Source::File(PathBuf::from(value)));
    }
    if !value.is_empty() && ![".", ".."].contains(&value) && !value.contains(['/', '\0']) {
        return Some(Source::File(Path::new("/run/netns").join(value)));
    }
    let title = format!("`{value}` names no namespace");
    let help = "write a name that `ip netns` shows, or a path that begins with `/`";
    problems.push(Problem::new(title, text.referenced).help(help));
    None
}

fn process(pid: &Spanned<u32>, problems: &mut Vec<Problem>) -> Option<Source> {
    if pid.value == 0 {
        let title = "there is no process 0".to_owned();
        problems.push(Problem::new(title, pid.referenced));
        return None;
    }
    Some(Source::Pid(pid.value))
}

/// The names that podman and docker give: nothing that their command lines could
/// take for an option.
fn named_container(text: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Source> {
    let value = text.value.as_str();
    let sound = value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.len() <= MAX_CONTAINER_BYTES
        && value.chars().all(|one| one.is_ascii_alphanumeric() || "-_.".contains(one));
    if !sound {
        let title = format!("`{value}` cannot be the name of a container");
        let help = "write its name or id, as `podman ps` shows it";
        problems.push(Problem::new(title, text.referenced).help(help));
        return None;
    }
    Some(Source::Container(value.to_owned()))
}
