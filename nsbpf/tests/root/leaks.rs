//! What a test may not leave: links, namespaces, mounts, files, programs, maps.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::world::ip;

/// The kernel frees programs and namespaces some time after their last user.
const PATIENCE: Duration = Duration::from_secs(10);

/// What there was before a test.
pub(crate) struct Before {
    mounts: String,
    bpf: BTreeSet<String>,
}

impl Before {
    pub(crate) fn now() -> Self {
        Self { mounts: mounts(), bpf: bpf() }
    }

    /// Fails with what is there now and was not before.
    pub(crate) fn check(&self) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leaks = self.leaks();
            if leaks.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("left behind:\n{}", leaks.join("\n")).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        let links = ip(&["-brief", "link"]);
        leaks.extend(links.lines().filter(|link| !link.starts_with("lo ")).map(str::to_owned));
        leaks.extend(ip(&["netns", "list-id"]).lines().map(str::to_owned));
        for folder in ["/run/netns", "/run/nsbpf/labs", "/run/nsbpf/locks"] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            leaks.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        if fs::exists("/run/nsbpf").is_ok_and(|there| there) {
            leaks.push("/run/nsbpf".to_owned());
        }
        let mounts = mounts();
        if mounts != self.mounts {
            leaks.push(format!("mounts were\n{}and are\n{mounts}", self.mounts));
        }
        leaks.extend(bpf().difference(&self.bpf).cloned());
        leaks
    }
}

fn mounts() -> String {
    fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo")
}

/// Names and numbers of all programs and maps of this machine.
fn bpf() -> BTreeSet<String> {
    let programs = aya::programs::loaded_programs().flatten().map(|program| {
        format!("program {} {}", program.id(), program.name_as_str().unwrap_or_default())
    });
    let maps = aya::maps::loaded_maps()
        .flatten()
        .map(|map| format!("map {} {}", map.id(), map.name_as_str().unwrap_or_default()));
    // Of any new bpffs the kernel may make programs that show it
    // (`CONFIG_BPF_PRELOAD`); they are the kernel's.
    let preloaded = |name: &String| {
        ["dump_bpf_map", "dump_bpf_prog", "iterator.rodata"]
            .iter()
            .any(|preloaded| name.ends_with(preloaded))
    };
    programs.chain(maps).filter(|name| !preloaded(name)).collect()
}
