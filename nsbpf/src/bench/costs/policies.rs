//! What a policy of many rules costs whoever changes it: to compile it and put it into force,
//! once it is read; `nsbpf policy set` from outside, with all there is to it; and the memory of
//! its maps.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::apply::{self, Wish};
use crate::bench::wiring::{Size, Wiring};
use crate::bench::{BenchError, io_error, mode, rules};
use crate::datapath;
use crate::lab::Lab;
use crate::plan::{DEFAULT_FLOWS, Settings};
use crate::state::{IngressHook, Object};
use crate::store::Store;

/// How often a policy takes the place of another one.
const SWAPS: u32 = 5;

/// What changing it took.
#[derive(Default)]
pub(in crate::bench) struct Policies {
    /// Rules of each.
    pub(in crate::bench) count: u32,
    /// Seconds from when a lab with another policy is read until that is in force, and all else
    /// is as it was.
    pub(in crate::bench) swap: Vec<f64>,
    /// Seconds that `nsbpf policy set` takes, from its start to its end.
    pub(in crate::bench) set: Vec<f64>,
    /// Bytes that the maps take in the kernel.
    pub(in crate::bench) memory_bytes: f64,
}

/// A lab with a policy of so many rules, which others take the place of: as many, and none of
/// them the same but the last.
pub(in crate::bench) fn measure(count: u32) -> Result<Policies, BenchError> {
    let source = Wiring::Bridge { netfilter: false }.lab(0, Size::USUAL);
    let lab = Lab::parse(&source, "the benchmark's lab").map_err(Box::new)?;
    let store = Store::new(&lab.name);
    let lock = store.lock()?;
    let mut policies = Policies { count, ..Policies::default() };
    for number in 0..=SWAPS {
        let took = converge(&store, &lab, rules::policy(count, number, 0))?;
        // The first one is when the lab comes up.
        if number > 0 {
            policies.swap.push(took.as_secs_f64());
        }
    }
    // What `up` keeps, so that other rules can be set without the file.
    store.write_lab_source(&source)?;
    drop(lock);
    for number in 1..=SWAPS {
        let rules = rules::policy(count, SWAPS + number, 0);
        let start = Instant::now();
        set(lab.name.as_str(), &rules)?;
        policies.set.push(start.elapsed().as_secs_f64());
    }
    let lock = store.lock()?;
    policies.memory_bytes = memory(&store)?;
    apply::take_down(&store)?;
    lock.retire();
    Ok(policies)
}

/// Gives the lab a policy. Returns the time that it takes once it is read.
fn converge(store: &Store, lab: &Lab, rules: String) -> Result<Duration, BenchError> {
    let policy = lab.read_policy(&rules, "the benchmark's policy").map_err(Box::new)?;
    let lab = Lab { policy: Some(policy), ..lab.clone() };
    let settings = mode::settings(store, Some(IngressHook::Tc), Wish::Any)?;
    let settings = Settings { flows: DEFAULT_FLOWS, rules_file: Some(rules), ..settings };
    let never = AtomicBool::new(false);
    let start = Instant::now();
    apply::converge(store, &lab, &settings, &never)?;
    Ok(start.elapsed())
}

/// Runs the program that this is, and tells it the rules.
fn set(lab: &str, rules: &str) -> Result<(), BenchError> {
    let failed = || io_error("run nsbpf policy set");
    let mut command = Command::new("/proc/self/exe");
    command.args(["policy", "set", lab, "--file", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed())?;
    // It reads all before it says anything.
    let told = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(rules.as_bytes()));
    let done = child.wait_with_output().map_err(failed())?;
    if done.status.success() {
        return told.map_err(failed());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(failed()(io::Error::other(format!("{}: {}", done.status, said.trim_end()))))
}

#[expect(clippy::cast_precision_loss, reason = "less than a petabyte")]
fn memory(store: &Store) -> Result<f64, BenchError> {
    let state = apply::survey(store)?.state;
    let datapath = state.objects.values().find_map(|object| match object {
        Object::Datapath(datapath) => Some(datapath),
        _ => None,
    });
    let vanished = || BenchError::Vanished("the datapath of the lab".to_owned());
    Ok(datapath::policy_memory(store, datapath.ok_or_else(vanished)?)? as f64)
}
