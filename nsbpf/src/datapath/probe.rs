//! What the kernel must be able to load.

use aya::maps::MapType;
use aya::programs::ProgramType;

use super::link::tcx_programs;
use crate::state::{HookPoint, IngressHook};

/// Something that the kernel does not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this kernel does not load {what}. It needs Linux 5.10 or later with {options}, and neither lockdown nor a seccomp filter that forbids bpf(2)."
)]
pub struct Missing {
    what: &'static str,
    options: &'static str,
}

/// Fails unless the kernel loads all that the datapath is made of: tried, not
/// guessed from its version.
pub fn probe(ingress: IngressHook) -> Result<(), Missing> {
    let lacks = |what, options| Err(Missing { what, options });
    if !aya::sys::is_map_supported(MapType::PerCpuArray).unwrap_or(false) {
        return lacks("eBPF maps", "CONFIG_BPF_SYSCALL=y");
    }
    let loads = |kind| aya::sys::is_program_supported(kind).unwrap_or(false);
    if !loads(ProgramType::SchedClassifier) {
        return lacks("eBPF programs for tc", "CONFIG_BPF_SYSCALL=y and CONFIG_NET_CLS_BPF");
    }
    if ingress != IngressHook::Tc && !loads(ProgramType::Xdp) {
        return lacks("XDP programs", "CONFIG_BPF_SYSCALL=y");
    }
    Ok(())
}

/// Whether the kernel has TCX: asks it for the TCX programs of the loopback interface.
/// Call it in a namespace that goes away.
pub fn probe_tcx() -> std::io::Result<()> {
    const LOOPBACK: u32 = 1;
    tcx_programs(LOOPBACK, HookPoint::TcIngress).map(drop)
}
