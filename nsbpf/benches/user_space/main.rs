//! What user space costs the processor, by criterion: labs, plans and reports, and what is
//! shared with the kernel half: the packet parser, flow keys, the classifier.
//!
//! It takes neither root nor the kernel. What packets pay in the kernel, and what a whole
//! command takes, `cargo xtask bench` measures.
//!
//! One executable, because each would be linked with all of the library.

mod bridged;
mod classifier;
mod flow;
mod frames;
mod json;
mod lab;
mod packet;
mod plan;
mod policy;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // Two minutes are more than this takes in all; arguments go before it.
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    packet::bench(&mut criterion);
    flow::bench(&mut criterion);
    classifier::bench(&mut criterion);
    lab::bench(&mut criterion);
    plan::bench(&mut criterion);
    policy::bench(&mut criterion);
    json::bench(&mut criterion);
    criterion.final_summary();
}
