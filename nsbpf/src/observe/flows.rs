//! Flows of a lab: who says how much to whom, the connections that these are, and what
//! became of those that are gone.

mod filter;
mod names;
mod ranking;
mod report;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use nsbpf_common::flow::{Flow, FlowKey};
use nsbpf_common::stats::Cell;

use crate::datapath::{DatapathError, FlowsReader};
use crate::state::State;
use crate::store::Store;
pub use filter::{Filter, Protocol};
pub(super) use filter::{has_ports, protocol_name};
pub(super) use names::Names;
pub use ranking::Sort;
use ranking::{Kept, Ranking};
pub use report::{EndReport, FlowReport, FlowsReport, IcmpReport, SentReport, Standing};

/// Which flows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Those of which all of this is so.
    pub filter: Filter,
    /// Which come first.
    pub sort: Sort,
    /// So many at most; `None` for all of them.
    pub limit: Option<usize>,
    /// Whether rates are wanted, for which all flows are remembered until the next look.
    pub rates: bool,
}

/// Watches the flows of a lab.
pub struct FlowsWatch {
    reader: FlowsReader,
    names: Names,
    query: Query,
    last: Option<Look>,
}

/// What was seen at one time.
struct Look {
    at: Duration,
    /// What both ends of each flow had sent, by a number that stands for the flow: keys in
    /// full would take twice the memory.
    sent: HashMap<u64, [Cell; 2]>,
    hasher: RandomState,
}

impl FlowsWatch {
    /// Watches the flows between all interfaces that the lab has now.
    pub fn new(store: &Store, state: &State, query: Query) -> Result<Self, DatapathError> {
        Ok(Self::of(FlowsReader::open(store)?, state, query))
    }

    /// Watches what that one reads.
    #[must_use]
    pub fn of(reader: FlowsReader, state: &State, query: Query) -> Self {
        Self { reader, names: Names::new(state), query, last: None }
    }

    /// Reads all flows. Rates are those since the read before; the first one has none.
    pub fn read(&mut self) -> Result<FlowsReport<'_>, DatapathError> {
        let Self { reader, names, query, last } = self;
        let Query { filter, sort, limit, rates } = query;
        // First: what begins while flows are read is not to look as if it were gone.
        let events = reader.events()?;
        let now = now();
        let mut look = Look::at(now, last.as_ref());
        let mut ranking = Ranking::new(*sort, *limit);
        let (mut there, mut matching) = (Standing::default(), 0);
        reader.each(|key, flow, settled| {
            *(if settled { &mut there.settled } else { &mut there.new }) += 1;
            if !filter.matches(key, flow, now, names) {
                return;
            }
            matching += 1;
            let before = if *rates { look.remember(key, flow, last.as_ref()) } else { None };
            ranking.add(Kept { key: *key, flow: *flow, settled, before });
        })?;
        let since = last.as_ref().map(|last| now.saturating_sub(last.at));
        if *rates {
            *last = Some(look);
        }
        let [settled, new] = reader.room().map(u64::from);
        let room = Standing { settled, new };
        Ok(FlowsReport::new(ranking.finish(), names, (now, since), matching, there, room, events))
    }
}

impl Look {
    fn at(at: Duration, last: Option<&Self>) -> Self {
        let (sent, hasher) = match last {
            Some(last) => (HashMap::with_capacity(last.sent.len()), last.hasher.clone()),
            None => (HashMap::new(), RandomState::new()),
        };
        Self { at, sent, hasher }
    }

    /// Notes what a flow has sent by now. Returns what it had at the last look.
    fn remember(&mut self, key: &FlowKey, flow: &Flow, last: Option<&Self>) -> Option<[Cell; 2]> {
        let number = self.hasher.hash_one(key);
        let sent = flow.directions.map(|one| one.sent());
        self.sent.insert(number, sent);
        let last = last?;
        if Duration::from_nanos(flow.first_seen_ns) > last.at {
            return Some([Cell::default(); 2]);
        }
        last.sent.get(&number).copied()
    }
}

/// The time by the clock that flows have.
fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}
