//! The policy of iptables as it was before nf_tables, which Docker and others
//! may still use: it shows in no nf_tables listing.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// The table that has a FORWARD chain with a policy.
const TABLE: &[u8] = b"filter";
/// `XT_TABLE_MAXNAMELEN`.
const NAME_BYTES: usize = 32;
/// Where the entries begin in `struct ipt_get_entries`: behind name and size,
/// aligned for 64-bit counters.
const ENTRIES: usize = NAME_BYTES + 8;
/// Bytes of `struct xt_entry_target`, which the verdict follows.
const TARGET_BYTES: usize = 32;
/// How a standard target says `NF_DROP`: the negative of one more.
const DROP: i32 = -1;

/// Number of the FORWARD hook in each of the families.
const FORWARD: usize = 2;

/// Which of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyFamily {
    /// Of `iptables-legacy`.
    Ipv4,
    /// Of `ip6tables-legacy`.
    Ipv6,
    /// Of `arptables-legacy`.
    Arp,
}

/// How the kernel is asked for a family's table, and how it tells.
struct Layout {
    domain: Domain,
    /// Of the socket options.
    level: libc::c_int,
    /// `IPT_SO_GET_INFO`, `IP6T_SO_GET_INFO` or `ARPT_SO_GET_INFO`; that which
    /// asks for the entries is one more.
    get_info: libc::c_int,
    /// Hooks of the family: so many numbers the kernel tells of each kind.
    hooks: usize,
    /// Where `target_offset` is in an entry: behind what it matches.
    target_offset: usize,
}

impl Layout {
    /// In `struct ipt_getinfo`, where the rule that stands for FORWARD's policy
    /// is said, as an offset among the entries: behind name, mask of hooks and
    /// hook entries.
    fn forward_underflow(&self) -> usize {
        NAME_BYTES + 4 + self.hooks * 4 + FORWARD * 4
    }

    /// Where the size of the entries is said, in bytes: behind the underflows and
    /// the number of entries.
    fn entries_size(&self) -> usize {
        NAME_BYTES + 4 + self.hooks * 4 * 2 + 4
    }
}

/// Why the policy could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{operation} the table of {}: {source}", family.program())]
pub struct LegacyError {
    operation: &'static str,
    family: LegacyFamily,
    source: io::Error,
}

impl LegacyFamily {
    /// The command that shows and sets it.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Ipv4 => "iptables-legacy",
            Self::Ipv6 => "ip6tables-legacy",
            Self::Arp => "arptables-legacy",
        }
    }

    fn names(self) -> &'static str {
        match self {
            Self::Ipv4 => "/proc/thread-self/net/ip_tables_names",
            Self::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
            Self::Arp => "/proc/thread-self/net/arp_tables_names",
        }
    }

    fn layout(self) -> Layout {
        match self {
            // struct ipt_entry: ipt_ip, nfcache.
            Self::Ipv4 => Layout {
                domain: Domain::IPV4,
                level: libc::IPPROTO_IP,
                get_info: 64,
                hooks: 5,
                target_offset: 84 + 4,
            },
            // struct ip6t_entry: ip6t_ip6, nfcache.
            Self::Ipv6 => Layout {
                domain: Domain::IPV6,
                level: libc::IPPROTO_IPV6,
                get_info: 64,
                hooks: 5,
                target_offset: 136 + 4,
            },
            // struct arpt_entry: arpt_arp.
            Self::Arp => Layout {
                domain: Domain::IPV4,
                level: libc::IPPROTO_IP,
                get_info: 96,
                hooks: 3,
                target_offset: 164,
            },
        }
    }
}

/// Whether the policy of the legacy FORWARD chain is to drop; `None` when the
/// calling thread's network namespace has no such table.
///
/// # Errors
/// It takes root.
pub fn legacy_forward_drops(family: LegacyFamily) -> Result<Option<bool>, LegacyError> {
    let failed = |operation| move |source| LegacyError { operation, family, source };
    // Asking for a table that is not there would make it (`xt_find_table_lock`,
    // Linux 6.18), so this is looked at first.
    match std::fs::read_to_string(family.names()) {
        Ok(names) if names.lines().any(|name| name.as_bytes() == TABLE) => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("look for")(source)),
    }
    let layout = family.layout();
    let Layout { domain, level, get_info, .. } = layout;
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
        .map_err(failed("open a socket to"))?;
    let mut info = vec![0; layout.entries_size() + 4];
    info[..TABLE.len()].copy_from_slice(TABLE);
    get_option(&socket, level, get_info, &mut info).map_err(failed("look at"))?;
    let malformed = || failed("understand")(io::ErrorKind::InvalidData.into());
    let size = word(&info, layout.entries_size()).ok_or_else(malformed)?;
    let forward = word(&info, layout.forward_underflow()).ok_or_else(malformed)? as usize;
    let mut entries = vec![0; ENTRIES + size as usize];
    entries[..TABLE.len()].copy_from_slice(TABLE);
    entries[NAME_BYTES..NAME_BYTES + 4].copy_from_slice(&size.to_ne_bytes());
    get_option(&socket, level, get_info + 1, &mut entries).map_err(failed("read"))?;
    verdict(&layout, &entries[ENTRIES..], forward)
        .map(|verdict| Some(verdict == DROP))
        .ok_or_else(malformed)
}

/// The verdict of the rule at an offset.
fn verdict(layout: &Layout, entries: &[u8], rule: usize) -> Option<i32> {
    let rule = entries.get(rule..)?;
    let target = rule.get(layout.target_offset..)?.first_chunk()?;
    let target = usize::from(u16::from_ne_bytes(*target));
    word(rule, target + TARGET_BYTES).map(u32::cast_signed)
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn get_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, which the buffer has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(layout: &Layout, verdict: i32) -> Vec<u8> {
        let target = layout.target_offset + 24;
        let mut rule = vec![0; target + TARGET_BYTES + 4];
        let place = layout.target_offset;
        rule[place..place + 2].copy_from_slice(&u16::try_from(target).unwrap().to_ne_bytes());
        rule[target + TARGET_BYTES..].copy_from_slice(&verdict.to_ne_bytes());
        rule
    }

    #[test]
    fn the_verdict_follows_the_target() {
        for family in [LegacyFamily::Ipv4, LegacyFamily::Ipv6, LegacyFamily::Arp] {
            let layout = &family.layout();
            let first = rule(layout, -2);
            let offset = first.len();
            let entries = [first, rule(layout, DROP)].concat();
            assert_eq!(verdict(layout, &entries, 0), Some(-2));
            assert_eq!(verdict(layout, &entries, offset), Some(DROP));
            assert_eq!(verdict(layout, &entries, offset * 2), None);
        }
    }
}
