//! Where packets come from and go to, as ranges of port numbers and addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use nsbpf_common::policy::{ROUTED, field};

use super::MAX_CONDITIONS;
use super::space::{ORDINARY, Part, halves, parts};
use crate::lab::InterfaceId;
use crate::lab::policy::{Place, Ranges, Side};
use crate::policy::{Ends, Kind};

/// Ranges that words of rules may mean in all, as often as they are used: so long rules of
/// large labs take no longer than that.
const MOST_WORK: usize = 1 << 24;

/// Why a side has no meaning.
pub(super) enum Unclear {
    /// There is no such interface.
    Unknown(InterfaceId),
    /// It means too much.
    TooMuch,
}

/// What places mean.
#[derive(Clone, Default)]
struct Meaning {
    /// Numbers of ports at which one interface is.
    ports: Ranges<u64>,
    /// Addresses of IPv4 and of IPv6 that interfaces and namespaces have.
    owned: [Ranges<u128>; 2],
    /// Those that were written out.
    written: [Ranges<u128>; 2],
}

impl Meaning {
    fn len(&self) -> usize {
        let Self { ports, owned, written } = self;
        ports.len() + owned.iter().chain(written).map(Ranges::len).sum::<usize>()
    }
}

/// What sides of packets mean; what was asked once is known.
pub(super) struct Sides<'a> {
    ends: &'a Ends,
    /// By where the places are: they outlive this.
    known: HashMap<*const Place, Meaning>,
    work: usize,
}

impl<'a> Sides<'a> {
    pub(super) fn new(ends: &'a Ends) -> Self {
        Self { ends, known: HashMap::new(), work: 0 }
    }

    /// Of packets of a kind, what comes from one side.
    pub(super) fn from(&mut self, kind: Kind, side: &Side) -> Result<Vec<Part>, Unclear> {
        let Meaning { ports, owned, written } = self.meaning(side)?;
        let routed = || Ranges::new([ROUTED..=ROUTED]);
        let Some((owned, written)) = of_kind(kind, &owned, &written) else {
            // What has no address comes by a port at most.
            let ports = if side.negated { ports.missing_from(0..=u64::MAX) } else { ports };
            return Ok(parts(field::PORT, &ports));
        };
        let halves = |ranges| halves(kind, field::SOURCE, field::SOURCE_REST, &ranges);
        if side.negated {
            let elsewhere = halves(written.missing_from(all(kind)));
            if ports.is_empty() && owned.is_empty() {
                return Ok(elsewhere);
            }
            let ordinary = parts(field::PORT, &ports.missing_from(ORDINARY));
            let unknown = halves(written.or(owned).missing_from(all(kind)));
            let mut from = product(&ordinary, &elsewhere)?;
            from.extend(product(&parts(field::PORT, &routed()), &unknown)?);
            return Ok(from);
        }
        let by_router = halves(owned.without(written));
        let mut from = parts(field::PORT, &ports);
        from.extend(product(&parts(field::PORT, &routed()), &by_router)?);
        from.extend(halves(written.clone()));
        Ok(from)
    }

    /// Of packets of a kind, what goes to one side.
    pub(super) fn to(&mut self, kind: Kind, side: &Side) -> Result<Vec<Part>, Unclear> {
        let Meaning { owned, written, .. } = self.meaning(side)?;
        let Some((owned, written)) = of_kind(kind, &owned, &written) else {
            return Ok(if side.negated { vec![Part::new()] } else { Vec::new() });
        };
        let all_of_it = owned.or(written);
        let to = if side.negated { all_of_it.missing_from(all(kind)) } else { all_of_it };
        Ok(halves(kind, field::DESTINATION, field::DESTINATION_REST, &to))
    }

