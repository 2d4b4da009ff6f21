//! Ways that pass the bridge by: as exact as the bridge, and to the same receivers.

pub(crate) mod apart;
pub(crate) mod behaviour;
pub(crate) mod exact;
pub(crate) mod mark;
pub(crate) mod random;
mod side_by_side;
pub(crate) mod stream;
mod tap;

use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;

use crate::engine::settings;

/// What every test has, whose packets take that way.
fn by(way: Way) -> Settings {
    Settings { fastpath: Some(way), ..settings(IngressHook::Tc) }
}
