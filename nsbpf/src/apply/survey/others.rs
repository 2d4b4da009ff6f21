//! What a namespace of others has that could be in the way of what the lab is to
//! put there.

use crate::apply::Cause;
use crate::lab::Name;
use crate::net::{NetNs, Netlink, route};
use crate::state::{Adopted, Key, Object, Place, State};
use crate::store::Store;

use super::links;

/// Looks into a namespace that was found where the lab says, whether the lab has
/// adopted it already or not.
pub(super) fn look(
    store: &Store,
    name: &Name,
    netns: &NetNs,
    state: &mut State,
) -> Result<(), Cause> {
    let mut netlink = netns.run(Netlink::open)??;
    let slot = state.slot();
    let route::Routes { marked, others } = route::list(&mut netlink)?;
    // Other labs may wire it too.
    let ours = |ifindex| slot.is_some_and(|slot| slot.number(ifindex).is_some());
    let of_labs = marked.iter().filter(|route| !ours(route.ifindex)).map(|route| route.to);
    let foreign = others.into_iter().chain(of_labs).map(|to| (name.clone(), to));
    state.foreign_routes.extend(foreign);
    let adopted = Object::Adopted(Adopted { name: name.clone(), inode: netns.inode() });
    if state.objects.get(&Key::Adopted(name.clone())) != Some(&adopted) {
        // What the lab has there when it has not adopted it is nothing to build on.
        let place = Place::Netns(name.clone());
        links::look(store, slot, &place, &mut netlink, state, &mut Vec::new())?;
    }
    Ok(())
}
