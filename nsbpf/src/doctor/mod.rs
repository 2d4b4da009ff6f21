//! What on this host would eat or slow the traffic of labs.
//!
//! Each check reads, and leaves judging to functions that take what was read. It
//! looks from where it is: at the network namespace of the thread that calls it,
//! which is where labs put their bridges. It changes nothing; what has to be
//! tried is tried in a namespace made for that. (The kernel may load its modules for
//! a trial.)

mod fast_paths;
mod finding;
mod kernel;
mod limits;
mod lockdown;
mod managers;
mod packet_filter;
mod queues;
mod reading;
mod routing;

pub use finding::{Finding, Severity};

/// Makes every check; the worst findings come first.
#[must_use]
pub fn examine() -> Vec<Finding> {
    let checks = [
        packet_filter::check,
        fast_paths::check,
        routing::check,
        queues::check,
        kernel::check,
        lockdown::check,
        limits::check,
        managers::check,
    ];
    let mut findings: Vec<Finding> = checks.into_iter().flat_map(|check| check()).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}
