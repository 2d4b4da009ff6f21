//! Who sent how much to whom: the traffic matrix of a lab.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use nsbpf_common::stats::Cell;
use serde::Serialize;

use super::stats::{Tally, ports_of, rate};
use crate::datapath::{DatapathError, PairsReader};
use crate::state::{Datapath, State};
use crate::store::Store;

/// What the rows of a matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Namespaces.
    Namespace,
    /// Interfaces of namespaces.
    Interface,
}

/// What went from one to the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairReport {
    /// The sender; `None` for the host or what lies behind it.
    pub from: Option<String>,
    /// The receiver.
    pub to: String,
    /// Since the counters began.
    #[serde(flatten)]
    pub total: Tally,
    /// Since the last report; `None` in the first one.
    pub packets_per_second: Option<f64>,
    /// Since the last report; `None` in the first one.
    pub bits_per_second: Option<f64>,
}

/// The matrix of a lab.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrafficReport {
    /// Pairs that anything went between; the most bytes first.
    pub pairs: Vec<PairReport>,
    /// What the matrix had no room for: only in labs of more than 256 ports.
    pub missed: Tally,
}

type Ends = (Option<String>, String);

/// Watches the matrix of a lab.
pub struct TrafficWatch {
    reader: PairsReader,
    names: HashMap<u16, String>,
    last: Option<(Instant, BTreeMap<Ends, Cell>)>,
}

impl TrafficWatch {
    /// Watches all interfaces that the lab has now.
    pub fn new(
        store: &Store,
        state: &State,
        datapath: &Datapath,
        by: By,
    ) -> Result<Self, DatapathError> {
        let names = ports_of(state).map(|(id, number)| match by {
            By::Namespace => (number, id.namespace.to_string()),
            By::Interface => (number, id.to_string()),
        });
        let names = names.collect();
        Ok(Self { reader: PairsReader::open(store, datapath)?, names, last: None })
    }

    /// Reads the matrix. Rates are those since the read before; the first one has
    /// none.
    pub fn read(&mut self) -> Result<TrafficReport, DatapathError> {
        let now = Instant::now();
        let numbers: Vec<u16> = self.names.keys().copied().collect();
        let mut sums: BTreeMap<Ends, Cell> = BTreeMap::new();
        for (pair, cell) in self.reader.read(&numbers)? {
            // A port that went away meanwhile is nobody's.
            let Some(to) = self.names.get(&pair.to) else { continue };
            let ends = (self.names.get(&pair.from).cloned(), to.clone());
            *sums.entry(ends).or_default() += cell;
        }
        let report = |(ends, cell): (&Ends, &Cell)| {
            let before = self.last.as_ref().map(|(when, last)| {
                (now.duration_since(*when), last.get(ends).copied().unwrap_or_default())
            });
            let since = |count: fn(Cell) -> u64| {
                let (time, before): (Duration, Cell) = before?;
                Some(rate(count(*cell).saturating_sub(count(before)), time))
            };
            let (from, to) = ends.clone();
            PairReport {
                from,
                to,
                total: (*cell).into(),
                packets_per_second: since(|cell| cell.packets),
                bits_per_second: since(|cell| cell.bytes).map(|bytes| bytes * 8.0),
            }
        };
        let mut pairs: Vec<PairReport> = sums.iter().map(report).collect();
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.total.bytes));
        let missed = self.reader.missed()?.into();
        self.last = Some((now, sums));
        Ok(TrafficReport { pairs, missed })
    }
}
