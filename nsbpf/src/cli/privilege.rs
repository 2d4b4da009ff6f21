//! What the process and the kernel must be able to do, checked before anything
//! is touched.

use std::collections::BTreeSet;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::exit::Unsupported;
use crate::datapath;
use crate::state::IngressHook;
use crate::store::Store;

/// Capabilities that building a lab takes. `CAP_SYS_ADMIN` covers namespaces and
/// mounts, and `CAP_BPF` where the kernel has it.
const NEEDED: [(CapabilitySet, &str, &str); 2] = [
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "to make links and attach programs"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "to make namespaces and load programs"),
];

/// Fails unless this process may build that lab and the kernel runs the eBPF that
/// it takes; lifts the process's limits.
pub(super) fn prepare_for(
    store: &Store,
    hooks: Option<&BTreeSet<IngressHook>>,
) -> Result<(), Unsupported> {
    prepare()?;
    let Some(hooks) = hooks else { return Ok(()) };
    // Trying loads something. What the lab has loaded already proves as much, and
    // a lab that is up as wanted sees no write at all.
    let loaded = datapath::observe(store).map(|(datapath, _)| datapath.ingress);
    if loaded.is_none() && hooks.is_empty() {
        datapath::probe(IngressHook::default())?;
    }
    for hook in hooks.difference(&loaded.unwrap_or_default()) {
        datapath::probe(*hook)?;
    }
    Ok(())
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
