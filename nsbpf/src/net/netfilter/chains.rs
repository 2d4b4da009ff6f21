//! Base chains of nf_tables: those that the kernel sends packets through by
//! itself.

use crate::net::NetlinkError;
use crate::net::attribute::{Attributes, find, number, text};
use crate::net::nfnetlink::connection::{Connection, Message, UNSPECIFIED};
use crate::net::nfnetlink::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_USE, GET_CHAIN, HOOK_NUMBER,
    lacks_nftables,
};

/// How often a list that changed under the reader is read again.
const TRIES: usize = 8;
/// `NF_DROP`.
const DROP: u32 = 0;

/// Which packets a table is about. The kernel's arp tables have no chain that
/// forwarded ones pass (`nft_chain_filter_arp`, Linux 6.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ipv4,
    /// Frames that a bridge forwards.
    Bridge,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// As the `nft` command calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
            Self::Bridge => "bridge",
            Self::Ipv6 => "ip6",
        }
    }

    fn new(family: u8) -> Option<Self> {
        Some(match family {
            1 => Self::Inet,
            2 => Self::Ipv4,
            7 => Self::Bridge,
            10 => Self::Ipv6,
            _ => return None,
        })
    }
}

/// Where on its way a packet meets the chain. Only places that forwarded ones
/// come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before it is known where to.
    Prerouting,
    /// When it is to be forwarded.
    Forward,
    /// When it leaves.
    Postrouting,
}

impl Hook {
    /// By its number, which is the same in all these families.
    fn new(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Prerouting),
            2 => Some(Self::Forward),
            4 => Some(Self::Postrouting),
            _ => None,
        }
    }
}

/// A base chain that forwarded packets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// Of its table.
    pub family: Family,
    /// Name of its table. Anybody's words: what a terminal would obey is escaped.
    pub table: String,
    /// Its name, likewise.
    pub name: String,
    /// Where packets meet it.
    pub hook: Hook,
    /// How many rules it has.
    pub rules: u32,
    /// Whether it drops what none of its rules decides about.
    pub drops: bool,
}

/// The base chains of the calling thread's network namespace that forwarded
/// packets pass. A kernel without nf_tables has none.
///
/// # Errors
/// The kernel tells it only to who has `CAP_NET_ADMIN` (`nfnetlink_rcv`, Linux
/// 6.18).
pub fn base_chains() -> Result<Vec<BaseChain>, NetlinkError> {
    match chains() {
        Err(error) if lacks_nftables(&error) => Ok(Vec::new()),
        chains => Ok(chains?.iter().filter_map(parse).collect()),
    }
}

fn chains() -> Result<Vec<Message>, NetlinkError> {
    let mut connection = Connection::open()?;
    let mut list = || connection.dump(Message::of(GET_CHAIN, UNSPECIFIED, &Attributes::new()));
    for _ in 1..TRIES {
        let (chains, interrupted) = list()?;
        if !interrupted {
            return Ok(chains);
        }
    }
    // They change all the time: this is how they were at one moment.
    list().map(|(chains, _)| chains)
}

fn parse(chain: &Message) -> Option<BaseChain> {
    let attributes = chain.attributes();
    // Anybody's words: what a terminal would obey is escaped.
    let words = |kind| Some(text(attributes, kind)?.escape_debug().to_string());
    Some(BaseChain {
        family: Family::new(chain.family())?,
        table: words(CHAIN_TABLE)?,
        name: words(CHAIN_NAME)?,
        hook: Hook::new(number(find(attributes, CHAIN_HOOK)?, HOOK_NUMBER)?)?,
        // What uses a base chain are its rules: nobody can jump there.
        rules: number(attributes, CHAIN_USE).unwrap_or_default(),
        drops: number(attributes, CHAIN_POLICY) == Some(DROP),
    })
}
