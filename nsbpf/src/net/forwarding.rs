//! Whether a namespace forwards packets between its interfaces.

use std::io;
use std::path::Path;

/// The switches, IPv4 and IPv6. `/proc/sys/net` shows the namespace of the
/// thread that looks.
const SWITCHES: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// Whether the calling thread's namespace forwards both IPv4 and IPv6, or IPv4
/// where the kernel has no IPv6.
pub(super) fn here() -> io::Result<bool> {
    for switch in present() {
        if std::fs::read_to_string(switch)?.trim() != "1" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the calling thread's namespace forward, or not.
pub(super) fn set_here(forwards: bool) -> io::Result<()> {
    present().try_for_each(|switch| std::fs::write(switch, if forwards { "1" } else { "0" }))
}

fn present() -> impl Iterator<Item = &'static str> {
    SWITCHES.into_iter().filter(|switch| Path::new(switch).exists())
}
