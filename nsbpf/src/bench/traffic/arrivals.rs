//! Where frames arrive, and how many did: the kernel's own counts.

use std::fmt;
use std::fs;
use std::net::{Ipv6Addr, UdpSocket};

use nsbpf_common::generator;
use serde::Serialize;

use super::Shape;

use crate::bench::ip::Ip;
use crate::bench::snmp::{counter_of, counter6_of};
use crate::bench::testbed::Side;
use crate::bench::{BenchError, io_error};
use crate::datapath::{AttachedSink, Sink};
use crate::net::traffic;

/// What the receiving namespace does with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bench) enum End {
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
pub(in crate::bench) const ENDS: [End; 2] = [End::XdpSink, End::Receiver];

/// Takes and counts what arrives, as long as this is held.
pub(super) struct Arrivals {
    ip: Ip,
    taker: Taker,
}

/// What takes frames.
enum Taker {
    /// Attaching and detaching it takes the kernel some 30 ms, so that it stays.
    Sink {
        _attached: AttachedSink,
    },
    Sockets {
        _sockets: Vec<UdpSocket>,
    },
}

impl Arrivals {
    pub(super) fn new(end: End, shape: Shape, side: &Side) -> Result<Self, BenchError> {
        let taker = match end {
            End::XdpSink => {
                let attach = || Sink::load()?.attach(side.ifindex);
                let attached = side.netns.run(attach);
                Taker::Sink {
                    _attached: attached
                        .map_err(io_error(format!("enter namespace {}", side.name)))??,
                }
            }
            End::Receiver => Taker::Sockets { _sockets: sockets(side, shape.flows)? },
        };
        Ok(Self { ip: shape.ip, taker })
    }

    /// Frames that arrived so far.
    pub(super) fn count(&self, side: &mut Side) -> Result<u64, BenchError> {
        let ip = self.ip;
        match self.taker {
            // A veth end counts what it took from its ring (`veth_xdp_rcv`, Linux
            // 6.18), and with this program it takes nothing further.
            Taker::Sink { .. } => {
                traffic::received(&mut side.netlink, &[side.ifindex]).map_err(|source| {
                    BenchError::Links { of: "the receiving namespace".to_owned(), source }
                })
            }
            Taker::Sockets { .. } => side
                .netns
                .run(|| delivered(ip))
                .and_then(|count| count)
                .map_err(io_error(format!("read namespace {}'s counters of IP", side.name))),
        }
    }
}

/// Packets that the calling thread's namespace gave to a protocol above.
fn delivered(ip: Ip) -> std::io::Result<u64> {
    let count = match ip {
        Ip::V4 => {
            let snmp = fs::read_to_string("/proc/thread-self/net/snmp")?;
            counter_of(&snmp, "Ip", "InDelivers")
        }
        Ip::V6 => {
            let snmp6 = fs::read_to_string("/proc/thread-self/net/snmp6")?;
            counter6_of(&snmp6, "Ip6InDelivers")
        }
    };
    count.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// Sockets that frames of so many flows are for. They drop all that arrives right where it
/// would be queued: no memory fills, and the kernel does not tell the sender that nobody is
/// there.
fn sockets(side: &Side, flows: u32) -> Result<Vec<UdpSocket>, BenchError> {
    /// `BPF_RET | BPF_K`: keep so many bytes, none.
    const RETURN: u16 = 0x06;
    let (_, last) = generator::ports(flows.saturating_sub(1));
    let open = || {
        let open = |port| {
            // Takes IPv4 too.
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
            let filter = [socket2::SockFilter::new(RETURN, 0, 0, 0)];
            socket2::SockRef::from(&socket).attach_filter(&filter)?;
            Ok(socket)
        };
        (generator::FIRST_DESTINATION..=last).map(open).collect::<std::io::Result<_>>()
    };
    side.netns
        .run(open)
        .and_then(|opened| opened)
        .map_err(io_error(format!("open UDP sockets in namespace {}", side.name)))
}
