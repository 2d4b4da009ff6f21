//! Bringing the kernel to where a lab wants it, and back.
//!
//! The kernel is the truth: every run looks at it first ([`survey`]), does what
//! is missing ([`execute`]), and looks again. When a step fails, the same way
//! leads back: to the state that was found.

mod alias;
mod execute;
mod expedite;
mod filters;
mod leftovers;
mod marks;
mod moved;
mod restorable;
mod survey;
mod way;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::datapath::{self, DatapathError};
use crate::lab::{Lab, Name};
use crate::net::host_forwarding::HostForwardingError;
use crate::net::netns::{self, NetNsError};
use crate::net::nftables::TableError;
use crate::net::nsid::DeathWatch;
use crate::net::offload::OffloadError;
use crate::net::{NetNs, Netlink, NetlinkError};
use crate::plan::{self, Filtering, Offloading, PlanError, Replacement, Settings, Step};
use crate::state::{Key, Object, Objects, State};
use crate::store::{Store, StoreError};

use execute::Handles;
pub use execute::PolicySwap;
use expedite::Expedited;
pub use expedite::recover_grace_periods;
pub use leftovers::{Leftovers, delete_stray, leftovers};
use restorable::restorable;
use survey::survey_outside;
pub use survey::{NotFound, Opened, Survey, survey, survey_for};
pub use way::{NoWay, Wish, choose_way};

/// How long the kernel may take to tear down namespaces.
const NETNS_PATIENCE: Duration = Duration::from_secs(10);
/// How often a run starts over because another lab was faster to a slot.
const SLOT_TRIES: usize = 3;
/// How often steps are done until nothing is left to do.
const ROUNDS: usize = 3;

/// Why a lab could not be brought up or taken down.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The machine could not be looked at.
    #[error("look at {what}: {source}")]
    Survey {
        /// Which part of it.
        what: String,
        /// Why not.
        source: Box<Cause>,
    },
    /// A namespace that the lab only wires is not where the lab says.
    #[error("namespace {namespace}: {source}")]
    NotFound {
        /// Its name in the lab.
        namespace: Name,
        /// What is there instead.
        source: NotFound,
    },
    /// The lab does not fit the machine.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step failed.
    #[error("{verb} {key}: {source}")]
    Step {
        /// What was to happen.
        verb: &'static str,
        /// To what.
        key: Key,
        /// Why it did not.
        source: Box<Cause>,
    },
    /// The caller wanted it to stop.
    #[error("interrupted")]
    Interrupted,
    /// All steps went well, and still the kernel has something else.
    #[error("{} still differs from the lab after everything was done; another program may be changing it", list(.0))]
    NotConverged(Vec<Key>),
    /// All steps went well, and still the kernel has some of it.
    #[error("{} is still there after everything was removed; another program may be making it anew", list(.0))]
    NotGone(Vec<Key>),
    /// A step failed, and what was done before is undone.
    #[error("{cause}. What had been done was undone.")]
    Undone {
        /// The failure.
        cause: Box<Self>,
    },
    /// A step failed, and so did undoing.
    #[error(
        "{cause}. Undoing what had been done failed too: {undo}. Run the same command again once the cause is gone: it goes on from what is there."
    )]
    NotUndone {
        /// The first failure.
        cause: Box<Self>,
        /// The failure of the way back.
        undo: Box<Self>,
    },
}

/// What the caller wants, and wants to know, while steps are done.
pub trait Oversight: Sync {
    /// Whether to stop before the next steps; what was done is undone then.
    fn cancelled(&self) -> bool;

    /// So many of the steps are done, and this one is next.
    fn progress(&self, _done: usize, _steps: usize, _next: &Step) {}
}

