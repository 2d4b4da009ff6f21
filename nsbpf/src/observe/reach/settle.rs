//! Waiting until a lab that just came up can talk at all: who must not be
//! reached is found silent too easily by who cannot speak yet.
//!
//! IPv6 begins on an interface when its link is reported up, which the kernel
//! puts off for up to a second (`linkwatch_schedule_work`,
//! `net/core/link_watch.c`; `addrconf_notify`, `net/ipv6/addrconf.c`, Linux
//! 6.18). Its link-local address comes with that.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::net::NetNs;

/// How long it is waited for: an interface that is down never speaks.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until these namespaces are ready.
pub(super) async fn settle(namespaces: impl IntoIterator<Item = &NetNs>) {
    let deadline = Instant::now() + PATIENCE;
    for netns in namespaces {
        while !is_ready(netns).unwrap_or(true) && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
    }
}

/// Whether every interface that has a global IPv6 address has its link-local one.
fn is_ready(netns: &NetNs) -> io::Result<bool> {
    match netns.run(|| fs::read_to_string("/proc/thread-self/net/if_inet6"))? {
        Ok(addresses) => Ok(all_linked(&addresses)),
        // A kernel without IPv6.
        Err(_) => Ok(true),
    }
}

/// Reads `if_inet6`: address, index, prefix length, scope, flags, name.
fn all_linked(addresses: &str) -> bool {
    let with_scope = |wanted: &str| -> BTreeSet<&str> {
        addresses
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(3);
                (words.next()? == wanted).then(|| words.nth(1)).flatten()
            })
            .collect()
    };
    with_scope("00").is_subset(&with_scope("20"))
}

#[cfg(test)]
mod tests {
    use super::all_linked;

    #[test]
    fn an_interface_is_ready_once_it_has_a_link_local_address() {
        let lo = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let global = "fd000000000000000000000000000001 16800000 40 00 82     eth0\n";
        let link = "fe80000000000000006e96fffe800000 16800000 40 20 80     eth0\n";
        assert!(all_linked(""));
        assert!(all_linked(lo));
        assert!(!all_linked(&format!("{lo}{global}")));
        assert!(all_linked(&format!("{lo}{global}{link}")));
        assert!(!all_linked(&format!("{global}{}", link.replace("eth0", "eth1"))));
    }
}
