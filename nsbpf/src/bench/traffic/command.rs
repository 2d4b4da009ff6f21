//! Somebody else's program as traffic: started in the sender's namespace, beside one in
//! the receiver's that it talks to. What it moves is what the receiver's interface
//! counts, so that any program will do.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::frames::rate;
use super::process::{Ended, Process};
use super::{Metric, Quantity, Round, Traffic};
use crate::bench::cpu::CpuTime;
use crate::bench::ip::Ip;
use crate::bench::testbed::{Side, Testbed};
use crate::bench::{BenchError, io_error};
use crate::net::traffic;

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is waited until a server has a socket.
const START: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);

/// What is run. In each word `{sender}` and `{receiver}` stand for addresses. No shell reads
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// In the sender's namespace, once a round: a program and its arguments.
    pub client: Vec<String>,
    /// In the receiver's namespace, from before the first round to after the last one.
    pub server: Option<Vec<String>>,
    /// What of the JSON that the client prints is the figure, as a JSON pointer (RFC 6901);
    /// `None` for what arrives in a second, by the count of the receiver's interface.
    pub field: Option<String>,
    /// Whether less of that is better.
    pub less_is_better: bool,
}

/// A command on a path.
pub(in crate::bench) struct CommandRuns {
    client: Vec<String>,
    field: Option<String>,
    /// Ends when this goes.
    server: Option<Process>,
    processors: Vec<usize>,
}

impl CommandRuns {
    /// What there is without a field, and with one.
    pub(in crate::bench) const METRICS: &[Metric] = &[
        Metric { name: "arrived", quantity: Quantity::BitsPerSecond },
        Metric { name: "packets", quantity: Quantity::PacketsPerSecond },
        Metric { name: "took", quantity: Quantity::Nanoseconds },
    ];
    const MORE: &[Metric] = &Self::with(Quantity::Number);
    const LESS: &[Metric] = &Self::with(Quantity::Cost);

    const fn with(quantity: Quantity) -> [Metric; 4] {
        let [arrived, packets, took] = [Self::METRICS[0], Self::METRICS[1], Self::METRICS[2]];
        [Metric { name: "figure", quantity }, arrived, packets, took]
    }

    /// What a command's rounds find.
    pub(in crate::bench) fn metrics(command: &Command) -> &'static [Metric] {
        match command {
            Command { field: None, .. } => Self::METRICS,
            Command { less_is_better: true, .. } => Self::LESS,
            Command { .. } => Self::MORE,
        }
    }

    pub(in crate::bench) fn new(
        testbed: &Testbed,
        command: &Command,
        ip: Ip,
        processors: &[usize],
    ) -> Result<Self, BenchError> {
        let sender = crate::bench::wiring::sender_by(ip).to_string();
        let receiver = testbed.mode.wiring.receiver_by(ip).to_string();
        let fill = |words: &[String]| -> Vec<String> {
            let fill =
                |word: &String| word.replace("{sender}", &sender).replace("{receiver}", &receiver);
            words.iter().map(fill).collect()
        };
        let Command { client, server, field, .. } = command;
        let far = processors.last().copied();
        let server =
            server.as_deref().map(|words| serve(testbed, &fill(words), far)).transpose()?;
        let (client, processors) = (fill(client), processors.to_vec());
        Ok(Self { client, field: field.clone(), server, processors })
    }
}

