//! Who reaches whom: probes from inside the namespaces of a lab that is up.
//!
//! A socket keeps the namespace that it was made in, so all of them are waited
//! for from one thread. Nothing of it lasts: sockets end with the process,
//! however that ends.

mod ear;
mod pace;
mod ping;
mod settle;
mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::lab::{Lab, Name, Trial, Way};
use crate::net::icmp::Token;
use crate::net::neighbour::Neighbours;
use crate::net::{NetNs, NetlinkError};
use crate::store::Store;
use ear::Ears;
use pace::Pace;
use settle::settle;

/// Probes at the same time at most: each of them makes two entries, that of who
/// asks and that of who answers, in a neighbour table that has room for 1,024.
const TOGETHER: usize = 256;
/// How long one is believed who says that there is no route: it may come yet.
const ROUTE_PATIENCE: Duration = Duration::from_secs(1);

/// One thing to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// From where to where.
    pub trial: Trial,
    /// By what.
    pub way: Way,
    /// How long an answer may take, over several tries.
    pub patience: Duration,
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was reached, and its answer came back.
    Answer,
    /// It was reached, but its answer did not come back.
    NoWayBack,
    /// Somebody else answered in its place.
    Stranger,
    /// A connection was refused by where nobody listens.
    NobodyListens,
    /// A connection or datagram was refused although somebody listens: by a
    /// firewall.
    Refused,
    /// Nothing came in that time.
    Silence(Duration),
    /// The namespace has no route to there.
    NoRoute,
    /// Somebody on the way said that it leads no further.
    Unreachable {
        /// Why not.
        why: &'static str,
        /// Who said so.
        by: IpAddr,
    },
    /// The namespace itself does not let it out.
    NotSent(String),
    /// It cannot be found out.
    Unknown(String),
}

impl Seen {
    /// Whether packets got there; `None` where that cannot be known.
    #[must_use]
    pub fn reached(&self) -> Option<bool> {
        match self {
            // A refusal proves that packets cross, where nobody listens.
            Self::Answer | Self::NoWayBack | Self::Stranger | Self::NobodyListens => Some(true),
            Self::Refused
            | Self::Silence(_)
            | Self::NoRoute
            | Self::Unreachable { .. }
            | Self::NotSent(_) => Some(false),
            Self::Unknown(_) => None,
        }
    }

    /// Whether it is as expected of who must be reached, or must not.
    #[must_use]
    pub fn is_expected(&self, reach: bool) -> bool {
        if reach { *self == Self::Answer } else { self.reached() == Some(false) }
    }

