//! What figures depend on besides the datapath: the machine, its kernel, its load.

use std::fs;
use std::io;

use serde::Serialize;

use super::cpu::CpuTime;
use crate::datapath::OBJECT_DIGEST;

/// Where figures were measured.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// The kernel's release.
    pub kernel: String,
    /// Processors that it has.
    pub processors: usize,
    /// What they call themselves.
    pub processor: String,
    /// Processes that wanted to run, averaged over a minute, before it began.
    pub load: f64,
    /// What chooses the frequency of the processor that all ran on; `None` where that is
    /// not the kernel's.
    pub governor: Option<String>,
    /// What the kernel tells the time by; `None` where it does not say.
    pub clock: Option<String>,
    /// Whether the kernel measures all programs all the time (`kernel.bpf_stats_enabled`),
    /// which slows them.
    pub measures_programs: bool,
    /// Flaws of processors that the kernel mitigates here, by its names for them.
    pub mitigations: Vec<String>,
    /// Version of nsbpf.
    pub nsbpf: &'static str,
    /// Digest of the object of the kernel half, in hexadecimal.
    pub object: &'static str,
}

impl Environment {
    /// With what is said of the processor that all runs on.
    pub(super) fn now(processor: usize) -> io::Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processors: cpus.lines().filter(|line| line.starts_with("processor")).count().max(1),
            processor: model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
            governor: line(&format!(
                "/sys/devices/system/cpu/cpu{processor}/cpufreq/scaling_governor"
            )),
            clock: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            measures_programs: line("/proc/sys/kernel/bpf_stats_enabled")
                .is_some_and(|it| it != "0"),
            mitigations: mitigations()?,
            nsbpf: env!("CARGO_PKG_VERSION"),
            object: OBJECT_DIGEST,
        })
    }
}

/// What a file of one line says.
fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// What others did to the machine meanwhile.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Noise {
    /// Share of all processors' time that the host of this machine took, if it is a
    /// virtual one.
    pub stolen: f64,
    /// How far apart the quartiles of the bridge's own rates are in the first experiment
    /// that it is in, as a share of their median; `None` if it is in none.
    pub spread: Option<f64>,
}

impl Noise {
    /// Of what processors did.
    pub(super) fn of(time: CpuTime) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "ticks of hours")]
        let stolen = time.stolen as f64 / time.all.max(1) as f64;
        Self { stolen, spread: None }
    }
}

/// A kernel before 4.15 tells of none.
fn mitigations() -> io::Result<Vec<String>> {
    let Ok(flaws) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return Ok(Vec::new());
    };
    let mut mitigated = Vec::new();
    for flaw in flaws {
        let flaw = flaw?;
        if fs::read_to_string(flaw.path())?.starts_with("Mitigation") {
            mitigated.push(flaw.file_name().to_string_lossy().into_owned());
        }
    }
    mitigated.sort();
    Ok(mitigated)
}
