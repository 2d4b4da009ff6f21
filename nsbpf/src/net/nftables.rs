//! The way out: a lab's own nftables table.
//!
//! ```text
//! table inet nsbpf-LAB {
//!     comment "nsbpf:LAB"
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         iifname "br0" accept
//!         oifname "br0" ct state established,related accept
//!         oifname "br0" counter drop
//!     }
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         ip saddr 10.0.0.0/24 oifname != "br0" masquerade
//!     }
//! }
//! ```
//!
//! Bridges with an uplink hide behind the host's addresses, and forwarding, which
//! has to be on for that, lets nobody outside begin a connection to them. Between
//! bridges of one lab all passes.
//!
//! "Accept" holds for this table only: a packet that another table drops, as
//! docker's `FORWARD` chain does, is dropped.
//!
//! The comment is the table's userdata, in the encoding of `nft`, and says whose
//! it is: tables without it are left alone. The kernel keeps it since Linux 5.10
//! (`NFTA_TABLE_USERDATA`), and masquerades in the inet family since 5.2.
//!
//! Changes are one batch, which the kernel takes as a whole or not at all, and
//! only if nobody changed the rule set since it was looked at (`NFNL_BATCH_GENID`,
//! since Linux 4.10). All is about the calling thread's network namespace.

mod expression;
mod object;
mod ruleset;

use ipnet::IpNet;
use rustix::io::Errno;

use self::object::{Header, chains_of, creation, deletion, dump_chains, dump_rules, tables};
pub use self::ruleset::Uplinks;
use self::ruleset::{chains, fits, uplinks};
use super::nfnetlink::connection::{Connection, Message};
use super::nfnetlink::lacks_nftables;
use super::socket::NetlinkError;

/// What the name of a lab's table begins with.
pub const NAME_PREFIX: &str = "nsbpf-";
/// What the mark of a table of ours begins with.
pub const MARK_PREFIX: &str = "nsbpf:";

/// How often the rule set is looked at again because others changed it.
const TRIES: usize = 16;

/// Why something about a table failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The kernel refused.
    #[error("{operation} {object}: {source}")]
    Netlink {
        /// What was done.
        operation: &'static str,
        /// To what.
        object: String,
        /// What the kernel said.
        source: NetlinkError,
    },
    /// The kernel lacks nf_tables, or what of it is needed.
    #[error(
        "{operation} {object}: {source}. An uplink needs a kernel with CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_MASQ and CONFIG_NFT_CT."
    )]
    Unsupported {
        /// What was done.
        operation: &'static str,
        /// To what.
        object: String,
        /// What the kernel said.
        source: NetlinkError,
    },
    /// The name is taken.
    #[error(
        "the nftables table `inet {0}` is not of nsbpf's making. Delete it, or rename the lab, then try again."
    )]
    Foreign(String),
    /// Others change rules without a pause.
    #[error(
        "{operation} {object}: the rule set changed each of the {TRIES} times it was looked at"
    )]
    Unsteady {
        /// What was done.
        operation: &'static str,
        /// To what.
        object: String,
    },
    /// No interface can have that name.
    #[error("a rule about the bridge `{0}`: an interface's name has 1 to 15 bytes")]
    Name(String),
}

/// The table that a lab should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in the family inet.
    pub name: String,
    /// Its comment, which says whose it is.
    pub mark: String,
    /// Bridges with a way out, and the subnets behind each, as network addresses.
    pub uplinks: Uplinks,
}

impl Table {
    /// The table of the lab of that name. The addresses may be those of hosts.
    pub fn new<'a>(
        lab: &str,
        uplinks: impl IntoIterator<Item = (&'a str, impl IntoIterator<Item = IpNet>)>,
    ) -> Self {
        let mut table = Self {
            name: format!("{NAME_PREFIX}{lab}"),
            mark: format!("{MARK_PREFIX}{lab}"),
            uplinks: Uplinks::new(),
        };
        for (bridge, subnets) in uplinks {
            let there = table.uplinks.entry(bridge.to_owned()).or_default();
            there.extend(subnets.into_iter().map(|subnet| subnet.trunc()));
        }
        table
    }
}

/// A table that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name in the family inet.
    pub name: String,
    /// Its comment; one without a mark of ours is somebody else's.
    pub mark: Option<String>,
    /// What could be read from its rules.
    pub uplinks: Uplinks,
    /// Whether its chains and rules are those that belong to these uplinks: not so
    /// when somebody flushed a chain, added a rule or made the table dormant. Sets
    /// and named objects, which no rule of ours uses, are not looked at.
    pub intact: bool,
}

impl Found {
    /// Whether the table is nsbpf's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.starts_with(MARK_PREFIX))
    }

    /// Whether it is exactly the one that is wanted.
    #[must_use]
    pub fn is(&self, wanted: &Table) -> bool {
        let Self { name, mark, uplinks, intact } = self;
        *intact
            && *name == wanted.name
            && mark.as_ref() == Some(&wanted.mark)
            && *uplinks == wanted.uplinks
    }
}

/// All tables of the family inet that bear a mark of ours or a name that a lab's
/// could have. None in a kernel without nf_tables.
pub fn list() -> Result<Vec<Found>, TableError> {
    match look() {
        Err(error) if lacks_nftables(&error) => Ok(Vec::new()),
        found => found.map_err(failure("list", "the nftables tables of nsbpf", lacks_nftables)),
    }
}

/// Makes the table, in place of the one of ours that has its name. Packets see the
/// old one or the new one; its counters begin anew.
pub fn set(table: &Table) -> Result<(), TableError> {
    if let Some(bridge) = table.uplinks.keys().find(|bridge| !fits(bridge)) {
        return Err(TableError::Name(bridge.clone()));
    }
    change("set", &table.name, |there| {
        let mut changes = Vec::new();
        if there {
            changes.push(deletion(&table.name));
        }
        changes.extend(creation(table));
        changes
    })
}