    /// What a failed attempt to send says.
    fn not_sent(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::NETUNREACH) => Self::NoRoute,
            Some(Errno::HOSTUNREACH) => {
                Self::NotSent("unreachable: nobody has the address, or its router says so".into())
            }
            Some(Errno::PERM) => {
                Self::NotSent("a firewall in the namespace does not let it out".to_owned())
            }
            _ => Self::NotSent(format!("not sent: {error}")),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => formatter.write_str("it answers"),
            Self::NoWayBack => formatter.write_str("it was reached, but the answer got lost"),
            Self::Stranger => formatter.write_str("somebody else answers in its place"),
            Self::NobodyListens => {
                formatter.write_str("refused: packets cross, but nobody listens there")
            }
            Self::Refused => {
                formatter.write_str("refused, although somebody listens there: by a firewall")
            }
            Self::Silence(time) => write!(formatter, "no answer in {} s", time.as_secs_f64()),
            Self::NoRoute => formatter.write_str("the namespace has no route to it"),
            Self::Unreachable { why, by } => write!(formatter, "{why}, says {by}"),
            Self::NotSent(why) => formatter.write_str(why),
            Self::Unknown(why) => write!(formatter, "cannot be told: {why}"),
        }
    }
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// A namespace could not be opened.
    #[error("open the namespace `{namespace}`: {source}")]
    Open {
        /// Which.
        namespace: Name,
        /// What the kernel said.
        source: io::Error,
    },
    /// A namespace is not there.
    #[error("the lab has no namespace `{0}` now: `nsbpf up` makes what is missing")]
    Missing(Name),
    /// The namespaces could not be visited.
    #[error("visit the namespaces: {0}")]
    Visit(#[source] io::Error),
    /// A neighbour table could not be read.
    #[error("read a neighbour table: {0}")]
    Neighbours(#[from] NetlinkError),
}

/// The namespaces of a lab that is up.
pub struct Reach {
    namespaces: BTreeMap<Name, NetNs>,
    /// Who may pass packets on: those with several interfaces.
    routers: Vec<Name>,
}

impl Reach {
    /// Opens all namespaces of the lab.
    pub fn open(store: &Store, lab: &Lab) -> Result<Self, ReachError> {
        let mut namespaces = BTreeMap::new();
        for namespace in &lab.namespaces {
            let name = &namespace.name;
            let file = match namespace.adopted {
                None => store.netns_file(name.as_str()),
                Some(_) => store.adopted_file(name.as_str()),
            };
            let opened = match NetNs::open(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                opened => {
                    opened.map_err(|source| ReachError::Open { namespace: name.clone(), source })?
                }
            };
            let netns = opened.ok_or_else(|| ReachError::Missing(name.clone()))?;
            namespaces.insert(name.clone(), netns);
        }
        let routers = lab.namespaces.iter().filter(|namespace| namespace.interfaces.len() > 1);
        Ok(Self { namespaces, routers: routers.map(|router| router.name.clone()).collect() })
    }

    /// Makes all probes, `TOGETHER` at the same time; returns what came of
    /// each, in their order. `progress` is told how many are done.
    pub async fn probe(
        &self,
        probes: &[Probe],
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Seen>, ReachError> {
        let takes_part = self.takes_part(probes);
        settle(takes_part.iter().filter_map(|name| self.namespaces.get(*name))).await;
        let mut neighbours = self.neighbours(probes)?;
        let pace = Pace::new(self.namespaces.len());
        let mut seen = Vec::with_capacity(probes.len());
        for together in probes.chunks(TOGETHER) {
            seen.extend(self.together(together, &pace).await);
            if !neighbours.is_empty() {
                for name in self.takes_part(together) {
                    neighbours.get_mut(name).map(Neighbours::forget_new).transpose()?;
                }
            }
            progress(seen.len());
        }
        Ok(seen)
    }

    /// The neighbour tables that have to be kept small; none for a few probes.
    fn neighbours(&self, probes: &[Probe]) -> Result<BTreeMap<Name, Neighbours>, ReachError> {
        if probes.len() <= TOGETHER {
            return Ok(BTreeMap::new());
        }
        let taking_part: Vec<(&Name, &NetNs)> = self
            .takes_part(probes)
            .into_iter()
            .filter_map(|name| self.namespaces.get_key_value(name))
            .collect();
        let namespaces: Vec<&NetNs> = taking_part.iter().map(|(_, netns)| *netns).collect();
        let visited = NetNs::visit_all(&namespaces, |_| Ok(())).map_err(ReachError::Visit)?;
        let mut neighbours = BTreeMap::new();
        for ((name, _), (netlink, ())) in taking_part.into_iter().zip(visited) {
            neighbours.insert(name.clone(), Neighbours::note(netlink)?);
        }
        Ok(neighbours)
    }

    /// Who gets to know somebody by these probes.
    fn takes_part<'a>(&'a self, probes: &'a [Probe]) -> Vec<&'a Name> {
        let ends = probes
            .iter()
            .flat_map(|probe| std::iter::once(&probe.trial.from).chain(&probe.trial.to));
        let mut names: Vec<&Name> = ends.chain(&self.routers).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    async fn together(&self, probes: &[Probe], pace: &Pace) -> Vec<Seen> {
        let ears = Ears::open(&self.namespaces, probes);
        let mut pings: BTreeMap<(&Name, bool), Vec<(usize, &Probe)>> = BTreeMap::new();
        let mut running: Vec<BoxFuture<'_, Vec<(usize, Seen)>>> = Vec::new();
        let unknown = |why: &str| Seen::Unknown(why.to_owned());
        let mut seen = vec![unknown("the namespace is not there"); probes.len()];
        for (index, probe) in probes.iter().enumerate() {
            let from = &probe.trial.from;
            let Some(netns) = self.namespaces.get(from) else { continue };
            let ear = ears.of(probe);
            match probe.way {
                Way::Ping => {
                    let family = (from, probe.trial.address.is_ipv4());
                    pings.entry(family).or_default().push((index, probe));
                }
                Way::Tcp(port) => running.push(
                    async move { vec![(index, tcp::probe(netns, probe, port, ear, pace).await)] }
                        .boxed(),
                ),
                Way::Udp(port) => running.push(
                    async move { vec![(index, udp::probe(netns, probe, port, ear, pace).await)] }
                        .boxed(),
                ),
            }
        }
        for ((from, ipv4), probes) in pings {
            let Some(netns) = self.namespaces.get(from) else { continue };
            running.push(
                async move {
                    let targets: Vec<_> = probes
                        .iter()
                        .map(|(_, probe)| (probe.trial.address, probe.patience))
                        .collect();
                    let seen =
                        ping::probe(netns, ipv4, &targets, pace).await.unwrap_or_else(|error| {
                            let why = format!("a socket for ping: {error}");
                            vec![Seen::Unknown(why); targets.len()]
                        });
                    probes.iter().map(|(index, _)| *index).zip(seen).collect()
                }
                .boxed(),
            );
        }
        for (index, what) in join_all(running).await.into_iter().flatten() {
            seen[index] = what;
        }
        seen
    }
}

/// Bytes that nobody can guess.
fn token() -> io::Result<Token> {
    let mut token = Token::default();
    // So few bytes come at once, or not at all (random(7)).
    getrandom(&mut token, GetRandomFlags::empty())?;
    Ok(token)
}
