//! Programs of the benchmark: where packets come from, and where they end. No lab
//! loads them.

mod xdp_generator;
mod xdp_sink;
