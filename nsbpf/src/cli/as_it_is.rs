//! A lab that is up, as it is: what a verb starts from that changes one thing about it.

use std::collections::BTreeMap;

use super::lab_file;
use crate::datapath::OBJECT_DIGEST;
use crate::lab::{InterfaceId, Lab};
use crate::observe::fastpath as paths;
use crate::plan::Settings;
use crate::state::{Datapath, State};
use crate::store::Store;
use nsbpf_common::stats::Way;

/// The lab's file as it was kept, with the ways that its interfaces have now and the policy
/// that is in force: bringing that up leaves all as it is.
pub(super) fn as_it_is(
    store: &Store,
    state: &State,
    datapath: &Datapath,
) -> anyhow::Result<(Lab, Settings)> {
    let (mut lab, rules_file) = lab_file::kept_with_rules(store)?;
    by(&mut lab, &paths::ways(state).collect());
    let settings = Settings {
        ingress: Some(paths::hook(state)),
        attach: datapath.attach,
        object: OBJECT_DIGEST.to_owned(),
        fastpath: None,
        flows: datapath.flows,
        log: datapath.log,
        rules_file,
    };
    Ok((lab, settings))
}

/// Gives interfaces these ways.
pub(super) fn by(lab: &mut Lab, ways: &BTreeMap<InterfaceId, Way>) {
    for namespace in &mut lab.namespaces {
        for interface in &mut namespace.interfaces {
            let (namespace, name) = (namespace.name.clone(), interface.name.clone());
            let id = InterfaceId { namespace, interface: name };
            interface.fastpath = ways.get(&id).copied();
        }
    }
}
