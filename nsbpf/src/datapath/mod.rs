//! Programs and maps: loading, pinning, attaching, reading.
//!
//! The only user of aya. What is loaded stays in the kernel when this process
//! ends: clsact filters hold their programs, and maps, programs and XDP links
//! are pinned in the lab's folder.

mod cost;
mod generator;
mod load;
mod log;
mod pairs;
mod ports;
mod probe;
mod sink;
mod stats;
mod trial;

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;

pub use self::log::KernelLog;
pub use cost::{Costs, LoadCost};
pub use generator::Generator;
pub use load::{
    ProgramIds, Programs, TC_EGRESS, TC_INGRESS, detach_xdp, has_xdp_link, observe, unload,
};
pub use pairs::PairsReader;
pub use ports::Ports;
pub use probe::{Missing, probe};
pub use sink::{AttachedSink, Sink};
pub use stats::StatsReader;
pub use trial::Trial;

/// The object of the kernel half.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NSBPF_OBJECT"));

/// Digest of the object of the kernel half, in hexadecimal.
pub const OBJECT_DIGEST: &str = env!("NSBPF_OBJECT_DIGEST");

/// Why something about the datapath failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The object could not be loaded.
    #[error("load the datapath: {0}")]
    Load(#[from] Box<EbpfError>),
    /// A program is not what it should be, or the kernel refused it.
    #[error("{operation} program {program}: {source}")]
    Program {
        /// What was done.
        operation: &'static str,
        /// To which program.
        program: &'static str,
        /// What was wrong.
        source: Box<ProgramError>,
    },
    /// A map is not what it should be.
    #[error("{operation} map {map}: {source}")]
    Map {
        /// What was done.
        operation: &'static str,
        /// To which map.
        map: &'static str,
        /// What was wrong.
        source: Box<MapError>,
    },
    /// A pin could not be made.
    #[error("pin {}: {source}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// What was wrong.
        source: Box<PinError>,
    },
    /// What the programs log cannot be read.
    #[error("read what the programs log: {0}")]
    Log(String),
    /// The kernel attaches XDP programs only for as long as a process lives.
    #[error("this kernel has no XDP links (they came with Linux 5.9): use the tc hook")]
    NoXdpLinks,
    /// A file operation failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The embedded object lacks something.
    #[error("the kernel half has no {0}: this build of nsbpf is broken")]
    Missing(&'static str),
}
