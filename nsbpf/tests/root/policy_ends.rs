//! What a policy is for, seen from outside: who reaches whom, what each is told, and what
//! rules count, by whichever way packets take.

mod arena;
mod connections;
mod counted;
mod crossings;
mod differential;
mod ends;
mod evicted;
mod fragments;
mod hidden;
mod matches;
mod packet;
mod sockets;
mod swapped;

use libtest_mimic::Failed;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;

use crate::Test;
use crate::engine::settings;

pub(crate) const TESTS: &[Test] = &[
    ("policy_ends::every_match_by_the_bridge", || matches::all(Way::Bridge)),
    ("policy_ends::every_match_by_redirect", || matches::all(Way::Redirect)),
    ("policy_ends::every_match_by_peer", || matches::all(Way::Peer)),
    ("policy_ends::every_match_by_xdp", || matches::all(Way::Xdp)),
    ("policy_ends::every_action_by_the_bridge", || sockets::actions(Way::Bridge)),
    ("policy_ends::every_action_by_redirect", || sockets::actions(Way::Redirect)),
    ("policy_ends::every_action_by_peer", || sockets::actions(Way::Peer)),
    ("policy_ends::every_action_by_xdp", || sockets::actions(Way::Xdp)),
    ("policy_ends::every_action_under_xdp", || actions_under(IngressHook::Xdp, None)),
    ("policy_ends::every_action_under_xdp_by_the_bridge", || {
        actions_under(IngressHook::Xdp, Some(Way::Bridge))
    }),
    ("policy_ends::every_action_under_generic_xdp", || {
        actions_under(IngressHook::XdpGeneric, None)
    }),
    ("policy_ends::limits_by_the_bridge", || sockets::limits(Way::Bridge)),
    ("policy_ends::limits_by_peer", || sockets::limits(Way::Peer)),
    ("policy_ends::limits_by_xdp", || sockets::limits(Way::Xdp)),
    ("policy_ends::connections_by_the_bridge", || connections::tracked(Way::Bridge)),
    ("policy_ends::connections_by_redirect", || connections::tracked(Way::Redirect)),
    ("policy_ends::connections_by_xdp", || connections::tracked(Way::Xdp)),
    ("policy_ends::fragments_by_the_bridge", || fragments::followed(Way::Bridge)),
    ("policy_ends::fragments_by_redirect", || fragments::followed(Way::Redirect)),
    ("policy_ends::fragments_by_xdp", || fragments::followed(Way::Xdp)),
    ("policy_ends::from_by_the_bridge", || ends::by_port(Way::Bridge)),
    ("policy_ends::from_by_peer", || ends::by_port(Way::Peer)),
    ("policy_ends::from_by_xdp", || ends::by_port(Way::Xdp)),
    ("policy_ends::neighbours_under_tc", || ends::neighbours(Way::Redirect)),
    ("policy_ends::neighbours_under_xdp", || ends::neighbours(Way::Xdp)),
    ("policy_ends::through_a_router_by_bridges", || crossings::through_a_router(Way::Bridge)),
    ("policy_ends::through_a_router_by_redirect", || crossings::through_a_router(Way::Redirect)),
    ("policy_ends::through_a_router_by_peer", || crossings::through_a_router(Way::Peer)),
    ("policy_ends::through_a_router_by_xdp", || crossings::through_a_router(Way::Xdp)),
    ("policy_ends::through_the_host_by_bridges", || crossings::through_the_host(Way::Bridge)),
    ("policy_ends::through_the_host_by_redirect", || crossings::through_the_host(Way::Redirect)),
    ("policy_ends::through_the_host_by_peer", || crossings::through_the_host(Way::Peer)),
    ("policy_ends::through_the_host_by_xdp", || crossings::through_the_host(Way::Xdp)),
    ("policy_ends::without_a_bridge_under_tc", || crossings::without_a_bridge(IngressHook::Tc)),
    ("policy_ends::without_a_bridge_under_xdp", || crossings::without_a_bridge(IngressHook::Xdp)),
    ("policy_ends::from_outside_by_bridges", || crossings::from_outside(Way::Bridge)),
    ("policy_ends::from_outside_by_redirect", || crossings::from_outside(Way::Redirect)),
    ("policy_ends::from_outside_by_peer", || crossings::from_outside(Way::Peer)),
    ("policy_ends::from_outside_by_xdp", || crossings::from_outside(Way::Xdp)),
    ("policy_ends::picked_up_by_the_bridge", || evicted::picked_up(Way::Bridge)),
    ("policy_ends::picked_up_by_xdp", || evicted::picked_up(Way::Xdp)),
    ("policy_ends::a_flood_ends_no_connection_by_the_bridge", || evicted::flooded(Way::Bridge)),
    ("policy_ends::a_flood_ends_no_connection_by_xdp", || evicted::flooded(Way::Xdp)),
    ("policy_ends::swapped_at_once_by_the_bridge", || swapped::at_once(Way::Bridge)),
    ("policy_ends::swapped_at_once_by_redirect", || swapped::at_once(Way::Redirect)),
    ("policy_ends::swapped_at_once_by_xdp", || swapped::at_once(Way::Xdp)),
    ("policy_ends::one_policy_or_the_other", || swapped::one_or_the_other(Way::Redirect)),
    ("policy_ends::swapped_under_a_flood_by_the_bridge", || swapped::under_a_flood(Way::Bridge)),
    ("policy_ends::swapped_under_a_flood_by_peer", || swapped::under_a_flood(Way::Peer)),
    ("policy_ends::swapped_under_a_flood_by_xdp", || swapped::under_a_flood(Way::Xdp)),
    ("policy_ends::counted_exactly_by_the_bridge", || counted::by_way(Way::Bridge)),
    ("policy_ends::counted_exactly_by_redirect", || counted::by_way(Way::Redirect)),
    ("policy_ends::counted_exactly_by_peer", || counted::by_way(Way::Peer)),
    ("policy_ends::counted_exactly_by_xdp", || counted::by_way(Way::Xdp)),
    ("policy_ends::the_kernel_decides_as_reading_does", differential::agrees),
    ("policy_ends::nothing_hides_under_tc", || hidden::seen(Way::Redirect)),
    ("policy_ends::nothing_hides_under_xdp", || hidden::seen(Way::Xdp)),
];

fn actions_under(hook: IngressHook, fastpath: Option<Way>) -> Result<(), Failed> {
    sockets::actions_with(&Settings { fastpath, ..settings(hook) })
}
