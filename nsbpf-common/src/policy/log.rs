//! What is told of a packet that is logged.

use super::Decision;
use crate::abi::abi;
use crate::flow::FlowKey;

/// A packet that a rule decided on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LogRecord {
    /// When it came, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Its flow; of a packet that is of none, nothing.
    pub key: FlowKey,
    /// The generation of the policy.
    pub generation: u64,
    /// What was decided.
    pub decision: Decision,
    /// Bytes on a wire.
    pub bytes: u32,
    /// Destination and source MAC address, as numbers.
    pub macs: [u64; 2],
    /// Ethernet protocol number.
    pub ethertype: u16,
    /// The port that it came in by, or [`OUTSIDE`](crate::pair::OUTSIDE).
    pub port: u16,
    /// The sender among the ends of the key.
    pub direction: u8,
    /// TCP flags; 0 of what is no TCP.
    pub tcp_flags: u8,
    /// 1 if the packet ended, 0 if it went on.
    pub dropped: u8,
    /// Nothing.
    pub reserved: u8,
}

abi!(LogRecord, size = 96, align = 8);
