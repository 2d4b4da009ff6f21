//! What is compared: one kind of traffic, over several paths in turns.

use serde::Serialize;

use super::BenchError;
use super::ip::Ip;
use super::mode::Mode;
use super::processor::Processors;
use super::testbed::Testbed;
use super::traffic::{
    Bulk, Command, CommandRuns, Connections, End, Frames, Metric, RoundTrips, Shape, Sockets,
    Traffic,
};
use super::wiring::Size;

/// One kind of traffic, and the paths that it takes.
#[derive(Clone, Debug)]
pub(super) struct Experiment {
    pub(super) kind: Kind,
    pub(super) size: Size,
    pub(super) modes: Vec<&'static Mode>,
    /// Rounds at most; there are fewer if all is sure before.
    pub(super) rounds: u8,
}

/// A kind of traffic.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Frames made in the kernel.
    Frames(End, Shape),
    /// UDP between two sockets.
    Sockets(Shape),
    /// TCP, a byte each way, with the ends on one processor or on two.
    RoundTrips { processors: u8 },
    /// TCP, connecting and closing.
    Connections,
    /// TCP, so many connections.
    Bulk { streams: u16 },
    /// Somebody else's program.
    Command(Command),
}

/// What tells an experiment from others, for who reads a report by a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<Ip>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frame_bytes: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flows: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) streams: Option<u16>,
    /// That its two ends are on.
    pub(super) processors: u8,
    pub(super) mtu: u16,
    pub(super) ports: u16,
}

impl Experiment {
    /// What is compared with what another run found under the same one.
    pub(super) fn id(&self) -> String {
        let Self { kind, size, .. } = self;
        let shape = |Shape { ip, bytes, flows }: &Shape| format!("{ip}/{bytes}/{flows}");
        let kind = match kind {
            Kind::Frames(End::XdpSink, of) => format!("frames/{}/sink", shape(of)),
            Kind::Frames(End::Receiver, of) => format!("frames/{}/receiver", shape(of)),
            Kind::Sockets(of) => format!("sockets/{}", shape(of)),
            Kind::RoundTrips { processors } => format!("round-trips/{processors}"),
            Kind::Connections => "connections".to_owned(),
            Kind::Bulk { streams } => format!("bulk/{streams}"),
            Kind::Command(Command { client, .. }) => format!("command/{}", client.join(" ")),
        };
        let mtu = size.unusual_mtu().map(|mtu| format!("/mtu={mtu}")).unwrap_or_default();
        let ports = size.unusual_ports().map(|ports| format!("/ports={ports}"));
        format!("{}{mtu}{}", kind.to_lowercase(), ports.unwrap_or_default())
    }

    /// What it is, for people.
    pub(super) fn title(&self) -> String {
        let Self { kind, size, .. } = self;
        let shape = |Shape { ip, bytes, flows }: &Shape| {
            let flows = match flows {
                1 => String::new(),
                flows => format!(", {flows} flows"),
            };
            format!("{bytes} bytes, {ip}{flows}")
        };
        let kind = match kind {
            Kind::Frames(end, of) => format!("Frames of {}, to the {end}", shape(of)),
            Kind::Sockets(of) => format!("UDP sockets, frames of {}", shape(of)),
            Kind::RoundTrips { processors: 1 } => "TCP round trips, one processor".to_owned(),
            Kind::RoundTrips { processors } => {
                format!("TCP round trips, {processors} processors")
            }
            Kind::Connections => "TCP connections, a byte each way".to_owned(),
            Kind::Bulk { streams: 1 } => "TCP in bulk, one connection".to_owned(),
            Kind::Bulk { streams } => format!("TCP in bulk, {streams} connections"),
            Kind::Command(Command { client, .. }) => format!("`{}`", client.join(" ")),
        };
        let mtu = size.unusual_mtu().map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
        let ports = size.unusual_ports().map(|ports| format!(", {ports} ports"));
        format!("{kind}{mtu}{}", ports.unwrap_or_default())
    }

    pub(super) fn settings(&self, on: Processors) -> Settings {
        let Size { mtu, ports } = self.size;
        let of_shape = |shape: Shape| Settings {
            ip: Some(shape.ip),
            frame_bytes: Some(shape.bytes),
            flows: Some(shape.flows),
            ..Settings::default()
        };
        let two = if on.other.is_some() { 2 } else { 1 };
        let (settings, processors) = match self.kind {
            Kind::Frames(end, shape) => (Settings { end: Some(end), ..of_shape(shape) }, 1),
            Kind::Sockets(shape) => (of_shape(shape), 1),
            Kind::RoundTrips { processors } => (Settings::default(), processors),
            Kind::Connections => (Settings::default(), 1),
            Kind::Bulk { streams } => {
                (Settings { streams: Some(streams), ..Settings::default() }, two)
            }
            Kind::Command(_) => (Settings::default(), two),
        };
        Settings { processors, mtu, ports, ..settings }
    }

    /// What its rounds find; the first is what it is about.
    pub(super) fn metrics(&self) -> &'static [Metric] {
        match &self.kind {
            Kind::Frames(..) => Frames::METRICS,
            Kind::Sockets(_) => Sockets::METRICS,
            Kind::RoundTrips { .. } => RoundTrips::METRICS,
            Kind::Connections => Connections::METRICS,
            Kind::Bulk { .. } => Bulk::METRICS,
            Kind::Command(Command { field: None, .. }) => CommandRuns::METRICS,
            Kind::Command(_) => CommandRuns::METRICS_OF_FIELD,
        }
    }

    /// Whether it is about two processors, and nothing on one.
    pub(super) fn takes_two_processors(&self) -> bool {
        matches!(self.kind, Kind::RoundTrips { processors: 2 })
    }

    /// Whether the interfaces have to receive by NAPI for it: labs are not made so.
    pub(super) fn wants_napi(&self) -> bool {
        matches!(self.kind, Kind::Frames(..))
    }

    /// Makes ready to send over a path.
    pub(super) fn begin(
        &self,
        testbed: &mut Testbed,
        on: Processors,
    ) -> Result<Box<dyn Traffic>, BenchError> {
        let (near, far) = (on.one, on.other.unwrap_or(on.one));
        Ok(match &self.kind {
            Kind::Frames(end, shape) => Box::new(Frames::new(testbed, *end, *shape)?),
            Kind::Sockets(shape) => Box::new(Sockets::new(testbed, *shape, near)?),
            Kind::RoundTrips { processors: 1 } => Box::new(RoundTrips::new(testbed, near, near)?),
            Kind::RoundTrips { .. } => Box::new(RoundTrips::new(testbed, near, far)?),
            Kind::Connections => Box::new(Connections::new(near)),
            Kind::Bulk { streams } => Box::new(Bulk::new(*streams, near, far)),
            Kind::Command(command) => Box::new(CommandRuns::new(testbed, command, near, far)?),
        })
    }
}
