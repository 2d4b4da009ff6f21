//! The interfaces that packets leave by: what the kernel leaves undone about them.

use serde::Serialize;

use crate::bench::testbed::Testbed;
use crate::bench::wiring::Size;
use crate::bench::{BenchError, io_error};
use crate::net::offload::Ethtool;
use crate::state::Feature;

/// The sender's interface on a path, as its lab comes up. Frames that are made in the
/// kernel have generic receive offload on besides.
#[derive(Clone, Debug, Serialize)]
pub struct Interface {
    /// The path's mode.
    pub mode: &'static str,
    /// Bytes of a packet at most.
    pub mtu: u16,
    /// Offloads that are on, of those that paths differ in, by the kernel's names.
    pub offloads: Vec<&'static str>,
}

impl Interface {
    pub(in crate::bench) fn of(testbed: &Testbed, size: Size) -> Result<Self, BenchError> {
        let ifindex = testbed.sender.ifindex;
        let found = testbed
            .sender
            .netns
            .run(|| Ethtool::open().and_then(|mut ethtool| ethtool.get(ifindex)));
        let failed = || io_error(format!("look at the offloads of {}", testbed.sender.name));
        let offloads = match found.map_err(failed())? {
            Ok(found) => Feature::ALL.into_iter().filter(|feature| found.has(*feature)).collect(),
            Err(error) => return Err(failed()(std::io::Error::other(error))),
        };
        let names = |features: Vec<Feature>| features.into_iter().map(Feature::name).collect();
        Ok(Self { mode: testbed.mode.name, mtu: size.mtu, offloads: names(offloads) })
    }
}
