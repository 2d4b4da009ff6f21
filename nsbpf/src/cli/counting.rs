//! Whether there is anything that a lab counts, and that this build can read.

use anyhow::bail;
use nsbpf_common::ABI_VERSION;

use crate::lab::Name;
use crate::state::{Datapath, Key, Object, State};

/// The datapath of a lab.
pub(super) fn counting<'a>(lab: &Name, state: &'a State) -> anyhow::Result<&'a Datapath> {
    match state.objects.get(&Key::Datapath) {
        Some(Object::Datapath(datapath)) if datapath.abi == ABI_VERSION => Ok(datapath),
        Some(_) => bail!(
            "the counters of `{lab}` are those of another version of nsbpf: `nsbpf up` with its file replaces the programs, and counters start anew"
        ),
        None => bail!(
            "the lab `{lab}` counts nothing: no programs are loaded; `nsbpf up` with its file, without `--hook none`, loads them"
        ),
    }
}
