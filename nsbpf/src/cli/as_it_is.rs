//! A lab that is up, as it is: what a verb starts from that changes one thing about it.

use std::collections::BTreeMap;

use nsbpf_common::stats::Way;

use super::interrupt::interruptible;
use super::progress::Progress;
use super::{lab_file, privilege};
use crate::apply::{self, Converged};
use crate::datapath::OBJECT_DIGEST;
use crate::lab::{InterfaceId, Lab};
use crate::observe::fastpath as paths;
use crate::plan::{Settings, ingress_hooks};
use crate::state::{Datapath, State};
use crate::store::{LabLock, Store};

/// The lab's file as it was kept, with the ways that its interfaces have now and the policy
/// that is in force: bringing that up leaves all as it is.
pub(super) fn as_it_is(
    store: &Store,
    state: &State,
    datapath: &Datapath,
) -> anyhow::Result<(Lab, Settings)> {
    let (mut lab, rules_file) = lab_file::kept_with_rules(store)?;
    set_ways(&mut lab, &paths::ways(state).collect());
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

/// Brings a lab from there to where it is to be, and lets go of it.
pub(super) fn change(
    store: Store,
    lock: LabLock,
    lab: Lab,
    settings: Settings,
) -> anyhow::Result<Converged> {
    let hooks = settings.ingress.map(|hook| ingress_hooks(&lab, hook, None));
    privilege::prepare_for(&store, hooks.as_ref())?;
    let converged = interruptible(move |wish_to_stop| {
        let progress = Progress::new(wish_to_stop);
        anyhow::Ok(apply::converge(&store, &lab, &settings, &progress)?)
    })?;
    drop(lock);
    converged
}

/// Gives interfaces these ways.
pub(super) fn set_ways(lab: &mut Lab, ways: &BTreeMap<InterfaceId, Way>) {
    for namespace in &mut lab.namespaces {
        for interface in &mut namespace.interfaces {
            let (namespace, name) = (namespace.name.clone(), interface.name.clone());
            let id = InterfaceId { namespace, interface: name };
            interface.fastpath = ways.get(&id).copied();
        }
    }
}
