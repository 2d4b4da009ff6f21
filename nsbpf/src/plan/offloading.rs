//! What a plan does about what interfaces leave to their drivers, for who wants to tell
//! it: TCP gets slower without.

use std::fmt;

use super::Step;
use crate::state::{Object, Offloads};

/// Interfaces whose frames leave them otherwise than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloading {
    /// So many send finished frames now.
    pub off: usize,
    /// So many leave to their drivers again what they had left to them.
    pub back: usize,
}

impl Offloading {
    /// What the steps do; `None` when they do nothing of that kind. Interfaces that go
    /// altogether do not count.
    #[must_use]
    pub fn of(steps: &[Step]) -> Option<Self> {
        let finishes = |object: &Object| match object {
            Object::Offloads(Offloads { sends_finished, .. }) => *sends_finished,
            _ => false,
        };
        let mut all = Self::default();
        for step in steps {
            let (before, after) = match step {
                Step::Add(to) => (false, finishes(to)),
                Step::Change { from, to } => (finishes(from), finishes(to)),
                Step::Remove(from) => (finishes(from), false),
                Step::Retire(_) => (false, false),
            };
            all.off += usize::from(after && !before);
            all.back += usize::from(before && !after);
        }
        (all != Self::default()).then_some(all)
    }
}

impl fmt::Display for Offloading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { off, back } = *self;
        let interfaces = |count| format!("{count} interface{}", if count == 1 { "" } else { "s" });
        let off = (off > 0).then(|| {
            format!(
                "tx checksum and VLAN offload are off on {}, as XDP needs it; TCP in bulk will be slower",
                interfaces(off)
            )
        });
        let back = (back > 0).then(|| {
            format!("tx checksum and VLAN offload are as they were on {}", interfaces(back))
        });
        let said: Vec<String> = off.into_iter().chain(back).collect();
        formatter.write_str(&said.join("; "))
    }
}
