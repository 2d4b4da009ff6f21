//! Packets on their way through the kernel.

use std::thread;
use std::time::Duration;

use rustix::thread::{MembarrierCommand, membarrier};

/// Waits until each packet that was between two hooks of a device has met the second: a
/// processor takes it from one to the other with bottom halves off, which the kernel's RCU
/// waits for, and this call for that (`membarrier`, Linux 6.18).
pub fn wait_for_packets() {
    // Where processors run without ticks it is refused: no packet takes so long.
    const LONG: Duration = Duration::from_millis(50);
    if membarrier(MembarrierCommand::Global).is_err() {
        thread::sleep(LONG);
    }
}
