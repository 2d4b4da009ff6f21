//! Programs and maps: loading, pinning, attaching, reading.
//!
//! The only user of aya. What is loaded stays in the kernel when this process
//! ends: clsact filters hold their programs, and maps, programs and the links of
//! XDP and TCX are pinned in the lab's folder.

mod btf;
mod cost;
mod delay;
mod filler;
mod flows;
mod generator;
mod inspect;
mod link;
mod load;
mod log;
mod mapped;
mod pairs;
mod paths;
mod policy;
mod ports;
mod probe;
mod recent;
mod sink;
mod stats;
mod syscall;
mod table;
mod tick;
mod trial;

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;

pub use self::log::KernelLog;
pub use cost::{Costs, LoadCost};
pub use delay::Delay;
pub use filler::FlowsFiller;
pub use flows::FlowsReader;
pub use generator::Generator;
pub use inspect::{LoadedMap, LoadedProgram, loaded_map, loaded_program, measure, name_of_program};
pub use link::{HeldLink, ProgramAt, detach, has_link, linked_program, tcx_programs};
pub use load::{ProgramIds, Programs, discard_staged, observe, program_name, unload};
pub use pairs::PairsReader;
pub use paths::forget_paths;
pub use policy::{
    Draft, InForce, Placing, PolicyLog, RuleCounts, in_force, policy_events, policy_memory,
    rule_counts, suspend,
};
pub use ports::Ports;
pub use probe::{Missing, probe, probe_tcx};
pub use sink::{AttachedSink, Sink};
pub use stats::StatsReader;
pub use table::Reading;
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
    /// The kernel has no links for tc hooks.
    #[error(
        "this kernel has no TCX (it came with Linux 6.6, CONFIG_NET_XGRESS): use `--attach clsact`"
    )]
    NoTcx,
    /// Another XDP program is there.
    #[error(
        "the interface has an XDP program already that is not this lab's, and takes no other: let go of that program, or use the tc hook (`--hook tc`)"
    )]
    XdpTaken,
    /// A program of XDP sees a frame that is one piece of memory.
    #[error(
        "the MTU of its interface is more than fits into a page with what XDP needs there (about 3,500 bytes where pages have 4,096): give it, or its bridge, a smaller `mtu`, or leave XDP out (`--fastpath peer`, `--hook tc`, or the interface's own `fastpath`)"
    )]
    XdpMtu,
    /// A policy is larger than its maps.
    #[error("the maps of the policy have no room for it: `nsbpf up` with the lab's file makes it")]
    NoPolicyRoom,
    /// Who reads a ring buffer takes what is there from others.
    #[error(
        "another `nsbpf policy log` reads what is logged already, and each packet is told once: stop that one first"
    )]
    LogTaken,
    /// The kernel does not tell how long programs run.
    #[error("have the kernel measure programs (BPF_ENABLE_STATS, Linux 5.8): {0}")]
    Measure(io::Error),
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
