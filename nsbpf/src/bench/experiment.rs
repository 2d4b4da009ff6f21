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
    /// Short frames past so many rules, all of a flow that is known or each of a new one.
    Rules { end: End, is_new: bool, many: u32 },
    /// UDP between two sockets.
    Sockets(Shape),
    /// TCP, a byte each way, with the ends on one processor or on two.
    RoundTrips { ip: Ip, processors: u8 },
    /// TCP, connecting and closing.
    Connections { ip: Ip },
    /// TCP, so many connections; on two processors, if there are.
    Bulk { ip: Ip, streams: u16 },
    /// Somebody else's program, likewise.
    Command(Ip, Command),
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
    /// Of the paths that have many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rules: Option<u32>,
    /// That its two ends are on.
    pub(super) processors: u8,
    pub(super) mtu: u16,
    pub(super) ports: u16,
}

impl Experiment {
    /// Processors that its two ends are on.
    fn processors(&self, on: Processors) -> u8 {
        let two = if on.other.is_some() { 2 } else { 1 };
        match self.kind {
            Kind::Frames(..) | Kind::Rules { .. } | Kind::Sockets(_) | Kind::Connections { .. } => {
                1
            }
            Kind::RoundTrips { processors, .. } => processors,
            Kind::Bulk { .. } | Kind::Command(..) => two,
        }
    }

    /// What is compared with what another run found under the same one.
    pub(super) fn id(&self, on: Processors) -> String {
        let Self { kind, size, .. } = self;
        let shape = |Shape { ip, bytes, flows }: &Shape| format!("{}/{bytes}/{flows}", ip.id());
        let kind = match kind {
            Kind::Frames(End::XdpSink, of) => format!("frames/{}/sink", shape(of)),
            Kind::Frames(End::Receiver, of) => format!("frames/{}/receiver", shape(of)),
            Kind::Rules { end, is_new, many } => {
                let flows = if *is_new { "new" } else { "known" };
                let end = match end {
                    End::XdpSink => "sink",
                    End::Receiver => "receiver",
                };
                format!("rules/{many}/{flows}/{end}")
            }
            Kind::Sockets(of) => format!("sockets/{}", shape(of)),
            Kind::RoundTrips { ip, .. } => format!("round-trips/{}", ip.id()),
            Kind::Connections { ip } => format!("connections/{}", ip.id()),
            Kind::Bulk { ip, streams } => format!("bulk/{}/{streams}", ip.id()),
            Kind::Command(ip, command) => {
                let Command { client, server, field, less_is_better: _ } = command;
                let words = |words: &[String]| shell_words::join(words);
                let server = server.as_deref().map(words).unwrap_or_default();
                let field = field.as_deref().unwrap_or_default();
                format!("command/{}/{}/{server}/{field}", ip.id(), words(client))
            }
        };
        let processors = match self.processors(on) {
            1 => String::new(),
            processors => format!("/processors={processors}"),
        };
        let mtu = size.unusual_mtu().map(|mtu| format!("/mtu={mtu}")).unwrap_or_default();
        let ports = size.unusual_ports().map(|ports| format!("/ports={ports}"));
        format!("{kind}{processors}{mtu}{}", ports.unwrap_or_default())
    }

