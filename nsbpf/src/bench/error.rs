//! Why nothing could be measured.

use std::io;

use crate::apply::{ApplyError, NoWay};
use crate::datapath::DatapathError;
use crate::lab::LabError;
use crate::net::NetlinkError;
use crate::store::StoreError;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A lab did not come up, or not down.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Programs cannot be attached.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// A lab's folder could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A program could not be loaded, attached or run.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The kernel did not tell of links.
    #[error("look at the links of {of}: {source}")]
    Links {
        /// Whose.
        of: String,
        /// What the kernel said.
        source: NetlinkError,
    },
    /// The benchmark's own lab is wrong.
    #[error("the lab of the benchmark is not valid: {0}")]
    Lab(#[from] Box<LabError>),
    /// Something is missing that the lab has.
    #[error("{0} is not there although its lab is up: somebody else is at it")]
    Vanished(String),
    /// Nothing passes a router.
    #[error("in mode {mode} the receiver does not reach the sender")]
    Unreachable {
        /// The mode.
        mode: &'static str,
    },
    /// Frames passed the datapath by.
    #[error(
        "in mode {mode} {delivered} frames arrived and the datapath counted {counted}: its programs are not where the frames pass, and what was measured is something else"
    )]
    Uncounted {
        /// The mode.
        mode: &'static str,
        /// Frames that arrived.
        delivered: u64,
        /// Frames that were counted at the sender.
        counted: u64,
    },
    /// A system call failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was done, to what.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
}

pub(super) fn io_error(operation: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    let operation = operation.into();
    move |source| BenchError::Io { operation, source }
}
