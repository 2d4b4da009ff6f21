//! What a plan does to programs that are loaded, for who wants to tell it.

use std::fmt;

use super::Step;
use crate::state::{Datapath, Object};

/// What became of the programs that were loaded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// Others took their places at the hooks and go on with their maps.
    InPlace,
    /// The maps were made anew too, for this reason.
    Anew(String),
}

impl Replacement {
    /// What the steps do to loaded programs; `None` when they leave them alone, or
    /// there are none before or none afterwards.
    #[must_use]
    pub fn of(steps: &[Step]) -> Option<Self> {
        let mut removed = None;
        for step in steps {
            match step {
                Step::Change { to: Object::Datapath(_), .. } => return Some(Self::InPlace),
                Step::Remove(Object::Datapath(from)) => removed = Some(from),
                Step::Add(Object::Datapath(to)) => {
                    return removed.map(|from| Self::Anew(why_anew(from, to)));
                }
                _ => {}
            }
        }
        None
    }
}

fn why_anew(from: &Datapath, to: &Datapath) -> String {
    if from.abi != to.abi {
        return format!("the maps' layout was version {} and is {}", from.abi, to.abi);
    }
    if from.port_base != to.port_base {
        return "the lab has other interface indices".to_owned();
    }
    if from.flows != to.flows {
        let (had, has) = (from.flows, to.flows);
        return format!("the maps had room for {had} flows and have it for {has}");
    }
    let (had, has) = (from.port_capacity, to.port_capacity);
    format!("the maps had room for {had} ports and have it for {has}")
}

impl fmt::Display for Replacement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPlace => write!(formatter, "programs replaced in place, counters kept"),
            Self::Anew(why) => write!(formatter, "counters start anew: {why}"),
        }
    }
}
