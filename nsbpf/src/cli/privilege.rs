//! What the process and the kernel must be able to do, checked before anything
//! is touched.

use aya::maps::MapType;
use aya::programs::ProgramType;
use rustix::thread::{CapabilitySet, capabilities};

use super::exit::Unsupported;

/// Capabilities that building a lab takes. `CAP_SYS_ADMIN` covers namespaces and
/// mounts, and `CAP_BPF` where the kernel has it.
const NEEDED: [(CapabilitySet, &str, &str); 2] = [
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "to make links and attach programs"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "to make namespaces and load programs"),
];

/// Fails unless this process may build labs and the kernel runs eBPF.
pub(super) fn check(xdp: bool) -> Result<(), Unsupported> {
    let have = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    for (capability, name, why) in NEEDED {
        if !have.contains(capability) {
            let root = rustix::process::geteuid().is_root();
            let cure = if root {
                "It runs as root, but without this capability: in a container, start it privileged."
            } else {
                "Run it as root: `sudo nsbpf …`."
            };
            return Err(Unsupported(format!("nsbpf needs {name} {why}. {cure}")));
        }
    }
    check_kernel(xdp)
}

fn check_kernel(xdp: bool) -> Result<(), Unsupported> {
    let lacks = |what: &str, options: &str| {
        Unsupported(format!(
            "this kernel does not load {what}. It needs Linux 5.10 or later with {options}, and neither lockdown nor a seccomp filter that forbids bpf(2)."
        ))
    };
    let map = aya::sys::is_map_supported(MapType::PerCpuArray);
    if !map.unwrap_or(false) {
        return Err(lacks("eBPF maps", "CONFIG_BPF_SYSCALL=y"));
    }
    let classifier = aya::sys::is_program_supported(ProgramType::SchedClassifier);
    if !classifier.unwrap_or(false) {
        return Err(lacks("eBPF programs for tc", "CONFIG_BPF_SYSCALL=y and CONFIG_NET_CLS_BPF"));
    }
    if xdp && !aya::sys::is_program_supported(ProgramType::Xdp).unwrap_or(false) {
        return Err(lacks("XDP programs", "CONFIG_BPF_SYSCALL=y"));
    }
    Ok(())
}