    fn meaning(&mut self, side: &Side) -> Result<Meaning, Unclear> {
        let mut words = side.words.iter();
        let first = words.next().map(|word| self.of_word(&word.places)).transpose()?;
        let mut all = first.unwrap_or_default();
        let mut more = Vec::new();
        for word in words {
            more.push(self.of_word(&word.places)?);
        }
        if !more.is_empty() {
            let union = |one: &dyn Fn(&Meaning) -> &Ranges<u128>| {
                Ranges::new([&all].into_iter().chain(&more).flat_map(|it| one(it).iter()))
            };
            let owned = [union(&|it| &it.owned[0]), union(&|it| &it.owned[1])];
            let written = [union(&|it| &it.written[0]), union(&|it| &it.written[1])];
            let ports = [&all].into_iter().chain(&more).flat_map(|it| it.ports.iter());
            all = Meaning { ports: Ranges::new(ports), owned, written };
        }
        Ok(all)
    }

    fn of_word(&mut self, places: &[Place]) -> Result<Meaning, Unclear> {
        let known = if let Some(known) = self.known.get(&places.as_ptr()) {
            known.clone()
        } else {
            let new = self.look_up(places)?;
            self.known.insert(places.as_ptr(), new.clone());
            new
        };
        self.spend(known.len())?;
        Ok(known)
    }

    fn spend(&mut self, work: usize) -> Result<(), Unclear> {
        self.work = self.work.saturating_add(work);
        if self.work > MOST_WORK { Err(Unclear::TooMuch) } else { Ok(()) }
    }

    fn look_up(&mut self, places: &[Place]) -> Result<Meaning, Unclear> {
        let (mut ports, mut owned, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for place in places {
            match place {
                Place::Net(net) => written.push(range(net)),
                Place::Own(address) => owned.push(range(&IpNet::from(*address))),
                Place::Interfaces(ids) => {
                    self.spend(ids.len())?;
                    for id in ids.iter() {
                        let end = self.ends.get(id);
                        let end = end.ok_or_else(|| Unclear::Unknown(id.clone()))?;
                        if !end.is_router {
                            ports.push(u64::from(end.number)..=u64::from(end.number));
                        }
                        let addresses = end.addresses.iter();
                        owned.extend(addresses.map(|address| range(&IpNet::from(*address))));
                    }
                }
            }
        }
        let of = |is_v4: bool, some: &[(bool, RangeInclusive<u128>)]| {
            let some = some.iter().filter(|(it, _)| *it == is_v4);
            Ranges::new(some.map(|(_, range)| range.clone()))
        };
        Ok(Meaning {
            ports: Ranges::new(ports),
            owned: [of(true, &owned), of(false, &owned)],
            written: [of(true, &written), of(false, &written)],
        })
    }
}

/// Whether that is IPv4, and the addresses, as numbers.
fn range(net: &IpNet) -> (bool, RangeInclusive<u128>) {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    (net.addr().is_ipv4(), number(net.network())..=number(net.broadcast()))
}

/// All addresses of a kind.
fn all(kind: Kind) -> RangeInclusive<u128> {
    if kind == Kind::V4 { 0..=u128::from(u32::MAX) } else { 0..=u128::MAX }
}

/// The addresses of a kind; `None` where there are none.
fn of_kind<'a>(
    kind: Kind,
    [owned_v4, owned_v6]: &'a [Ranges<u128>; 2],
    [written_v4, written_v6]: &'a [Ranges<u128>; 2],
) -> Option<(&'a Ranges<u128>, &'a Ranges<u128>)> {
    match kind {
        Kind::V4 => Some((owned_v4, written_v4)),
        Kind::V6 => Some((owned_v6, written_v6)),
        Kind::Other => None,
    }
}

/// What is in one of some parts and in one of others.
fn product(some: &[Part], others: &[Part]) -> Result<Vec<Part>, Unclear> {
    if some.len().saturating_mul(others.len()) > MAX_CONDITIONS {
        return Err(Unclear::TooMuch);
    }
    let with = |one: &Part| {
        let one = one.clone();
        others.iter().map(move |other| one.iter().chain(other).cloned().collect())
    };
    Ok(some.iter().flat_map(with).collect())
}
