//! What xtask and the first process of its virtual machine have to agree on.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Where the orders are inside the machine.
pub const ORDERS: &str = "/orders.json";

/// The I/O port of qemu's `isa-debug-exit`.
pub const EXIT_PORT: u16 = 0x501;

/// What the first process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Modules to load, each after those that it depends on.
    pub modules: Vec<PathBuf>,
    /// The program to run, and its arguments.
    pub command: Vec<String>,
    /// The folder to run it in.
    pub folder: PathBuf,
    /// All of its environment.
    pub environment: BTreeMap<String, String>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program ended well.
    Success = 0x20,
    /// The program ended otherwise.
    Failure = 0x21,
    /// It could not be run at all.
    Broken = 0x22,
}

impl Outcome {
    /// The exit status that qemu makes of it. A machine that panics, halts or
    /// restarts makes it 0, so none of them is that.
    #[must_use]
    pub fn status(self) -> i32 {
        (self as i32) << 1 | 1
    }
}
