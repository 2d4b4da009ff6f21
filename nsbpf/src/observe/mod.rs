//! What is seen of a lab that is up: counters, round-trip times, who reaches
//! whom, as plain reports that a command renders.

pub mod datapath;
pub mod expectations;
pub mod fastpath;
pub mod flows;
pub mod matrix;
pub mod pings;
pub mod policy;
pub mod reach;
pub mod stats;
pub mod topology;
pub mod traffic;