impl Oversight for AtomicBool {
    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// What a part of the machine said.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is named after what it wraps")]
pub enum Cause {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    NetNs(#[from] NetNsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    #[error(transparent)]
    HostForwarding(#[from] HostForwardingError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Offload(#[from] OffloadError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("this kernel's bridges do not look at VLANs (CONFIG_BRIDGE_VLAN_FILTERING)")]
    NoVlanFiltering,
    #[error("it is `{is}` after `{value}` was written: write it in the lab as the kernel does")]
    ReadAs { value: String, is: String },
}

impl ApplyError {
    /// The kernel's error number, where it refused a request of a step.
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Step { source, .. } => match &**source {
                Cause::Netlink(error) => error.errno(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a step failed because its object is not there any more.
    fn is_gone(&self) -> bool {
        match self {
            Self::Step { source, .. } => {
                matches!(&**source, Cause::Netlink(error) if error.is_gone())
            }
            _ => false,
        }
    }

    /// Whether the kernel lacks something that no lab can do without.
    #[must_use]
    pub fn lacks_kernel_feature(&self) -> bool {
        match self {
            Self::Undone { cause } | Self::NotUndone { cause, .. } => cause.lacks_kernel_feature(),
            Self::Step { source, .. } => match &**source {
                Cause::Netlink(error) => error.errno() == Some(Errno::OPNOTSUPP),
                Cause::Datapath(DatapathError::NoXdpLinks | DatapathError::NoTcx)
                | Cause::NoVlanFiltering
                | Cause::Offload(OffloadError::NoEthtool)
                | Cause::Table(TableError::Unsupported { .. }) => true,
                _ => false,
            },
            _ => false,
        }
    }
}

fn list(keys: &[Key]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = keys.iter().take(SHOWN).map(ToString::to_string).collect();
    if keys.len() > SHOWN {
        names.push(format!("{} more", keys.len() - SHOWN));
    }
    names.join(", ")
}

/// What bringing a lab up did.
#[derive(Debug)]
pub struct Converged {
    /// The lab, as it is now.
    pub survey: Survey,
    /// Steps that were taken; 0 when everything was as wanted.
    pub steps: usize,
    /// What became of programs that were loaded before; `None` when they are as they
    /// were, or there were none.
    pub programs: Option<Replacement>,
    /// What became of what interfaces leave to their drivers; `None` when that is as it
    /// was.
    pub offloading: Option<Offloading>,
    /// What became of its policy; `None` when that is as it was, or there is none.
    pub policy: Option<PolicySwap>,
    /// What of packet filters its fast paths have to do with; not looked at when
    /// everything was as wanted.
    pub filtering: Filtering,
    /// Time for looking, planning, doing and looking again.
    pub took: Duration,
}

/// What taking a lab down did.
#[derive(Debug)]
pub struct TakenDown {
    /// Objects that were removed, those that went with others included.
    pub objects: usize,
    /// Time until the kernel was done with it.
    pub took: Duration,
    /// Namespaces that nobody can find any more and that live on, because
    /// something still uses them.
    pub lingering: Vec<Lingering>,
}

/// A namespace that outlives its lab.
#[derive(Debug)]
pub struct Lingering {
    /// Its name, when it had one.
    pub namespace: Name,
    /// Processes in it: number and name.
    pub users: Vec<(u32, String)>,
}

impl fmt::Display for Lingering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, users } = self;
        let users: Vec<String> =
            users.iter().map(|(pid, name)| format!("{name} (pid {pid})")).collect();
        let users = if users.is_empty() { "something".to_owned() } else { users.join(", ") };
        write!(
            formatter,
            "namespace {namespace} has no name any more, but lives until {users} lets go of it"
        )
    }
}

/// Brings a lab up: makes what is missing, changes what differs, removes what
/// is too much. The caller holds the lab's lock.
///
/// `oversight` may stop it between two steps; what was done is undone then.
///
/// # Errors
/// After an error the machine is as it was before, unless the error says so.
pub fn converge(
    store: &Store,
    lab: &Lab,
    settings: &Settings,
    oversight: &dyn Oversight,
) -> Result<Converged, ApplyError> {
    let start = Instant::now();
    recover_grace_periods();
    let mut tries = 1;
    loop {
        match try_converge(store, lab, settings, oversight) {
            Err(error) if tries < SLOT_TRIES && lost_slot(&error) => tries += 1,
            Err(error) => return Err(error),
            Ok(converged) => return Ok(Converged { took: start.elapsed(), ..converged }),
        }
    }
}

fn lost_slot(error: &ApplyError) -> bool {
    match error {
        ApplyError::Undone { cause } => lost_slot(cause),
        ApplyError::Step { source, .. } => {
            matches!(**source, Cause::Store(StoreError::SlotTaken(_)))
        }
        _ => false,
    }
}

fn try_converge(
    store: &Store,
    lab: &Lab,
    settings: &Settings,
    oversight: &dyn Oversight,
) -> Result<Converged, ApplyError> {
    let found = survey_for(store, lab)?;
    let wanted = plan::desired(lab, settings, &found.state)?;
    let steps = plan::diff(&wanted, &found.state)?;
    let (programs, offloading) = (Replacement::of(&steps), Offloading::of(&steps));
    let took = Duration::ZERO;
    if steps.is_empty() {
        let filtering = Filtering::default();
        let policy = None;
        return Ok(Converged {
            survey: found,
            steps: 0,
            programs,
            offloading,
            policy,
            filtering,
            took,
        });
    }
    let opened = found.namespaces.iter();
    let adopted = opened.filter(|(_, opened)| opened.adopted);
    let adopted = held(adopted.map(|(name, opened)| (name, &opened.netns)));
    let before = found.state.clone();
    match settle(store, &wanted, found, steps, oversight) {
        Ok((mut survey, steps, policy)) => {
            forget_policies(store, &survey.state)?;
            moved::announce(&before.objects, &mut survey)?;
            let passed_by = filters::passed_by(&wanted, &before, &survey);
            let filtering = Filtering::new(lab, settings, &before, passed_by);
            Ok(Converged { survey, steps, programs, offloading, policy, filtering, took })
        }
        Err(cause) => {
            let cause = Box::new(cause);
            Err(match undo(store, &before, adopted) {
                Ok(()) => ApplyError::Undone { cause },
                Err(undo) => ApplyError::NotUndone { cause, undo: Box::new(undo) },
            })
        }
    }
}

/// Does steps, looks again, and goes on until nothing is left to do: the kernel
/// takes more than it is told to. With an interface's last address go the routes
/// by it, with the first of a subnet the others, and with an interface that is
/// taken down its IPv6 addresses. Returns how many steps it took, and what became of the
/// policy.
fn settle(
    store: &Store,
    wanted: &Objects,
    mut found: Survey,
    mut steps: Vec<Step>,
    oversight: &dyn Oversight,
) -> Result<(Survey, usize, Option<PolicySwap>), ApplyError> {
    let (mut taken, mut swap) = (0, None);
    for _ in 0..ROUNDS {
        let adoptable = held(found.found.iter());
        let Survey { state, namespaces, found: others } = found;
        let handles = Handles { namespaces, found: others };
        swap = execute::execute(store, &state, handles, &steps, oversight)?.or(swap);
        taken += steps.len();
        found = survey(store)?;
        steps = plan::diff(wanted, &found.state)?;
        if steps.is_empty() {
            return Ok((found, taken, swap));
        }
        found.found = adoptable;
    }
    Err(ApplyError::NotConverged(steps.iter().map(Step::key).collect()))
}

/// Forgets what is known of policies that no step leads back to any more.
fn forget_policies(store: &Store, state: &State) -> Result<(), ApplyError> {
    let in_force = match state.objects.get(&Key::Datapath) {
        Some(Object::Datapath(datapath)) => datapath::in_force(store, datapath),
        _ => Ok(None),
    };
    let failed = |source: Cause| ApplyError::Survey {
        what: "the policy".to_owned(),
        source: Box::new(source),
    };
    let generation = in_force.map_err(|error| failed(error.into()))?.map(|it| it.generation);
    store.forget_policies_but(generation).map_err(|error| failed(error.into()))
}

/// Namespaces of others, held for the case that they have to be adopted again.
fn held<'a>(namespaces: impl Iterator<Item = (&'a Name, &'a NetNs)>) -> HashMap<Name, NetNs> {
    namespaces.filter_map(|(name, netns)| Some((name.clone(), netns.try_clone().ok()?))).collect()
}

/// Leads back to the objects that were there before.
fn undo(store: &Store, before: &State, adopted: HashMap<Name, NetNs>) -> Result<(), ApplyError> {
    let mut found = survey(store)?;
    let wanted = restorable(before, &found.state, &adopted);
    let steps = plan::diff(&wanted, &found.state)?;
    found.found = adopted;
    let (survey, ..) = settle(store, &wanted, found, steps, &AtomicBool::new(false))?;
    if !wanted.is_empty() {
        forget_policies(store, &survey.state)?;
    }
    if wanted.is_empty() {
        clear_folder(store)?;
    }
    Ok(())
}

/// Takes a lab down: everything that is its own, however little of it there is.
/// The caller holds the lab's lock.
///
/// # Errors
/// The first step that failed; every other step was done nevertheless.
pub fn take_down(store: &Store) -> Result<TakenDown, ApplyError> {
    let start = Instant::now();
    recover_grace_periods();
    // Until all is gone: the kernel takes devices away after we asked it to.
    let _expedited = Expedited::for_tcx(store, &[]);
    let Survey { state, namespaces, found } = survey_outside(store)?;
    let objects = state.objects.len();
    let mut lingering = Vec::new();
    let mut dying = Vec::new();
    // Those that the lab only wires live on, as they should.
    let own = || namespaces.iter().filter(|(_, opened)| !opened.adopted);
    let users = netns::users(own().map(|(_, opened)| &opened.netns));
    for (name, opened) in own() {
        match users.get(&opened.netns.inode()) {
            Some(users) => {
                lingering.push(Lingering { namespace: name.clone(), users: users.clone() });
            }
            None => dying.push((name.clone(), &opened.netns)),
        }
    }
    // Without it nothing is lost but the waiting.
    let watch = DeathWatch::new(dying)
        .inspect_err(|error| log::warn!("cannot watch the namespaces' end: {error}"));
    let steps = plan::diff(&Objects::new(), &state)?;
    let handles = Handles { namespaces, found };
    let done = execute::execute_all(store, &state, handles, &steps);
    let cleared = clear_folder(store);
    done.and(cleared)?;
    let left = survey_outside(store)?.state;
    if !left.objects.is_empty() {
        return Err(ApplyError::NotGone(left.objects.into_keys().collect()));
    }
    let left = watch.and_then(|watch| watch.wait(NETNS_PATIENCE)).unwrap_or_default();
    lingering.extend(left.into_iter().map(|namespace| Lingering { namespace, users: Vec::new() }));
    lingering.sort_by(|one, other| one.namespace.cmp(&other.namespace));
    Ok(TakenDown { objects, took: start.elapsed(), lingering })
}

/// Also takes a folder that was never finished, which no survey sees.
fn clear_folder(store: &Store) -> Result<(), ApplyError> {
    store.remove_folder().map_err(|error| ApplyError::Step {
        verb: "remove",
        key: Key::Folder,
        source: Box::new(error.into()),
    })
}

fn host_socket() -> Result<Netlink, ApplyError> {
    Netlink::open().map_err(|error| ApplyError::Survey {
        what: "the host's links".to_owned(),
        source: Box::new(error.into()),
    })
}
