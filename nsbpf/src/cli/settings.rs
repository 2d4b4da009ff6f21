//! What a lab is brought up with, besides what it says.

use std::collections::BTreeSet;

use clap::Args;
use nsbpf_common::stats::Way;

use super::exit::{Unsupported, Usage};
use crate::apply::{self, Wish};
use crate::datapath::OBJECT_DIGEST;
use crate::lab::Lab;
use crate::plan::{DEFAULT_FLOWS, PlanError, Settings, ingress_hooks};
use crate::state::{Attach, IngressHook};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Where packets from a namespace are counted
    #[arg(long, value_enum, default_value_t)]
    hook: HookArg,
    /// How programs are attached to tc hooks
    #[arg(long, value_enum, default_value_t)]
    attach: AttachArg,
    /// How packets travel over bridges, whatever the lab says of all: its interfaces may
    /// say otherwise [possible values: bridge, redirect, peer, xdp]
    #[arg(long, value_name = "WAY", value_parser = fastpath)]
    fastpath: Option<Way>,
    /// Flows that there is room for; 0 tracks none
    #[arg(long, value_name = "NUMBER", default_value_t = DEFAULT_FLOWS,
        value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_FLOWS)))]
    flows: u32,
    /// Have the kernel half log what it cannot count, for `nsbpf log`; -vv does too
    #[arg(long)]
    kernel_log: bool,
}

/// Flows at most: 4 GiB of memory.
const MAX_FLOWS: u32 = 1 << 24;

/// A fast path, by its name.
pub(super) fn fastpath(text: &str) -> Result<Way, String> {
    let way = Way::ALL.into_iter().find(|way| way.name() == text);
    way.ok_or_else(|| "it is `bridge`, `redirect`, `peer` or `xdp`".to_owned())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum HookArg {
    /// At tc ingress
    #[default]
    Tc,
    /// At native XDP
    Xdp,
    /// At generic XDP, for comparison
    XdpGeneric,
    /// Nowhere: the kernel is left to itself
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum AttachArg {
    /// By TCX where the kernel has it and its waits can be hurried, else by clsact
    #[default]
    Auto,
    /// By a filter of the clsact queueing discipline
    Clsact,
    /// By a TCX link
    Tcx,
}

impl SettingsArgs {
    /// Where packets from a namespace are counted; `None` for nowhere.
    pub(super) fn ingress(&self) -> Option<IngressHook> {
        match self.hook {
            HookArg::Tc => Some(IngressHook::Tc),
            HookArg::Xdp => Some(IngressHook::Xdp),
            HookArg::XdpGeneric => Some(IngressHook::XdpGeneric),
            HookArg::None => None,
        }
    }

    /// Where packets of a lab's interfaces meet the datapath; `None` without one.
    pub(super) fn hooks(&self, lab: &Lab) -> Option<BTreeSet<IngressHook>> {
        self.ingress().map(|hook| ingress_hooks(lab, hook, self.fastpath))
    }

    /// Whether the kernel half is to log.
    pub(super) fn logs(&self) -> bool {
        self.kernel_log || log::log_enabled!(log::Level::Debug)
    }

    /// Refuses what a lab's policy cannot do without, before anything is touched.
    pub(super) fn check_for(&self, lab: &Lab) -> Result<(), Usage> {
        let missing = match (&lab.policy, self.ingress(), self.flows) {
            (Some(_), None, _) => PlanError::PolicyWithoutDatapath,
            (Some(_), Some(_), 0) => PlanError::PolicyWithoutFlows,
            _ => return Ok(()),
        };
        Err(Usage(missing.to_string()))
    }

    /// Refuses what contradicts itself, before anything is touched.
    pub(super) fn check(&self) -> Result<(), Usage> {
        if let (None, Some(way)) = (self.ingress(), self.fastpath)
            && way != Way::Bridge
        {
            return Err(Usage(format!(
                "`--hook none` attaches no programs, and `--fastpath {}` needs them: leave one of both out",
                way.name()
            )));
        }
        Ok(())
    }

    /// What is meant for that lab: how to attach may have to be found out.
    ///
    /// # Errors
    /// This kernel knows no such way.
    pub(super) fn settings(&self, store: &Store) -> Result<Settings, Unsupported> {
        let ingress = self.ingress();
        let wish = match self.attach {
            AttachArg::Auto => Wish::Any,
            AttachArg::Clsact => Wish::Only(Attach::Clsact),
            AttachArg::Tcx => Wish::Only(Attach::Tcx),
        };
        let attach = match ingress {
            Some(_) => apply::choose_way(store, wish)?,
            None => Attach::default(),
        };
        Ok(Settings {
            ingress,
            attach,
            object: OBJECT_DIGEST.to_owned(),
            fastpath: self.fastpath,
            flows: self.flows,
            log: self.logs(),
            rules_file: None,
        })
    }
}
