//! The benchmark's flows: entries of a lab's table as packets make them, without the
//! packets.

use aya::maps::{HashMap, MapData};
use nsbpf_common::flow::{Flow, FlowKey};

use super::DatapathError;
use super::load::FLOWS;
use super::ports::{map_error, open};
use crate::store::Store;

/// Fills the table of flows that last.
pub struct FlowsFiller {
    flows: HashMap<MapData, FlowKey, Flow>,
}

impl FlowsFiller {
    /// Opens the table of a lab that is up.
    pub fn open(store: &Store) -> Result<Self, DatapathError> {
        Ok(Self { flows: open(store, FLOWS)? })
    }

    /// Puts a flow in.
    pub fn put(&mut self, key: &FlowKey, flow: &Flow) -> Result<(), DatapathError> {
        self.flows.insert(key, flow, 0).map_err(map_error("write", FLOWS))
    }
}
