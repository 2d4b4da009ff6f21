//! What is seen of a lab that is up: counters and round-trip times, as plain
//! reports that a command renders.

pub mod pings;
pub mod stats;
pub mod topology;
