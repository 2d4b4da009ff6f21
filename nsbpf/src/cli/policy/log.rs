//! `nsbpf policy log`: packets that rules log, as they come.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use nsbpf_common::policy::{LogRecord, PolicyEvents};
use serde::Serialize;

use super::look;
use crate::cli::interrupt::Interrupt;
use crate::cli::say::say;
use crate::cli::view::Format;
use crate::datapath::{PolicyLog, policy_events};
use crate::lab::Name;
use crate::observe::policy::{Ends, Logged, LoggedEnd, Names, in_force};
use crate::state::Datapath;
use crate::store::{PolicyRecord, Store};

/// How often it is looked whether packets were not logged, and whether others took the
/// programs' place.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Print packets that rules log, until Ctrl-C
///
/// Those that wait there already come first. Each packet is told once: of two of these
/// commands, the second is refused.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// End after so many packets
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Packets that were not logged since this command began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Missed {
    /// There were too many in a short time.
    unlogged: u64,
    /// There was no room for them.
    lost: u64,
}

impl Missed {
    fn between(before: PolicyEvents, now: PolicyEvents) -> Self {
        Self {
            unlogged: now.unlogged.wrapping_sub(before.unlogged),
            lost: now.lost.wrapping_sub(before.lost),
        }
    }
}

/// What is told of one lab's log.
struct Reader {
    store: Store,
    lab: Name,
    format: Format,
    names: Names,
    datapath: Datapath,
    policy: Option<PolicyRecord>,
    /// What there was when this command began.
    before: PolicyEvents,
    told: Missed,
}

impl Log {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { lab, count, format } = self;
        let store = Store::new(&lab);
        let (state, datapath) = look(&lab, &store)?;
        if datapath.policy.is_none() {
            bail!(
                "the lab `{lab}` has no policy, so nothing is logged: `nsbpf policy set` gives it one"
            );
        }
        let names = Names::new(&state);
        let before = policy_events(&store, &datapath)?;
        let policy = in_force(&store, &datapath)?;
        let told = Missed::default();
        let reader = Reader { store, lab, format, names, datapath, policy, before, told };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the async runtime")?;
        runtime.block_on(reader.follow(count))
    }
}

impl Reader {
    async fn follow(mut self, count: Option<u64>) -> anyhow::Result<()> {
        let mut interrupt = Interrupt::listen().context("listen for signals")?;
        let mut log = PolicyLog::open(&self.store)?;
        let mut ticker = tokio::time::interval(LOOK_AGAIN);
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            tokio::select! {
                () = interrupt.wished() => break,
                records = log.next() => {
                    for record in records?.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                        self.tell(record)?;
                        left -= 1;
                    }
                }
                _ = ticker.tick() => {
                    self.look_again(&log)?;
                    self.tell_missed()?;
                }
            }
        }
        self.tell_missed()
    }

    fn tell(&mut self, record: &LogRecord) -> anyhow::Result<()> {
        let is_known =
            self.policy.as_ref().is_some_and(|policy| policy.generation >= record.generation);
        if !is_known {
            self.policy = in_force(&self.store, &self.datapath)?;
        }
        let logged = self.names.describe(record, self.policy.as_ref());
        let text = match self.format {
            Format::Json => serde_json::to_string(&logged)?,
            Format::Table => line(&logged),
        };
        Ok(say(&text)?)
    }

    /// Whether the lab is there still, and logs there: with more room for rules programs
    /// have other maps, but the same log.
    fn look_again(&mut self, log: &PolicyLog) -> anyhow::Result<()> {
        let Self { store, lab, datapath, .. } = self;
        if !store.folder().exists() {
            return Err(anyhow!("the lab `{lab}` was taken down"));
        }
        if !log.is_current(store) {
            return Err(anyhow!("the policy of `{lab}` was taken away"));
        }
        if let Some((now, _)) = crate::datapath::observe(store) {
            *datapath = now;
        }
        Ok(())
    }

    /// Says how many packets were not logged, when there are more than it was said.
    fn tell_missed(&mut self) -> anyhow::Result<()> {
        let missed = Missed::between(self.before, policy_events(&self.store, &self.datapath)?);
        if missed == self.told {
            return Ok(());
        }
        self.told = missed;
        let text = match self.format {
            Format::Json => serde_json::to_string(&missed)?,
            Format::Table => {
                let Missed { unlogged, lost } = missed;
                format!(
                    "not logged so far: {unlogged} because there were too many, {lost} for want of room"
                )
            }
        };
        Ok(say(&text)?)
    }
}

/// `2026-01-01T00:00:00.000000Z web allow vnet0/eth0 10.0.0.1:1234 → vnet1/eth0 10.0.0.2:80 tcp syn 74 B`
fn line(logged: &Logged) -> String {
    let Logged { time, rule, action, dropped, via, protocol, ends, flags, bytes } = logged;
    let Ends { from, to } = ends;
    let rule = rule.as_deref().unwrap_or("(default)");
    // An action tells what became of the packet, but where it counts.
    let became = match (*action, dropped) {
        ("limit", true) => " dropped",
        ("limit", false) => " passed",
        _ => "",
    };
    let sender = via.as_deref().or(from.interface.as_deref());
    let mut line = format!("{time} {rule} {action}{became} {}", end(sender, from));
    // Writing to a string does not fail.
    let _ = write!(line, " → {} {protocol}", end(to.interface.as_deref(), to));
    if let Some(flags) = flags.as_deref().filter(|flags| !flags.is_empty()) {
        let _ = write!(line, " {flags}");
    }
    let _ = write!(line, " {bytes} B");
    line
}

/// `vnet0/eth0 10.0.0.1:80`, or a MAC address of what is no IP.
fn end(interface: Option<&str>, end: &LoggedEnd) -> String {
    let address = match (end.address, end.port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, _) => end.mac.clone(),
    };
    interface.map_or_else(|| address.clone(), |interface| format!("{interface} {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_a_line() {
        let end = |address: &str, port, interface: Option<&str>| LoggedEnd {
            mac: "02:00:00:00:00:01".to_owned(),
            address: address.parse().ok(),
            port,
            interface: interface.map(str::to_owned),
        };
        let mut logged = Logged {
            time: "T".to_owned(),
            rule: Some("web".to_owned()),
            action: "allow",
            dropped: false,
            via: Some("router/left".to_owned()),
            protocol: "tcp".to_owned(),
            ends: Ends {
                from: end("10.0.0.1", Some(1234), Some("a/eth0")),
                to: end("fd00::2", Some(80), None),
            },
            flags: Some("syn".to_owned()),
            bytes: 74,
        };
        let expected = "T web allow router/left 10.0.0.1:1234 → [fd00::2]:80 tcp syn 74 B";
        assert_eq!(line(&logged), expected);
        (logged.rule, logged.action, logged.dropped) = (None, "limit", true);
        (logged.flags, logged.via) = (None, None);
        logged.ends.to = end("", None, Some("b/eth0"));
        let expected =
            "T (default) limit dropped a/eth0 10.0.0.1:1234 → b/eth0 02:00:00:00:00:01 tcp 74 B";
        assert_eq!(line(&logged), expected);
    }
}
