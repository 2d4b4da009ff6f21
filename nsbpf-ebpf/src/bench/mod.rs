//! Programs of the benchmark: where packets come from, where they end, and what slows
//! them down on purpose. No lab loads them.

mod tc_delay;
mod xdp_generator;
mod xdp_sink;
