//! What a lab is brought up with, besides what it says.

use clap::Args;

use crate::datapath::OBJECT_DIGEST;
use crate::plan::Settings;
use crate::state::IngressHook;

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Where packets from a namespace are counted
    #[arg(long, value_enum, default_value_t)]
    hook: HookArg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum HookArg {
    /// At tc ingress
    #[default]
    Tc,
    /// At native XDP
    Xdp,
    /// Nowhere: the kernel is left to itself
    None,
}

impl SettingsArgs {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            ingress: match self.hook {
                HookArg::Tc => Some(IngressHook::Tc),
                HookArg::Xdp => Some(IngressHook::Xdp),
                HookArg::None => None,
            },
            object: OBJECT_DIGEST.to_owned(),
            log: log::log_enabled!(log::Level::Debug),
        }
    }
}