/// Deletes a table of ours. One that is not there is no error.
pub fn delete(name: &str) -> Result<(), TableError> {
    match change("delete", name, |there| there.then(|| deletion(name)).into_iter().collect()) {
        Err(TableError::Unsupported { .. }) => Ok(()),
        outcome => outcome,
    }
}

/// Fails unless the kernel has all that an uplink takes: tried, since distributions
/// leave parts out. Call it in a namespace that goes away.
pub fn probe() -> Result<(), TableError> {
    let somewhere = IpNet::new_assert(std::net::Ipv4Addr::LOCALHOST.into(), 32);
    set(&Table::new("probe", [("probe", [somewhere])]))
}

/// Does what follows from whether there is a table of that name.
fn change(
    operation: &'static str,
    name: &str,
    changes: impl Fn(bool) -> Vec<(Message, u16)>,
) -> Result<(), TableError> {
    let object = format!("the nftables table `inet {name}`");
    let failed = failure(operation, &object, lacks_nftables);
    let mut connection = Connection::open().map_err(&failed)?;
    for _ in 0..TRIES {
        let generation = connection.generation().map_err(&failed)?;
        let (tables, _) = tables(&mut connection).map_err(&failed)?;
        let there = tables.into_iter().find(|table| table.name == name);
        if there.as_ref().is_some_and(|there| !there.is_ours()) {
            return Err(TableError::Foreign(name.to_owned()));
        }
        let changes = changes(there.is_some());
        if changes.is_empty() {
            return Ok(());
        }
        match connection.batch(generation, changes) {
            Err(error) if error.errno() == Some(Errno::RESTART) => {}
            outcome => return outcome.map_err(failure(operation, &object, lacks_part)),
        }
    }
    Err(TableError::Unsteady { operation, object })
}

fn look() -> Result<Vec<Found>, NetlinkError> {
    let mut connection = Connection::open()?;
    for _ in 1..TRIES {
        let generation = connection.generation()?;
        let (found, interrupted) = try_look(&mut connection)?;
        if !interrupted && connection.generation()? == generation {
            return Ok(found);
        }
    }
    // Others change rules all the time. Ours are among what was read unless they
    // changed right then; who acts on the list looks again afterwards.
    try_look(&mut connection).map(|(found, _)| found)
}

/// The tables, and whether they changed while they were read.
fn try_look(connection: &mut Connection) -> Result<(Vec<Found>, bool), NetlinkError> {
    let (mut tables, mut interrupted) = tables(connection)?;
    tables.retain(|table| table.is_ours() || table.name.starts_with(NAME_PREFIX));
    if tables.is_empty() {
        return Ok((Vec::new(), interrupted));
    }
    let (chain_messages, again) = dump_chains(connection)?;
    interrupted |= again;
    let mut found = Vec::new();
    for Header { name, mark, flags } in tables {
        let (rule_messages, again) = dump_rules(connection, &name)?;
        interrupted |= again;
        let there = chains_of(&name, &chain_messages, &rule_messages);
        let uplinks = uplinks(&there);
        // A flag could be `dormant`.
        let intact = flags == 0 && there == chains(&uplinks);
        found.push(Found { name, mark, uplinks, intact });
    }
    Ok((found, interrupted))
}

/// What a failure is called, given the errors that mean that the kernel lacks
/// something.
fn failure(
    operation: &'static str,
    object: &str,
    is_lack: fn(&NetlinkError) -> bool,
) -> impl Fn(NetlinkError) -> TableError + use<> {
    let object = object.to_owned();
    move |source| {
        let object = object.clone();
        if is_lack(&source) {
            TableError::Unsupported { operation, object, source }
        } else {
            TableError::Netlink { operation, object, source }
        }
    }
}

/// Whether a batch failed as it does without the family inet
/// (`nf_tables_newtable`), a kind of chain (`nf_tables_chain_type_lookup`) or of
/// expression (`nft_expr_type_get`), Linux 6.18. Nothing else that it names can be
/// missing: it is for a generation that was looked at.
fn lacks_part(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::NOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_hosts_become_those_of_networks() {
        let subnet = |text: &str| text.parse::<IpNet>().unwrap();
        let of_hosts = Table::new("x", [("br0", [subnet("10.0.0.7/24"), subnet("fd00::7/64")])]);
        let of_networks = Table::new("x", [("br0", [subnet("10.0.0.0/24"), subnet("fd00::/64")])]);
        assert_eq!(of_hosts, of_networks);
        assert_eq!((of_hosts.name.as_str(), of_hosts.mark.as_str()), ("nsbpf-x", "nsbpf:x"));
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let refused = |errno| NetlinkError::Refused { errno, message: None };
        let told = |errno, is_lack| failure("set", "a table", is_lack)(refused(errno)).to_string();
        for lack in [told(Errno::INVAL, lacks_nftables), told(Errno::NOENT, lacks_part)] {
            for option in ["NF_TABLES", "NF_TABLES_INET", "NFT_MASQ", "NFT_CT"] {
                assert!(lack.contains(&format!("CONFIG_{option}")), "{lack}");
            }
        }
        let plain = told(Errno::PERM, lacks_nftables);
        assert_eq!(plain, "set a table: Operation not permitted (os error 1)");
    }

    #[test]
    fn a_name_that_no_interface_has_is_refused() {
        let table = Table::new("x", [("sixteen-letters-", [])]);
        assert!(matches!(set(&table), Err(TableError::Name(name)) if name == "sixteen-letters-"));
    }
}
