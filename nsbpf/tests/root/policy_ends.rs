//! What a policy is for, seen from outside: who reaches whom, what each is told, and what
//! rules count, by whichever way packets take.

mod arena;
mod connections;
mod fragments;
mod matches;
mod packet;
mod sockets;

use nsbpf_common::stats::Way;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("policy_ends::every_match_by_the_bridge", || matches::all(Way::Bridge)),
    ("policy_ends::every_match_by_redirect", || matches::all(Way::Redirect)),
    ("policy_ends::every_match_by_peer", || matches::all(Way::Peer)),
    ("policy_ends::every_match_by_xdp", || matches::all(Way::Xdp)),
    ("policy_ends::every_action_by_the_bridge", || sockets::actions(Way::Bridge)),
    ("policy_ends::every_action_by_redirect", || sockets::actions(Way::Redirect)),
    ("policy_ends::every_action_by_peer", || sockets::actions(Way::Peer)),
    ("policy_ends::every_action_by_xdp", || sockets::actions(Way::Xdp)),
    ("policy_ends::limits_by_the_bridge", || sockets::limits(Way::Bridge)),
    ("policy_ends::limits_by_peer", || sockets::limits(Way::Peer)),
    ("policy_ends::limits_by_xdp", || sockets::limits(Way::Xdp)),
    ("policy_ends::connections_by_the_bridge", || connections::tracked(Way::Bridge)),
    ("policy_ends::connections_by_redirect", || connections::tracked(Way::Redirect)),
    ("policy_ends::connections_by_xdp", || connections::tracked(Way::Xdp)),
    ("policy_ends::fragments_by_the_bridge", || fragments::followed(Way::Bridge)),
    ("policy_ends::fragments_by_redirect", || fragments::followed(Way::Redirect)),
    ("policy_ends::fragments_by_xdp", || fragments::followed(Way::Xdp)),
];
