//! `nsbpf flows`: who says what to whom in a lab that is up, and its connections.

mod text;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use ipnet::IpNet;
use nsbpf_common::flow::TcpState;
use serde::Serialize;

use super::counting::counting;
use super::no_lab::no_lab;
use super::privilege;
use super::view::{Format, Page, View, interval};
use crate::apply::survey;
use crate::lab::{Name, nearest};
use crate::observe::flows::{Filter, FlowsReport, FlowsWatch, Protocol, Query, Sort};
use crate::state::{Key, State};
use crate::store::Store;

/// Flows that a table has if nobody says.
const ROWS: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Flows {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// Which flows come first
    #[arg(long, value_enum, default_value_t)]
    sort: SortArg,
    /// Show so many flows at most [default: 20 in a table, all in JSON]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Show all flows
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Show them again and again, with rates, until Ctrl-C [default time between: 1s]
    #[arg(long, value_name = "INTERVAL", value_parser = interval, num_args = 0..=1,
        default_missing_value = "1s", require_equals = true)]
    watch: Option<Duration>,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    // Last: what comes after it would be under its heading.
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Only flows that")]
struct FilterArgs {
    /// are of this protocol, by its name or number; `icmp` is that of IPv6 too
    #[arg(long, value_name = "PROTOCOL")]
    proto: Option<Protocol>,
    /// have this port at one end
    #[arg(long)]
    port: Option<u16>,
    /// have one end of this address or subnet; given twice: between the two
    #[arg(long, value_name = "ADDRESS", value_parser = host)]
    host: Vec<IpNet>,
    /// have one end in this namespace, or go through it; given twice: between the two
    #[arg(long, value_parser = Name::new)]
    namespace: Vec<Name>,
    /// are TCP connections in this state
    #[arg(long, value_parser = state)]
    state: Option<TcpState>,
    /// had a packet within this time, such as `10s`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    active: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum SortArg {
    /// Those of the most bytes
    #[default]
    Bytes,
    /// Those of the most packets
    Packets,
    /// Those whose last packet came last
    Recent,
    /// Those that began first
    Oldest,
    /// Those whose handshake took longest
    Rtt,
}

impl From<SortArg> for Sort {
    fn from(sort: SortArg) -> Self {
        match sort {
            SortArg::Bytes => Self::Bytes,
            SortArg::Packets => Self::Packets,
            SortArg::Recent => Self::Recent,
            SortArg::Oldest => Self::Oldest,
            SortArg::Rtt => Self::Rtt,
        }
    }
}

impl Flows {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let Self { lab, sort, limit, all, filter, watch: again, format } = self;
        let store = Store::new(&lab);
        let state = survey(&store)?.state;
        if state.objects.is_empty() {
            return Err(no_lab(&lab));
        }
        if counting(&lab, &state)?.flows == 0 {
            bail!(
                "the lab `{lab}` tracks no flows: it was brought up with `--flows 0`; `nsbpf up` with its file, without that, tracks them, and counters start anew"
            );
        }
        for namespace in &filter.namespace {
            is_there(namespace, &lab, &state)?;
        }
        let rows = (format == Format::Table && !all).then_some(ROWS);
        let query = Query {
            filter: filter.into(),
            sort: sort.into(),
            limit: limit.or(rows),
            rates: again.is_some(),
        };
        let mut watch = FlowsWatch::new(&store, &state, query)?;
        let mut view = View::new(format);
        let watched = again.is_some();
        loop {
            let report = watch.read()?;
            view.show(&Shown { lab: lab.to_string(), watched, report })?;
            match again {
                // Nothing has to be taken back: a signal ends it as it ends anything.
                Some(interval) => std::thread::sleep(interval),
                None => return Ok(()),
            }
        }
    }
}

impl From<FilterArgs> for Filter {
    fn from(arguments: FilterArgs) -> Self {
        let FilterArgs { proto, port, host, namespace, state, active } = arguments;
        Self { protocol: proto, port, hosts: host, namespaces: namespace, state, active }
    }
}

fn is_there(namespace: &Name, lab: &Name, state: &State) -> anyhow::Result<()> {
    let names = state.objects.keys().filter_map(|key| match key {
        Key::Netns(name) | Key::Adopted(name) => Some(name),
        _ => None,
    });
    let names: Vec<&str> = names.map(Name::as_str).collect();
    if names.contains(&namespace.as_str()) {
        return Ok(());
    }
    let help = nearest(namespace.as_str(), names);
    let help = help.unwrap_or_else(|| "the lab has none".to_owned());
    Err(anyhow!("there is no namespace `{namespace}` in the lab `{lab}`: {help}"))
}

/// An address, or a subnet.
fn host(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "`10.0.0.1` or `10.0.0.0/24`, say".to_owned())
}

/// A state of a connection, by its name.
fn state(text: &str) -> Result<TcpState, String> {
    let known = || TcpState::ALL.into_iter().filter(|state| *state != TcpState::None);
    let state = known().find(|state| state.name() == text);
    state.ok_or_else(|| {
        let names: Vec<&str> = known().map(TcpState::name).collect();
        format!("one of {}", names.join(", "))
    })
}

#[derive(Serialize)]
struct Shown<'a> {
    lab: String,
    #[serde(skip)]
    watched: bool,
    #[serde(flatten)]
    report: FlowsReport<'a>,
}

impl Page for Shown<'_> {
    fn text(&self, lines: usize) -> String {
        // What is shown once may scroll.
        text::text(&self.lab, &self.report, if self.watched { lines } else { usize::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_subnet() {
        assert_eq!(host("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(host("fd00::1").unwrap().to_string(), "fd00::1/128");
        assert!(host("10.0.0.7/24").unwrap().contains(&IpAddr::from([10, 0, 0, 1])));
        assert!(host("example.org").is_err());
    }

    #[test]
    fn a_state_has_a_name() {
        assert_eq!(state("syn-sent"), Ok(TcpState::SynSent));
        assert!(state("-").unwrap_err().starts_with("one of syn-sent, syn-received"));
    }
}