    /// What it is, for people.
    pub(super) fn title(&self, on: Processors) -> String {
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
            Kind::Rules { end, is_new, many } => {
                let flows = if *is_new { "each of a new flow" } else { "all of a known flow" };
                format!("Past {many} rules, or fewer: frames {flows}, to the {end}")
            }
            Kind::Sockets(of) => format!("UDP sockets, frames of {}", shape(of)),
            Kind::RoundTrips { ip, .. } => format!("TCP round trips, {ip}"),
            Kind::Connections { ip } => format!("TCP connections, a byte each way, {ip}"),
            Kind::Bulk { ip, streams: 1 } => format!("TCP in bulk, one connection, {ip}"),
            Kind::Bulk { ip, streams } => format!("TCP in bulk, {streams} connections, {ip}"),
            Kind::Command(_, Command { client, .. }) => format!("`{}`", shell_words::join(client)),
        };
        let processors = match (&self.kind, self.processors(on)) {
            (Kind::Frames(..) | Kind::Rules { .. } | Kind::Sockets(_), _) => "",
            (_, 1) => ", one processor",
            _ => ", two processors",
        };
        let mtu = size.unusual_mtu().map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
        let ports = size.unusual_ports().map(|ports| format!(", {ports} ports"));
        format!("{kind}{processors}{mtu}{}", ports.unwrap_or_default())
    }

    pub(super) fn settings(&self, on: Processors) -> Settings {
        let Size { mtu, ports } = self.size;
        let of_shape = |shape: Shape| Settings {
            ip: Some(shape.ip),
            frame_bytes: Some(shape.bytes),
            flows: Some(shape.flows),
            ..Settings::default()
        };
        let settings = match self.kind {
            Kind::Frames(end, shape) => Settings { end: Some(end), ..of_shape(shape) },
            Kind::Sockets(shape) => of_shape(shape),
            Kind::Rules { many, .. } => Settings { rules: Some(many), ..Settings::default() },
            Kind::Bulk { ip, streams } => {
                Settings { ip: Some(ip), streams: Some(streams), ..Settings::default() }
            }
            Kind::RoundTrips { ip, .. } | Kind::Connections { ip } | Kind::Command(ip, _) => {
                Settings { ip: Some(ip), ..Settings::default() }
            }
        };
        Settings { processors: self.processors(on), mtu, ports, ..settings }
    }

    /// What its rounds find; the first is what it is about.
    pub(super) fn metrics(&self) -> &'static [Metric] {
        match &self.kind {
            Kind::Frames(..) | Kind::Rules { .. } => Frames::METRICS,
            Kind::Sockets(_) => Sockets::METRICS,
            Kind::RoundTrips { .. } => RoundTrips::METRICS,
            Kind::Connections { .. } => Connections::METRICS,
            Kind::Bulk { .. } => Bulk::METRICS,
            Kind::Command(_, command) => CommandRuns::metrics(command),
        }
    }

    /// Whether its paths differ in their rules.
    pub(super) fn is_about_rules(&self) -> bool {
        matches!(self.kind, Kind::Rules { .. })
    }

    /// Whether it is about two processors, and nothing on one.
    pub(super) fn takes_two_processors(&self) -> bool {
        matches!(self.kind, Kind::RoundTrips { processors: 2, .. })
    }

    /// Whether the interfaces have to receive by NAPI for it: labs are not made so.
    pub(super) fn wants_napi(&self) -> bool {
        matches!(self.kind, Kind::Frames(..) | Kind::Rules { .. })
    }

    /// Makes ready to send over a path.
    pub(super) fn begin(
        &self,
        testbed: &mut Testbed,
        on: Processors,
    ) -> Result<Box<dyn Traffic>, BenchError> {
        let both = on.up_to_two();
        Ok(match &self.kind {
            Kind::Frames(end, shape) => Box::new(Frames::new(testbed, *end, *shape, on.one)?),
            Kind::Rules { end, is_new: true, .. } => {
                Box::new(Frames::of_new_flows(testbed, *end, on.one)?)
            }
            Kind::Rules { end, .. } => Box::new(Frames::new(testbed, *end, Shape::SHORT, on.one)?),
            Kind::Sockets(shape) => Box::new(Sockets::new(testbed, *shape, on.one)?),
            Kind::RoundTrips { ip, processors: 1 } => {
                Box::new(RoundTrips::new(testbed, *ip, &[on.one])?)
            }
            Kind::RoundTrips { ip, .. } => Box::new(RoundTrips::new(testbed, *ip, &both)?),
            Kind::Connections { ip } => Box::new(Connections::new(*ip, on.one)),
            Kind::Bulk { ip, streams } => Box::new(Bulk::new(*streams, *ip, &both)),
            Kind::Command(ip, command) => Box::new(CommandRuns::new(testbed, command, *ip, &both)?),
        })
    }
}
