//! What the datapath costs where no packet is: loading, attaching, reading; and what its
//! programs cost by themselves.

pub(super) mod flows;
pub(super) mod policies;
pub(super) mod ports;
pub(super) mod programs;
pub(super) mod runs;
