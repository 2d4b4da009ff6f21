//! What is measured, and how much of it.

use std::time::Duration;

use super::agenda;
use super::ip::Ip;
use super::mode::Stages;
use super::traffic::Command;

/// Bytes of a frame at least: UDP over IPv6, with a word for its checksum's sake.
pub const MIN_BYTES: u16 = 64;
/// Bytes of a frame at most: a jumbo frame.
pub const MAX_BYTES: u16 = 9_014;
/// Bytes of a frame at most that is made in the kernel: what that takes in one page to run
/// programs on (`bpf_prog_test_run_xdp`, Linux 6.18), rounded down.
pub const MAX_MADE_BYTES: u16 = 3_300;
/// Flows at most that frames are of.
pub const MAX_FLOWS: u32 = nsbpf_common::generator::MAX_FLOWS;
/// Ports at most: what a bridge takes.
pub const MAX_PORTS: u16 = 1_000;
/// Flows in a table at most: the addresses that are theirs in `10.0.0.0/8`, and what
/// memory most machines have.
pub const MAX_TABLE: u32 = 4_000_000;
/// TCP connections at once at most.
pub const MAX_STREAMS: u16 = 64;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured at all.
    pub parts: Vec<Part>,
    /// Names of the paths that are compared, of [`mode_names`](super::mode_names); none
    /// for those that each experiment is about.
    pub modes: Vec<String>,
    /// Whether each experiment is about all paths.
    pub all_modes: bool,
    /// Rounds at most that count; one more comes before them. At least 1.
    pub rounds: u8,
    /// Half of a ratio's confidence interval, as a share of it, that is enough: then no
    /// more rounds come.
    pub within: f64,
    /// For how long is sent in a round.
    pub round: Duration,
    /// Bytes of frames, [`MIN_BYTES`] to [`MAX_BYTES`]. The first is what all else is
    /// measured with; so it is with flows and versions of IP.
    pub frame_bytes: Vec<u16>,
    /// Flows that frames are of, 1 to [`MAX_FLOWS`].
    pub flow_counts: Vec<u32>,
    /// Versions of IP.
    pub ip: Vec<Ip>,
    /// TCP connections at once, 1 to [`MAX_STREAMS`].
    pub streams: Vec<u16>,
    /// Ports of the bridge besides the usual two, 2 to [`MAX_PORTS`].
    pub bridge_ports: Vec<u16>,
    /// What is left of the datapath's stages.
    pub stages: Stages,
    /// Somebody else's program.
    pub command: Option<Command>,
    /// Numbers of ports that are attached and read, 2 to [`MAX_PORTS`].
    pub attach: Vec<u16>,
    /// Numbers of flows that are in a table, and read, 1 to [`MAX_TABLE`].
    pub table: Vec<u32>,
    /// Rules of a policy on all paths that can have one, 1 to [`MAX_RULES`](super::MAX_RULES);
    /// `None` for no policy. Of paths that are about many rules these are so many.
    pub policy: Option<u32>,
    /// Numbers of rules of a policy that another one takes the place of, likewise.
    pub swaps: Vec<u32>,
}

/// Rules that are many, and that targets are for.
pub(super) const MANY_RULES: u32 = 10_000;

impl Options {
    /// Whether there is anything to measure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let costs = [Part::Programs, Part::Table, Part::Ports, Part::Policy];
        !self.parts.iter().any(|part| costs.contains(part)) && agenda::experiments(self).is_empty()
    }

    /// Rules on paths that are about many.
    pub(super) fn many_rules(&self) -> u32 {
        self.policy.unwrap_or(MANY_RULES)
    }
}

/// Something that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The programs by themselves.
    Programs,
    /// Reading many flows.
    Table,
    /// Attaching and reading many ports.
    Ports,
    /// UDP between two sockets.
    Sockets,
    /// TCP, a byte each way.
    RoundTrips,
    /// TCP, connecting and closing.
    Connections,
    /// TCP in bulk.
    Bulk,
    /// Somebody else's program.
    Command,
    /// Frames made in the kernel.
    Frames,
    /// Rules that packets are judged by, ours and those of nftables.
    Policy,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 10] = [
        Self::Programs,
        Self::Table,
        Self::Ports,
        Self::Sockets,
        Self::RoundTrips,
        Self::Connections,
        Self::Bulk,
        Self::Command,
        Self::Frames,
        Self::Policy,
    ];

    /// Whether it is measured where nothing else is asked for.
    #[must_use]
    pub fn is_usual(self) -> bool {
        self != Self::Policy
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Programs => "programs",
            Self::Table => "table",
            Self::Ports => "ports",
            Self::Sockets => "sockets",
            Self::RoundTrips => "round-trips",
            Self::Connections => "connections",
            Self::Bulk => "bulk",
            Self::Command => "command",
            Self::Frames => "frames",
            Self::Policy => "policy",
        }
    }
}

#[cfg(test)]
impl Options {
    /// Frames that are [short](super::traffic::Shape::SHORT), over some paths.
    pub(super) fn short_frames(modes: &[&str]) -> Self {
        Self {
            parts: vec![Part::Frames],
            modes: modes.iter().map(|mode| (*mode).to_owned()).collect(),
            all_modes: false,
            rounds: 6,
            within: 0.0,
            round: Duration::from_millis(5),
            frame_bytes: vec![64],
            flow_counts: vec![1],
            ip: vec![Ip::V4],
            streams: vec![1],
            bridge_ports: Vec::new(),
            stages: Stages::default(),
            command: None,
            attach: vec![2],
            table: vec![1],
            policy: None,
            swaps: Vec::new(),
        }
    }
}
