//! Forwarding on the host, shared by all labs with an uplink.
//!
//! The first lab that needs it turns it on, the last one that leaves puts back
//! what was there before. Who needs it and what was there is in a note that all
//! labs share:
//!
//! ```text
//! /run/nsbpf/forwarding       the note
//! /run/nsbpf/forwarding.LAB   the note that LAB is about to put in its place
//! ```
//!
//! The note says what is about to be done before it is done, and is written under
//! the lock of the root folder. So whatever `kill -9` leaves, the next one that
//! comes by finishes: values that were to be put back are put back, and values
//! that were to be set count as set, which does no harm because a value is only
//! ever put back if it still is what we set.
//!
//! The switches have side effects (`inet_forward_change` and
//! `addrconf_fixup_forwarding`, Linux 6.18): both set the `forwarding` of each
//! interface, IPv4's turns `accept_redirects` over, and IPv6's makes the host
//! ignore router advertisements where `accept_ra` is 1 and forget the default
//! routes that it learnt from them. What they would not put back themselves is
//! noted too, and `accept_ra` is 2 before IPv6 forwarding is on.
//!
//! Who else came to need forwarding meanwhile, and found it on, cannot be told from
//! nobody: it ends with the last lab all the same.
//!
//! All is about the calling thread's network namespace, and the note about one:
//! labs that share a `/run` are expected to share their host too.

mod note;
mod switch;

use std::io;
use std::path::PathBuf;

use self::note::Note;
use self::switch::{is_on, overview, put_back, turn_on};
use crate::lab::Name;
use crate::store::{Store, StoreError};

/// Why forwarding could not be changed, or looked at.
#[derive(Debug, thiserror::Error)]
pub enum HostForwardingError {
    /// A file operation failed.
    #[error("forwarding on the host: {operation} {}: {source}", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The note is none.
    #[error(
        "forwarding on the host: {} is not what nsbpf writes: {source}. Put back what you need by hand (`sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding`), then remove the file.",
        path.display()
    )]
    Note {
        /// The note.
        path: PathBuf,
        /// Why it cannot be read.
        source: serde_json::Error,
    },
    /// The folder could not be locked.
    #[error("forwarding on the host: {0}")]
    Store(#[from] StoreError),
}

fn failed(operation: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> HostForwardingError {
    move |source| HostForwardingError::Io { operation, path, source }
}

/// A protocol that is forwarded.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
enum Family {
    Ipv4,
    Ipv6,
}

/// The protocols that a lab needs forwarded, or that are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Families {
    /// `net.ipv4.ip_forward`
    pub ipv4: bool,
    /// `net.ipv6.conf.all.forwarding`
    pub ipv6: bool,
}

impl Families {
    fn have(self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    fn each(self) -> impl Iterator<Item = Family> {
        [Family::Ipv4, Family::Ipv6].into_iter().filter(move |family| self.have(*family))
    }
}

/// Forwards what the lab needs, and no more of it what the lab needed before and
/// nobody needs now.
///
/// When it fails, the lab is noted as one that needs forwarding: [`release`] takes
/// that back.
pub fn enable(store: &Store, families: Families) -> Result<(), HostForwardingError> {
    settle(store, Some(families))
}

/// The lab needs no forwarding any more. One that never did is no error.
pub fn release(store: &Store) -> Result<(), HostForwardingError> {
    settle(store, None)
}

/// What of the lab's is forwarded: `None` if there is nothing to [`release`], not
/// what is noted if somebody turned it off, and nothing if a killed command left
/// work to finish.
pub fn enabled(store: &Store) -> Result<Option<Families>, HostForwardingError> {
    let note = Note::read()?.unwrap_or_default();
    let draft = store.forwarding_draft();
    let unfinished = draft.try_exists().map_err(failed("look for", draft))?;
    let Some(noted) = note.labs.get(store.lab().as_str()) else {
        return Ok(unfinished.then(Families::default));
    };
    if unfinished || !note.back.is_empty() {
        return Ok(Some(Families::default()));
    }
    Ok(Some(Families {
        ipv4: noted.ipv4 && is_on(Family::Ipv4)?,
        ipv6: noted.ipv6 && is_on(Family::Ipv6)?,
    }))
}

/// Labs that need forwarding, or were in the middle of saying so.
pub fn labs() -> Result<Vec<Name>, HostForwardingError> {
    let note = Note::read()?.unwrap_or_default();
    let noted = note.labs.keys().filter_map(|lab| Name::new(lab).ok());
    Ok(noted.chain(Store::forwarding_drafts()?).collect())
}

/// Leads from whatever is noted to the lab's having what it wants.
fn settle(store: &Store, wanted: Option<Families>) -> Result<(), HostForwardingError> {
    let lab = store.lab().as_str();
    let _lock = store.lock_root()?;
    let mut note = Note::read()?.unwrap_or_default();
    // What somebody was killed in the middle of.
    put_back(&note.back)?;
    note.back.clear();
    let before = note.labs.remove(lab);
    note.labs.extend(wanted.map(|wanted| (lab.to_owned(), wanted)));

    let needed = note.needed();
    let (kept, unneeded) = note.changes.into_iter().partition(|change| needed.have(change.family));
    note.changes = kept;
    let back = overview(&unneeded)?;
    let mut off = Vec::new();
    for family in wanted.unwrap_or_default().each() {
        if !is_on(family)? {
            off.push(family);
            let known = |file: &str| note.changes.iter().any(|change| change.file == file);
            let new = switch::changes(family)?.into_iter().filter(|change| !known(&change.file));
            let new: Vec<_> = new.collect();
            // The switch stays behind them, even one that was noted before.
            note.changes.splice(0..0, new);
        }
    }

    // Until all is done the lab is noted, so that its next command sees that
    // something is left to do.
    let mut intent = note.clone();
    intent.back.clone_from(&back);
    if let Some(before) = before {
        intent.labs.entry(lab.to_owned()).or_insert(before);
    }
    intent.write(store)?;
    for family in off {
        turn_on(family, &note.changes)?;
    }
    put_back(&back)?;
    if intent != note {
        note.write(store)?;
    }
    Ok(())
}
