//! Daemons that take an interest in every link that appears: what they are set
//! to do with those of labs.
//!
//! They are judged by what runs and by the files that they read. Files show what
//! they would do, not what somebody told them since.

mod daemons;
mod network_manager;
mod networkd;
mod settings;
mod udev;

use std::path::Path;

use self::daemons::Daemon;
use super::finding::Finding;

/// Looks at the daemons that see the calling thread's network namespace, and at
/// their files.
pub(super) fn check() -> Vec<Finding> {
    let running = daemons::running();
    let root = Path::new("/");
    let udev = running.contains(&Daemon::Udev);
    let mut findings = vec![
        network_manager::check(root, running.contains(&Daemon::NetworkManager), udev),
        networkd::check(root, running.contains(&Daemon::Networkd)),
    ];
    findings.extend(udev::check(root, udev));
    findings
}
