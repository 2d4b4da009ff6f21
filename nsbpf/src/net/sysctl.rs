//! Settings of the calling thread's network namespace: `/proc/sys/net` shows the
//! namespace of the thread that looks.

use std::io;
use std::path::PathBuf;

/// What hands a bridge's packets to the firewall (`br_netfilter`), each family by
/// itself; there only where the module is.
const BRIDGE_NETFILTER: [&str; 3] = [
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-arptables",
];

/// The value of a setting, words with one blank between them; `None` when this
/// kernel or this namespace has no such setting. `name` has slashes.
pub(crate) fn read(name: &str) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path(name)) {
        Ok(value) => Ok(Some(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets a setting.
pub(crate) fn write(name: &str, value: &str) -> io::Result<()> {
    std::fs::write(path(name), value)
}

/// Whether bridges hand their packets to the firewall.
pub(crate) fn bridge_netfilter() -> io::Result<bool> {
    for name in BRIDGE_NETFILTER {
        if read(name)?.is_some_and(|value| value != "0") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has bridges keep their packets from the firewall.
pub(crate) fn no_bridge_netfilter() -> io::Result<()> {
    for name in BRIDGE_NETFILTER {
        if read(name)?.is_some_and(|value| value != "0") {
            write(name, "0")?;
        }
    }
    Ok(())
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}
