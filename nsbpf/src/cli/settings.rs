//! What a lab is brought up with, besides what it says.

use clap::Args;

use super::exit::Unsupported;
use crate::apply::{self, Wish};
use crate::datapath::OBJECT_DIGEST;
use crate::plan::Settings;
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
    /// Have the kernel half log what it cannot count, for `nsbpf log`; -vv does too
    #[arg(long)]
    kernel_log: bool,
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

    /// Whether the kernel half is to log.
    pub(super) fn logs(&self) -> bool {
        self.kernel_log || log::log_enabled!(log::Level::Debug)
    }

    /// What is meant for that lab: how to attach may have to be found out.
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
        Ok(Settings { ingress, attach, object: OBJECT_DIGEST.to_owned(), log: self.logs() })
    }
}
