//! Tests that take root: programs under `BPF_PROG_TEST_RUN` (tier 2) and real
//! topologies (tier 3), each in a mount and a network namespace of its own, and
//! each followed by a look for leaks.
//!
//! Run them one at a time (`--test-threads=1`): loaded programs and maps are
//! visible to the whole machine, so that a leak of one test would be another's.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::unnecessary_wraps,
    reason = "sizes are small, and every test has one type"
)]

mod adopted;
mod attach;
mod bench;
mod check;
mod command;
mod doctor;
mod edits;
mod engine;
mod exact;
mod exec;
mod expedite;
mod fastpath;
mod filters;
mod flows;
mod foreign;
mod forwarding;
mod gc;
mod guard;
mod guests;
mod isolation;
mod kill_points;
mod labs;
mod language;
mod leaks;
mod log;
mod offloads;
mod policy;
mod policy_ends;
mod programs;
mod random;
mod ready;
mod refusals;
mod routed;
mod routed_host;
mod run;
mod tables;
mod tracer;
mod truth;
mod upgrade;
mod uplink;
mod verbs;
mod vlan;
mod wiring;
mod world;

use libtest_mimic::{Arguments, Failed, Trial};

type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() {
    let arguments = Arguments::from_args();
    let why_not = why_not();
    let tests: Vec<Test> = [
        programs::TESTS,
        engine::TESTS,
        run::TESTS,
        ready::TESTS,
        refusals::TESTS,
        truth::TESTS,
        attach::TESTS,
        upgrade::TESTS,
        exact::TESTS,
        flows::TESTS,
        fastpath::exact::TESTS,
        fastpath::behaviour::TESTS,
        fastpath::apart::TESTS,
        fastpath::stream::TESTS,
        fastpath::mark::TESTS,
        fastpath::random::TESTS,
        guard::TESTS,
        routed::TESTS,
        routed_host::TESTS,
        expedite::TESTS,
        foreign::TESTS,
        log::TESTS,
        offloads::TESTS,
        policy::TESTS,
        policy_ends::TESTS,
        verbs::TESTS,
        language::TESTS,
        wiring::TESTS,
        adopted::TESTS,
        edits::TESTS,
        guests::TESTS,
        random::TESTS,
        check::TESTS,
        labs::TESTS,
        gc::TESTS,
        exec::TESTS,
        doctor::TESTS,
        filters::TESTS,
        forwarding::TESTS,
        tables::TESTS,
        uplink::TESTS,
        vlan::TESTS,
        kill_points::TESTS,
        bench::TESTS,
    ]
    .concat();
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            let trial = Trial::test(name, move || isolation::isolated(test));
            let here = why_not
                .or_else(|| doctor::why_not(name))
                .or_else(|| filters::why_not(name))
                .or_else(|| routed_host::why_not(name))
                .or_else(|| tables::why_not(name))
                .or_else(|| attach::why_not(name))
                .or_else(|| vlan::why_not(name))
                .or_else(|| offloads::why_not(name))
                .or_else(|| fastpath::behaviour::why_not(name))
                .or_else(|| labs::why_not(name))
                .or_else(|| bench::why_not(name));
            match here {
                Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
                None => trial,
            }
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Why the tests cannot run here.
fn why_not() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let ip = std::process::Command::new("ip").arg("-V").output();
    if !ip.is_ok_and(|ip| ip.status.success()) {
        return Some("needs iproute2");
    }
    None
}
