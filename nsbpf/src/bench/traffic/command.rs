//! Somebody else's program as traffic: started in the sender's namespace, beside one in
//! the receiver's that it talks to. What it moves is what the receiver's interface
//! counts, so that any program will do.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::frames::rate;
use super::{Metric, Quantity, Round, Traffic};
use crate::bench::cpu::CpuTime;
use crate::bench::processor;
use crate::bench::testbed::{Side, Testbed};
use crate::bench::wiring::SENDER;
use crate::bench::{BenchError, io_error};
use crate::net::traffic;

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is waited until a server has a socket.
const START: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// Bytes that are kept of what a program prints.
const MOST_PRINTED: u64 = 16 << 20;

/// What is run. In each word `{sender}` and `{receiver}` stand for IPv4 addresses. No shell
/// reads it.
#[derive(Clone, Debug)]
pub struct Command {
    /// In the sender's namespace, once a round: a program and its arguments.
    pub client: Vec<String>,
    /// In the receiver's namespace, from before the first round to after the last one.
    pub server: Option<Vec<String>>,
    /// What of the JSON that the client prints is the figure, as a JSON pointer (RFC 6901);
    /// `None` for what arrives in a second, by the count of the receiver's interface.
    pub field: Option<String>,
}

/// A command on a path.
pub(in crate::bench) struct CommandRuns {
    client: Vec<String>,
    field: Option<String>,
    /// Ends when this goes.
    server: Option<Server>,
    processors: Vec<usize>,
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl CommandRuns {
    /// What there is without a field, and with one.
    pub(in crate::bench) const METRICS: &[Metric] = &[
        Metric { name: "arrived", quantity: Quantity::BitsPerSecond },
        Metric { name: "packets", quantity: Quantity::PacketsPerSecond },
        Metric { name: "took", quantity: Quantity::Nanoseconds },
    ];
    pub(in crate::bench) const METRICS_OF_FIELD: &[Metric] = &[
        Metric { name: "figure", quantity: Quantity::Number },
        Self::METRICS[0],
        Self::METRICS[1],
        Self::METRICS[2],
    ];

    pub(in crate::bench) fn new(
        testbed: &Testbed,
        command: &Command,
        near: usize,
        far: usize,
    ) -> Result<Self, BenchError> {
        let receiver = testbed.mode.wiring.receiver().0.to_string();
        let fill = |words: &[String]| -> Vec<String> {
            let fill = |word: &String| {
                word.replace("{sender}", &SENDER.0.to_string()).replace("{receiver}", &receiver)
            };
            words.iter().map(fill).collect()
        };
        let Command { client, server, field } = command;
        let server =
            server.as_deref().map(|words| serve(testbed, &fill(words), far)).transpose()?;
        let mut processors = vec![near, far];
        processors.dedup();
        Ok(Self { client: fill(client), field: field.clone(), server, processors })
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
        let ran = start_inside(&testbed.sender, client, None, Stdio::piped())
            .and_then(|child| finish(child, start + PATIENCE));
        let took = start.elapsed();
        let (status, printed, said) = ran.map_err(|error| failed(error.to_string()))?;
        let cpu = read_cpu()? - cpu;
        if !status.success() {
            return Err(failed(format!("it ended with {status}: {}", said.trim_end())));
        }
        if let Some(Server(child)) = server
            && let Ok(Some(status)) = child.try_wait()
        {
            return Err(failed(format!("its server has ended with {status}")));
        }
        let (bytes, packets) = arrived(&mut testbed.receiver)?;
        let (bytes, packets) = (bytes - bytes_before, packets - packets_before);
        let mut values = vec![rate(bytes * 8, took), rate(packets, took), took.as_secs_f64() * 1e9];
        if let Some(field) = field {
            values.insert(0, figure(&printed, field).map_err(failed)?);
        }
        Ok(Round { sent: packets, delivered: packets, values, cpu: Some(cpu) })
    }
}

/// Starts a server, and waits until it has a socket.
fn serve(testbed: &Testbed, words: &[String], processor: usize) -> Result<Server, BenchError> {
    let side = &testbed.receiver;
    let failed = || io_error(format!("start `{}` in mode {}", words.join(" "), testbed.mode.name));
    let sockets = || side.netns.run(sockets).map_err(failed());
    let before = sockets()?;
    let child = start_inside(side, words, Some(processor), Stdio::null()).map_err(failed())?;
    let mut server = Server(child);
    let deadline = Instant::now() + START;
    while sockets()? <= before {
        if let Some(status) = server.0.try_wait().map_err(failed())? {
            let why = format!("it ended with {status} before it had a socket");
            return Err(failed()(io::Error::other(why)));
        }
        if Instant::now() > deadline {
            let why = format!("it has no TCP or UDP socket after {START:?}");
            return Err(failed()(io::Error::other(why)));
        }
        thread::sleep(POLL);
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

/// Starts a program inside a namespace, which ends when this process does, however that
/// ends.
fn start_inside(
    side: &Side,
    words: &[String],
    processor: Option<usize>,
    printed: Stdio,
) -> io::Result<Child> {
    let [program, arguments @ ..] = words else {
        return Err(io::Error::other("it has no words"));
    };
    let netns = side.netns.try_clone()?;
    let mut command = process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(printed).stderr(Stdio::piped());
    let inside = move || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        processor.map_or(Ok(()), processor::keep_to)
    };
    // SAFETY: between fork and exec it makes system calls only, and no memory.
    unsafe { command.pre_exec(inside) };
    command.spawn()
}

/// What a program prints, and what it says on standard error, once it has ended.
fn finish(mut child: Child, deadline: Instant) -> io::Result<(ExitStatus, String, String)> {
    let (printed, said) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let printed = scope.spawn(|| read(printed));
        let said = scope.spawn(|| read(said));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other(format!("it has not ended after {PATIENCE:?}")));
            }
            thread::sleep(POLL);
        };
        let join = |thread: thread::ScopedJoinHandle<'_, io::Result<String>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        Ok((status, join(printed)?, join(said)?))
    })
}

fn read(from: Option<impl io::Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MOST_PRINTED).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
