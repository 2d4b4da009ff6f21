//! What puts frames into a path.

use std::time::Duration;

use super::End;
use super::frame::{self, Address, HOPS, Shape};
use crate::bench::testbed::{Side, Testbed};
use crate::bench::wiring::{SENDER, Wiring};
use crate::bench::{BenchError, io_error};
use crate::datapath::Generator;
use crate::net::link::{self, Link};
use crate::net::{Netlink, gro};

/// Sends the frame of a path out of its sender's interface.
///
/// The kernel gives the same memory to one frame after the other and does not put it
/// back to what it was. A router changes frames: their MAC addresses, which the lab
/// makes the same on both sides, and the hops that are left. So a run is over before
/// a frame can have none left, and the next one begins with new memory.
pub(in crate::bench) struct Injector {
    generator: Generator,
    frame: Vec<u8>,
    /// Frames of a run at most.
    run: u32,
}

impl Injector {
    /// Makes a frame for the path. All ends that frames come in by have to
    /// [receive by NAPI](receive_by_napi).
    pub(in crate::bench) fn new(testbed: &Testbed, shape: Shape) -> Result<Self, BenchError> {
        let (from, to) = ends(testbed);
        let generator = Generator::load(testbed.sender.ifindex, shape.flows, place(shape))?;
        Ok(Self { generator, frame: frame::udp(shape, from, to), run: run(testbed) })
    }

    /// Makes a frame for the path that is of a new flow each time. Likewise. A receiver takes
    /// only what is for its own address; a sink does not look.
    pub(in crate::bench) fn of_new_flows(testbed: &Testbed, end: End) -> Result<Self, BenchError> {
        let (from, to) = ends(testbed);
        let is_elsewhere = end == End::XdpSink;
        let (ifindex, udp) = (testbed.sender.ifindex, place(Shape::SHORT));
        let generator = Generator::load_endless(ifindex, udp, is_elsewhere)?;
        let frame = frame::of_new_flow(from, to, is_elsewhere);
        Ok(Self { generator, frame, run: run(testbed) })
    }

    /// How many runs so many frames take.
    pub(super) fn runs(&self, count: u32) -> u32 {
        count.div_ceil(self.run)
    }

    /// Sends that many. Returns the time that they took.
    pub(in crate::bench) fn send(&self, from: &Side, count: u32) -> Result<Duration, BenchError> {
        let runs = || {
            let (mut took, mut left) = (Duration::ZERO, count);
            while left > 0 {
                let run = left.min(self.run);
                took += self.generator.send(&self.frame, run)?;
                left -= run;
            }
            Ok(took)
        };
        from.netns.run(runs).map_err(io_error(format!("enter namespace {}", from.name)))?
    }
}

/// Where frames come from, and where they go next.
fn ends(testbed: &Testbed) -> (Address, Address) {
    let Testbed { mode, sender, receiver, router, .. } = testbed;
    let next = router.as_ref().unwrap_or(receiver);
    let to = mode.wiring.receiver();
    (
        Address { mac: sender.mac, v4: SENDER.0, v6: SENDER.1 },
        Address { mac: next.mac, v4: to.0, v6: to.1 },
    )
}

/// Where the UDP header is.
fn place(shape: Shape) -> u32 {
    u32::try_from(shape.udp()).unwrap_or_default()
}

/// Frames of a run at most.
fn run(testbed: &Testbed) -> u32 {
    match testbed.router {
        // A frame is in a batch once at most, and is not sent on with its last hop.
        Some(_) => (u32::from(HOPS) - 1) * Generator::BATCH,
        None => u32::MAX,
    }
}

/// Has all ends that frames come in by receive by NAPI: those inside the namespaces, and
/// those behind who sends, on the host, with the same indices.
pub(in crate::bench) fn receive_by_napi(testbed: &mut Testbed) -> Result<(), BenchError> {
    let Testbed { mode, sender, receiver, router, .. } = testbed;
    let mut behind = Vec::new();
    for (side, sends) in [(sender, true), (receiver, false)]
        .into_iter()
        .chain(router.as_mut().map(|router| (router, true)))
    {
        let links = interfaces(&mut side.netlink, &format!("namespace {}", side.name))?;
        side.netns
            .run(|| links.iter().try_for_each(|link| gro::turn_on(&link.name)))
            .and_then(|done| done)
            .map_err(io_error(format!("turn GRO of namespace {}'s interfaces on", side.name)))?;
        if sends && mode.wiring != Wiring::Direct {
            behind.extend(links.iter().map(|link| link.ifindex));
        }
    }
    let failed = |source| BenchError::Links { of: "the host".to_owned(), source };
    let host = interfaces(&mut Netlink::open().map_err(failed)?, "the host")?;
    for ifindex in behind {
        let link = host.iter().find(|link| link.ifindex == ifindex);
        let link = link.ok_or_else(|| BenchError::Vanished(format!("interface {ifindex}")))?;
        gro::turn_on(&link.name).map_err(io_error(format!("turn GRO of {} on", link.name)))?;
    }
    Ok(())
}

fn interfaces(netlink: &mut Netlink, of: &str) -> Result<Vec<Link>, BenchError> {
    let mut links =
        link::list(netlink).map_err(|source| BenchError::Links { of: of.to_owned(), source })?;
    links.retain(|link| link.ifindex != link::LOOPBACK);
    Ok(links)
}
