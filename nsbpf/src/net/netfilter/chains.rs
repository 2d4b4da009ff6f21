//! Base chains of nf_tables: those that the kernel sends packets through by
//! itself.

use rtnetlink::packet_core::NlasIterator;

use super::socket::{Message, Netfilter};
use crate::net::NetlinkError;

const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_GETCHAIN: u8 = 4;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
/// `NFPROTO_UNSPEC`: chains of all families.
const ANY_FAMILY: u8 = 0;
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
    let query = Message::nftables(NFT_MSG_GETCHAIN, ANY_FAMILY, &[]);
    let answers = match Netfilter::open().and_then(|mut netfilter| netfilter.dump(&query)) {
        Err(error) if lacks_nf_tables(&error) => return Ok(Vec::new()),
        answers => answers?,
    };
    Ok(answers.iter().filter_map(parse).collect())
}

/// Whether it says that the kernel has no nf_tables, or no netfilter at all.
fn lacks_nf_tables(error: &NetlinkError) -> bool {
    match error {
        // `nfnetlink_rcv_msg` answers EINVAL where the subsystem is not there, and
        // batches EOPNOTSUPP.
        NetlinkError::Refused { errno, .. } => {
            [rustix::io::Errno::INVAL, rustix::io::Errno::OPNOTSUPP].contains(errno)
        }
        NetlinkError::Socket { source, .. } => {
            source.raw_os_error() == Some(rustix::io::Errno::PROTONOSUPPORT.raw_os_error())
        }
        NetlinkError::Unexpected(_) => false,
    }
}

fn parse(message: &Message) -> Option<BaseChain> {
    let family = message.family().and_then(Family::new)?;
    if !message.is_nftables(NFT_MSG_NEWCHAIN) {
        return None;
    }
    let (mut table, mut name, mut hook, mut policy) = (None, None, None, None);
    for attribute in NlasIterator::new(message.attributes()).flatten() {
        match attribute.kind() {
            NFTA_CHAIN_TABLE => table = Some(text(attribute.value())),
            NFTA_CHAIN_NAME => name = Some(text(attribute.value())),
            NFTA_CHAIN_HOOK => hook = hook_number(attribute.value()),
            NFTA_CHAIN_POLICY => policy = number(attribute.value()),
            _ => {}
        }
    }
    let hook = Hook::new(hook?)?;
    Some(BaseChain { family, table: table?, name: name?, hook, drops: policy == Some(DROP) })
}

fn hook_number(attributes: &[u8]) -> Option<u32> {
    let mut attributes = NlasIterator::new(attributes).flatten();
    number(attributes.find(|attribute| attribute.kind() == NFTA_HOOK_HOOKNUM)?.value())
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').escape_debug().to_string()
}
