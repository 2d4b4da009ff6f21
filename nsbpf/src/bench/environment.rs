//! What figures depend on besides the datapath: the machine, its kernel, its load.

use std::fs;
use std::io;

use serde::Serialize;

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
    /// Version of nsbpf.
    pub nsbpf: &'static str,
    /// Digest of the object of the kernel half, in hexadecimal.
    pub object: &'static str,
}

impl Environment {
    pub(super) fn now() -> io::Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processors: cpus.lines().filter(|line| line.starts_with("processor")).count().max(1),
            processor: model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
            nsbpf: env!("CARGO_PKG_VERSION"),
            object: OBJECT_DIGEST,
        })
    }
}
