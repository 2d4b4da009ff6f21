//! Netlink requests for steps, in whichever namespaces: a refusal is reported of
//! the step it is for.

use std::collections::BTreeMap;

use super::{failed, impossible};
use crate::apply::ApplyError;
use crate::apply::survey::Opened;
use crate::lab::Name;
use crate::net::socket::{BatchError, Request};
use crate::net::{NetNs, Netlink};
use crate::plan::Step;
use crate::state::Place;

/// A socket in each place.
pub(super) struct Sockets {
    pub(super) host: Netlink,
    pub(super) namespaces: BTreeMap<Name, Opened>,
}

impl Sockets {
    /// The socket of a place, which a step is about.
    pub(super) fn get(&mut self, step: &Step, place: &Place) -> Result<&mut Netlink, ApplyError> {
        match place {
            Place::Host => Ok(&mut self.host),
            Place::Netns(name) => match self.namespaces.get_mut(name) {
                Some(opened) => Ok(&mut opened.netlink),
                None => Err(impossible(step, "its namespace is not there")),
            },
        }
    }

    /// A namespace, which a step is about.
    pub(super) fn netns(&self, step: &Step, name: &Name) -> Result<&NetNs, ApplyError> {
        match self.namespaces.get(name) {
            Some(opened) => Ok(&opened.netns),
            None => Err(impossible(step, "its namespace is not there")),
        }
    }
}

/// Requests, each with the step that it is for.
#[derive(Default)]
pub(super) struct Requests<'a>(BTreeMap<&'a Place, Vec<(&'a Step, Request)>>);

impl<'a> Requests<'a> {
    pub(super) fn push(&mut self, step: &'a Step, place: &'a Place, request: Request) {
        self.0.entry(place).or_default().push((step, request));
    }

    /// Sends them, those of a place together and in their order.
    pub(super) fn send(self, sockets: &mut Sockets) -> Result<(), ApplyError> {
        for (place, requests) in self.0 {
            let (steps, requests): (Vec<&Step>, Vec<Request>) = requests.into_iter().unzip();
            let Some(first) = steps.first() else { continue };
            let socket = sockets.get(first, place)?;
            socket.batch(requests).map_err(|BatchError { index, error }| {
                failed(steps.get(index).unwrap_or(first), error)
            })?;
        }
        Ok(())
    }
}
