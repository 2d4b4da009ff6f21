//! What the process and the kernel must be able to do, checked before anything
//! is touched.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::exit::Unsupported;
use crate::datapath;
use crate::state::IngressHook;

/// Capabilities that building a lab takes. `CAP_SYS_ADMIN` covers namespaces and
/// mounts, and `CAP_BPF` where the kernel has it.
const NEEDED: [(CapabilitySet, &str, &str); 2] = [
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "to make links and attach programs"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "to make namespaces and load programs"),
];

/// Fails unless this process may build labs and the kernel runs the eBPF that they
/// take; lifts the process's limits.
pub(super) fn prepare_for(ingress: Option<IngressHook>) -> Result<(), Unsupported> {
    prepare()?;
    match ingress {
        Some(ingress) => Ok(datapath::probe(ingress)?),
        None => Ok(()),
    }
}

/// Fails unless this process may look at labs and change them; lifts its limits.
pub(super) fn prepare() -> Result<(), Unsupported> {
    check()?;
    raise_limits();
    Ok(())
}

/// Fails without the capabilities, and leaves the limits of the process alone.
pub(super) fn check() -> Result<(), Unsupported> {
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
    Ok(())
}

/// Lifts what would stop a large lab: each namespace takes two file descriptors,
/// and maps may count as locked memory.
fn raise_limits() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where it is not allowed, small labs still work.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    raise_memory_limit();
}

/// Lifts the limit that keeps kernels before 5.11 from making maps.
pub(super) fn raise_memory_limit() {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}
