//! Netlink requests for steps: a refusal is reported of the step it is for.

use super::failed;
use crate::apply::ApplyError;
use crate::net::Netlink;
use crate::net::socket::{BatchError, Request};
use crate::plan::Step;

/// Requests, each with the step that it is for.
#[derive(Default)]
pub(super) struct Requests<'a> {
    requests: Vec<Request>,
    steps: Vec<&'a Step>,
}

impl<'a> Requests<'a> {
    pub(super) fn push(&mut self, step: &'a Step, request: Request) {
        self.steps.push(step);
        self.requests.push(request);
    }

    pub(super) fn send(self, netlink: &mut Netlink) -> Result<(), ApplyError> {
        let Self { requests, steps } = self;
        netlink.batch(requests).map_err(|BatchError { index, error }| match steps.get(index) {
            Some(step) => failed(step, error),
            None => ApplyError::Survey {
                what: "the kernel's answers".to_owned(),
                source: Box::new(error.into()),
            },
        })
    }
}
