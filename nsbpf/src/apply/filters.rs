//! Packet filters, looked at where packets of the lab could pass them by. That they
//! cannot be looked at keeps no lab from coming up.

use super::Survey;
use crate::lab::{Lab, Name};
use crate::net::NetNs;
use crate::net::netfilter::{FilterError, on_bridged, on_routed};
use crate::plan;
use crate::state::{FilterChain, Key, Objects, Place, State};

/// Looks at what is filtered in those of the lab's namespaces that forward.
pub(super) fn look_into_routers(lab: &Lab, survey: &mut Survey) {
    let routers = lab.namespaces.iter().filter(|namespace| namespace.forwards());
    let routers = routers.map(|namespace| &namespace.name);
    let found = look_into(routers, survey, on_routed);
    survey.state.filters.extend(found);
}

/// What frames of the lab pass by, and where it is. In a namespace that was not there
/// `before` there is nothing yet.
pub(super) fn passed_by(
    wanted: &Objects,
    before: &State,
    survey: &Survey,
) -> Vec<(Place, Vec<FilterChain>)> {
    let places = plan::fast_places(wanted);
    let host = places.contains(&Place::Host).then(|| {
        let chains = on_bridged().inspect_err(|error| warn(&Place::Host.to_string(), error));
        (Place::Host, chains.unwrap_or_default())
    });
    let namespaces = places.iter().filter_map(|place| match place {
        Place::Host => None,
        Place::Netns(name) => Some(name),
    });
    let had = |name: &&Name| {
        survey.namespaces.get(*name).is_some_and(|opened| opened.adopted)
            || before.objects.contains_key(&Key::Netns((*name).clone()))
    };
    let inside = look_into(namespaces.filter(had), survey, on_bridged);
    let inside = inside.into_iter().map(|(name, chains)| (Place::Netns(name), chains));
    host.into_iter().chain(inside).filter(|(_, chains)| !chains.is_empty()).collect()
}

/// Looks into namespaces that are there, and tells where something is filtered.
fn look_into<'a>(
    names: impl Iterator<Item = &'a Name>,
    survey: &'a Survey,
    look: fn() -> Result<Vec<FilterChain>, FilterError>,
) -> Vec<(Name, Vec<FilterChain>)> {
    let opened = names.filter_map(|name| Some((name, &survey.namespaces.get(name)?.netns)));
    let (names, handles): (Vec<&Name>, Vec<&NetNs>) = opened.unzip();
    if names.is_empty() {
        return Vec::new();
    }
    let looks = NetNs::run_in_each(&handles, |_| look()).unwrap_or_else(|error| {
        warn("the lab's namespaces", &error);
        Vec::new()
    });
    let looks = names.into_iter().zip(looks).map(|(name, chains)| {
        let chains = chains.inspect_err(|error| warn(&format!("namespace {name}"), error));
        (name.clone(), chains.unwrap_or_default())
    });
    looks.filter(|(_, chains)| !chains.is_empty()).collect()
}

fn warn(place: &str, error: &dyn std::error::Error) {
    log::warn!("look at what is filtered in {place}: {error}");
}
