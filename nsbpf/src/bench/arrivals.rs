//! Where frames arrive, and how many did: the kernel's own counts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::testbed::Side;
use super::{BenchError, io_error};
use crate::datapath::{AttachedSink, Sink};
use crate::net::traffic;

/// What the receiving namespace does with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// An XDP program drops them: what is measured is the way there alone.
    XdpSink,
    /// The namespace's stack takes them, up to UDP: what a namespace gets.
    Receiver,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::XdpSink => "XDP sink",
            Self::Receiver => "receiver",
        })
    }
}

/// Both, in the order of their turns.
pub(super) const ENDS: [End; 2] = [End::XdpSink, End::Receiver];

/// Counts what arrives, as long as this is held.
pub(super) struct Arrivals<'a> {
    end: End,
    side: &'a mut Side,
    _sink: Option<AttachedSink>,
}

impl<'a> Arrivals<'a> {
    pub(super) fn at(end: End, side: &'a mut Side, sink: &mut Sink) -> Result<Self, BenchError> {
        let attached = match end {
            End::XdpSink => {
                let ifindex = side.ifindex;
                let attached = side.netns.run(|| sink.attach(ifindex));
                Some(attached.map_err(io_error("enter the receiving namespace"))??)
            }
            End::Receiver => None,
        };
        Ok(Self { end, side, _sink: attached })
    }

    /// Frames that arrived so far.
    pub(super) fn count(&mut self) -> Result<u64, BenchError> {
        match self.end {
            // A veth end counts what it took from its ring (`veth_xdp_rcv`, Linux
            // 6.18), and with this program it takes nothing further.
            End::XdpSink => {
                traffic::received(&mut self.side.netlink, &[self.side.ifindex]).map_err(|source| {
                    BenchError::Links { of: "the receiving namespace".to_owned(), source }
                })
            }
            End::Receiver => self
                .side
                .netns
                .run(delivered)
                .and_then(|count| count)
                .map_err(io_error("read the receiving namespace's IPv4 counters")),
        }
    }
}

/// IPv4 packets that the calling thread's namespace gave to a protocol above.
fn delivered() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
    parse(&text, "InDelivers").ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// A line names the columns, the next one has them.
fn parse(snmp: &str, column: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Ip:"));
    let names = lines.next()?.split_whitespace();
    let values = lines.next()?.split_whitespace();
    names.zip(values).find(|(name, _)| *name == column)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let snmp = "Ip: Forwarding InReceives InDelivers\nIp: 2 71 70\nIcmp: InMsgs\nIcmp: 3\n";
        assert_eq!(parse(snmp, "InDelivers"), Some(70));
        assert_eq!(parse(snmp, "InMsgs"), None);
    }
}
