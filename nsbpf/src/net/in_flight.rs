//! Packets on their way through the kernel.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{MembarrierCommand, membarrier};

/// No packet waits for its processor longer.
const LONG: Duration = Duration::from_millis(50);
/// The column of `softnet_stat` with the packets that wait for a processor, in
/// hexadecimal (`softnet_seq_show`, Linux 6.18; since 5.10).
const BACKLOG: usize = 11;

/// Waits until each packet that was between two hooks of a device has met the second. A
/// processor takes it from one to the other with bottom halves off, which the kernel's RCU
/// waits for, and `membarrier` for that; but for those that wait in its backlog, where a
/// veth end puts them that receives without NAPI (`netif_rx`).
pub fn wait() {
    let deadline = Instant::now() + LONG;
    let mut waiting = backlogs();
    while waiting.contains(&true) && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(200));
        for (before, now) in waiting.iter_mut().zip(backlogs()) {
            *before &= now;
        }
    }
    // Where processors run without ticks it is refused.
    if membarrier(MembarrierCommand::Global).is_err() {
        thread::sleep(LONG);
    }
}

/// Whether packets wait for each processor.
fn backlogs() -> Vec<bool> {
    let all = fs::read_to_string("/proc/thread-self/net/softnet_stat").unwrap_or_default();
    let waits = |line: &str| {
        let length = line.split_ascii_whitespace().nth(BACKLOG);
        length.is_some_and(|length| length.bytes().any(|digit| digit != b'0'))
    };
    all.lines().map(waits).collect()
}
