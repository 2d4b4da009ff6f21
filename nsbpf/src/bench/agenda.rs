//! Which experiments a run has.
//!
//! Nothing is crossed with everything. There is one experiment that all paths are in,
//! short frames of one flow over IPv4; the others differ from it in one thing each.

use super::experiment::{Experiment, Kind};
use super::ip::Ip;
use super::mode::{MODES, Mode, POLICY_MODES, WITH_FLOWS};
use super::traffic::{ENDS, ETHERNET_BYTES, Shape};
use super::turns::LEAST;
use super::wiring::Size;
use super::{MAX_MADE_BYTES, Options, Part};

/// All experiments, in the order in which they are measured.
pub(super) fn experiments(options: &Options) -> Vec<Experiment> {
    let mut all = Vec::new();
    let has = |part| options.parts.contains(&part);
    // What takes longer.
    let (half, third) = (rounds(options, 2), rounds(options, 3));
    let usual = |kind, rounds| {
        let modes = modes(options, |mode| mode.main);
        Experiment { kind, size: Size::USUAL, modes, rounds }
    };
    let shapes = shapes(options);
    let ip = options.ip.first().copied().unwrap_or(Ip::V4);
    if has(Part::Sockets) {
        let of_one_flow = shapes.iter().filter(|shape| shape.flows == 1);
        all.extend(of_one_flow.map(|shape| {
            let size = size_for(*shape);
            Experiment { size, ..usual(Kind::Sockets(*shape), half) }
        }));
    }
    if has(Part::RoundTrips) {
        all.extend([1, 2].map(|processors| usual(Kind::RoundTrips { ip, processors }, half)));
    }
    if has(Part::Connections) {
        all.push(usual(Kind::Connections { ip }, half));
    }
    if has(Part::Bulk) {
        let bulk = |streams: &u16| usual(Kind::Bulk { ip, streams: *streams }, third);
        all.extend(options.streams.iter().map(bulk));
    }
    if let Some(command) = options.command.clone().filter(|_| has(Part::Command)) {
        all.push(usual(Kind::Command(ip, command), half));
    }
    if has(Part::Frames) {
        let made = shapes.iter().filter(|shape| shape.bytes <= MAX_MADE_BYTES);
        let usual = shapes.first().copied().unwrap_or(Shape::SHORT);
        all.extend(made.flat_map(|shape| frames(options, *shape, *shape == usual)));
        if usual.bytes <= MAX_MADE_BYTES {
            all.extend(
                options.bridge_ports.iter().flat_map(|ports| scaled(options, usual, *ports)),
            );
        }
    }
    if has(Part::Policy) {
        all.extend([false, true].into_iter().flat_map(|is_new| judged(options, is_new)));
    }
    all.retain_mut(|experiment| {
        experiment.modes.retain(|mode| mode.takes_mtu(experiment.size.mtu));
        !experiment.modes.is_empty()
    });
    all
}

/// The paths that were asked for, or else those that are meant.
fn modes(options: &Options, are_meant: impl Fn(&Mode) -> bool) -> Vec<&'static Mode> {
    let is_wanted = |mode: &&Mode| match options.modes.as_slice() {
        [] => {
            // What a policy costs is told beside the same path without.
            let is_judged = options.policy.is_some() && mode.name == WITH_FLOWS;
            options.all_modes || are_meant(mode) || is_judged
        }
        names => names.iter().any(|name| name == mode.name),
    };
    MODES.iter().filter(is_wanted).collect()
}

/// As usual, but for frames that are longer than that.
fn size_for(shape: Shape) -> Size {
    let packet = shape.bytes - u16::try_from(ETHERNET_BYTES).unwrap_or_default();
    Size { mtu: packet.max(Size::USUAL.mtu), ..Size::USUAL }
}

/// What is asked for differs from what is usual in one thing at a time.
fn shapes(options: &Options) -> Vec<Shape> {
    let Options { frame_bytes, flow_counts, ip, .. } = options;
    let first = Shape {
        ip: ip.first().copied().unwrap_or(Ip::V4),
        bytes: frame_bytes.first().copied().unwrap_or(Shape::SHORT.bytes),
        flows: flow_counts.first().copied().unwrap_or(1),
    };
    let mut shapes = vec![first];
    shapes.extend(flow_counts.iter().skip(1).map(|flows| Shape { flows: *flows, ..first }));
    shapes.extend(ip.iter().skip(1).map(|ip| Shape { ip: *ip, ..first }));
    shapes.extend(frame_bytes.iter().skip(1).map(|bytes| Shape { bytes: *bytes, ..first }));
    shapes
}

/// A part of the rounds, but as many as anything takes to be known at all.
fn rounds(options: &Options, part: u8) -> u8 {
    (options.rounds / part).max(LEAST.min(options.rounds))
}

/// Frames of a shape, to each end. All paths have to do with the usual one.
fn frames(options: &Options, shape: Shape, is_usual: bool) -> impl Iterator<Item = Experiment> {
    let all = modes(options, |mode| mode.main || is_usual);
    let rounds = rounds(options, if is_usual { 1 } else { 2 });
    ENDS.into_iter().map(move |end| {
        let modes = all.iter().copied().filter(|mode| mode.ends.contains(&end)).collect();
        let size = size_for(shape);
        Experiment { kind: Kind::Frames(end, shape), size, modes, rounds }
    })
}

/// Short frames past many rules and few, to each end.
fn judged(options: &Options, is_new: bool) -> impl Iterator<Item = Experiment> {
    let many = options.many_rules();
    let is_wanted = |mode: &&'static Mode| {
        let named = &options.modes;
        mode.tells_of_rules(is_new)
            && (named.is_empty() || named.iter().any(|name| name == mode.name))
    };
    let all: Vec<_> = MODES.iter().chain(&POLICY_MODES).filter(is_wanted).collect();
    let rounds = options.rounds;
    ENDS.into_iter().map(move |end| {
        let modes = all.iter().copied().filter(|mode| mode.ends.contains(&end)).collect();
        let kind = Kind::Rules { end, is_new, many };
        Experiment { kind, size: Size::USUAL, modes, rounds }
    })
}

/// The usual frames between two of so many ports of a bridge, to each end.
fn scaled(options: &Options, shape: Shape, ports: u16) -> impl Iterator<Item = Experiment> {
    frames(options, shape, false).map(move |mut experiment| {
        // Others have no bridge, or two.
        experiment.modes.retain(|mode| mode.has_one_bridge());
        experiment.size.ports = ports;
        experiment
    })
}