impl Traffic for CommandRuns {
    fn round(&mut self, testbed: &mut Testbed, _: Duration) -> Result<Round, BenchError> {
        let Self { client, field, server, processors } = self;
        let failed = |why: String| {
            io_error(format!("run `{}` in mode {}", client.join(" "), testbed.mode.name))(
                io::Error::other(why),
            )
        };
        let read_cpu = || CpuTime::of(processors).map_err(|error| failed(error.to_string()));
        let (bytes_before, packets_before) = arrived(&mut testbed.receiver)?;
        let cpu = read_cpu()?;
        let start = Instant::now();
        let ran = Process::start(&testbed.sender, client, None)
            .and_then(|mut process| process.wait(PATIENCE));
        let took = start.elapsed();
        let Some(ended) = ran.map_err(|error| failed(error.to_string()))? else {
            return Err(failed(format!("it has not ended after {PATIENCE:?}")));
        };
        let cpu = read_cpu()? - cpu;
        if !ended.status.success() {
            return Err(failed(ended.told()));
        }
        if let Some(server) = server
            && let Some(ended) =
                server.wait(Duration::ZERO).map_err(|error| failed(error.to_string()))?
        {
            return Err(failed(format!("its server is gone: {}", ended.told())));
        }
        let Ended { printed, .. } = ended;
        let (bytes, packets) = arrived(&mut testbed.receiver)?;
        let bytes = bytes.saturating_sub(bytes_before);
        let packets = packets.saturating_sub(packets_before);
        let mut values = vec![rate(bytes * 8, took), rate(packets, took), took.as_secs_f64() * 1e9];
        if let Some(field) = field {
            values.insert(0, figure(&printed, field).map_err(failed)?);
        }
        Ok(Round::all(1, values, Some(cpu)))
    }
}

/// Starts a server, and waits until it has a socket.
fn serve(
    testbed: &Testbed,
    words: &[String],
    processor: Option<usize>,
) -> Result<Process, BenchError> {
    let side = &testbed.receiver;
    let failed = || io_error(format!("start `{}` in mode {}", words.join(" "), testbed.mode.name));
    let sockets = || side.netns.run(sockets).map_err(failed());
    let before = sockets()?;
    let mut server = Process::start(side, words, processor).map_err(failed())?;
    let deadline = Instant::now() + START;
    while sockets()? <= before {
        if let Some(ended) = server.wait(POLL).map_err(failed())? {
            let why = format!("before it had a socket {}", ended.told());
            return Err(failed()(io::Error::other(why)));
        }
        if Instant::now() > deadline {
            let why = format!("it has no TCP or UDP socket after {START:?}");
            return Err(failed()(io::Error::other(why)));
        }
    }
    Ok(server)
}

/// TCP sockets that listen, and UDP sockets, of the calling thread's namespace: the
/// kernel's tables of sockets have the state in the fourth column, 0A for one that listens.
fn sockets() -> usize {
    let mut count = 0;
    for (table, wanted) in
        [("tcp", Some("0A")), ("tcp6", Some("0A")), ("udp", None), ("udp6", None)]
    {
        // That of IPv6 is not there where IPv6 is off.
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        let is_wanted = |line: &&str| {
            wanted.is_none_or(|wanted| line.split_whitespace().nth(3) == Some(wanted))
        };
        count += text.lines().skip(1).filter(is_wanted).count();
    }
    count
}

/// A number in what a program has printed.
fn figure(printed: &str, pointer: &str) -> Result<f64, String> {
    let value: serde_json::Value = serde_json::from_str(printed)
        .map_err(|error| format!("what it printed is no JSON: {error}"))?;
    let figure = value.pointer(pointer).ok_or_else(|| format!("it printed no {pointer}"))?;
    figure.as_f64().ok_or_else(|| format!("{pointer} is no number but {figure}"))
}

/// Bytes and packets that came in by the receiver's interface.
fn arrived(side: &mut Side) -> Result<(u64, u64), BenchError> {
    traffic::received_by(&mut side.netlink, side.ifindex)
        .map_err(|source| BenchError::Links { of: "the receiving namespace".to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_or_it_is_said_why_not() {
        let printed = r#"{"end": {"sum": [1, {"bits": 2.5}], "name": "x"}}"#;
        assert_eq!(figure(printed, "/end/sum/1/bits"), Ok(2.5));
        assert!(figure(printed, "/end/none").unwrap_err().contains("no /end/none"));
        assert!(figure(printed, "/end/name").unwrap_err().contains("no number"));
        assert!(figure("12 Mbit/s", "").unwrap_err().contains("no JSON"));
    }
}
