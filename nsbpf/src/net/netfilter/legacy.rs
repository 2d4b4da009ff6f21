//! The built-in chains of iptables as it was before nf_tables, which Docker and
//! others may still use: they show in no nf_tables listing.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::Hook;

/// The table whose FORWARD chain is the one for policies.
const FILTER: &str = "filter";
/// `XT_TABLE_MAXNAMELEN`.
const NAME_BYTES: usize = 32;
/// Where the entries begin in `struct ipt_get_entries`: behind name and size,
/// aligned for 64-bit counters.
const ENTRIES: usize = NAME_BYTES + 8;
/// Bytes of `struct xt_entry_target`, which the verdict follows.
const TARGET_BYTES: usize = 32;
/// How a standard target says `NF_DROP`: the negative of one more.
const DROP: i32 = -1;

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

const IP_HOOKS: &[(Hook, usize)] =
    &[(Hook::Prerouting, 0), (Hook::Forward, 2), (Hook::Postrouting, 4)];

/// A built-in chain that forwarded packets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyChain {
    /// Name of its table.
    pub table: String,
    /// Where packets meet it.
    pub hook: Hook,
    /// How many rules it has.
    pub rules: u32,
    /// Whether it drops what none of its rules decides about.
    pub drops: bool,
}

impl LegacyChain {
    /// Its name, which is that of its hook.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.hook {
            Hook::Prerouting => "PREROUTING",
            Hook::Forward => "FORWARD",
            Hook::Postrouting => "POSTROUTING",
        }
    }

    /// Whether it is the one that is there to drop what is forwarded, and drops what
    /// no rule accepts.
    #[must_use]
    pub fn is_dropping_filter(&self) -> bool {
        self.table == FILTER && self.hook == Hook::Forward && self.drops
    }
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
    numbers: usize,
    /// Those that forwarded packets come by, and their numbers.
    hooks: &'static [(Hook, usize)],
    /// Where `target_offset` is in an entry: behind what it matches.
    target_offset: usize,
}

impl Layout {
    /// In `struct ipt_getinfo`, where the first rule of a hook's chain is said, as
    /// an offset among the entries: behind name and mask of hooks.
    fn first_rule(hook: usize) -> usize {
        NAME_BYTES + 4 + hook * 4
    }

    /// Where the rule is said that stands for the policy of a hook's chain, and
    /// follows its last: behind the first ones.
    fn policy(&self, hook: usize) -> usize {
        Self::first_rule(self.numbers + hook)
    }

    /// Where the size of the entries is said, in bytes: behind the policies and
    /// the number of entries.
    fn entries_size(&self) -> usize {
        Self::first_rule(self.numbers * 2) + 4
    }
}

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{operation} a table of {}: {source}", family.program())]
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
                numbers: 5,
                hooks: IP_HOOKS,
                target_offset: 84 + 4,
            },
            // struct ip6t_entry: ip6t_ip6, nfcache.
            Self::Ipv6 => Layout {
                domain: Domain::IPV6,
                level: libc::IPPROTO_IPV6,
                get_info: 64,
                numbers: 5,
                hooks: IP_HOOKS,
                target_offset: 136 + 4,
            },
            // struct arpt_entry: arpt_arp.
            Self::Arp => Layout {
                domain: Domain::IPV4,
                level: libc::IPPROTO_IP,
                get_info: 96,
                numbers: 3,
                hooks: &[(Hook::Forward, 2)],
                target_offset: 164,
            },
        }
    }
}

/// The chains of the calling thread's network namespace.
///
/// # Errors
/// It takes root.
pub fn legacy_chains(family: LegacyFamily) -> Result<Vec<LegacyChain>, LegacyError> {
    let failed = |operation| move |source| LegacyError { operation, family, source };
    // Asking for a table that is not there would make it (`xt_find_table_lock`,
    // Linux 6.18), so this is looked at first.
    let names = match std::fs::read_to_string(family.names()) {
        Ok(names) if !names.is_empty() => names,
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("look for")(source)),
    };
    let layout = family.layout();
    let socket = Socket::new(layout.domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
        .map_err(failed("open a socket to"))?;
    let mut found = Vec::new();
    for table in names.lines() {
        let (info, entries) = read(&layout, &socket, table).map_err(failed("read"))?;
        let malformed = || failed("understand")(io::ErrorKind::InvalidData.into());
        found.extend(chains(&layout, table, &info, &entries).ok_or_else(malformed)?);
    }
    Ok(found)
}

/// What the kernel says about a table, and its entries.
fn read(layout: &Layout, socket: &Socket, table: &str) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let named = |length: usize| {
        let mut buffer = vec![0; length.max(NAME_BYTES)];
        let name = &table.as_bytes()[..table.len().min(NAME_BYTES)];
        buffer[..name.len()].copy_from_slice(name);
        buffer
    };
    let Layout { level, get_info, .. } = *layout;
    let mut info = named(layout.entries_size() + 4);
    get_option(socket, level, get_info, &mut info)?;
    let size = word(&info, layout.entries_size()).unwrap_or_default();
    let mut entries = named(ENTRIES + size as usize);
    entries[NAME_BYTES..NAME_BYTES + 4].copy_from_slice(&size.to_ne_bytes());
    get_option(socket, level, get_info + 1, &mut entries)?;
    Ok((info, entries.split_off(ENTRIES)))
}

/// The chains of a table; `None` when it is not as it should be.
fn chains(layout: &Layout, table: &str, info: &[u8], entries: &[u8]) -> Option<Vec<LegacyChain>> {
    let mask = word(info, NAME_BYTES)?;
    let hooks = layout.hooks.iter().filter(|(_, number)| mask & (1 << number) != 0);
    hooks
        .map(|(hook, number)| {
            let first = word(info, Layout::first_rule(*number))? as usize;
            let policy = word(info, layout.policy(*number))? as usize;
            Some(LegacyChain {
                table: table.to_owned(),
                hook: *hook,
                rules: rules(layout, entries, first, policy)?,
                drops: verdict(layout, entries, policy)? == DROP,
            })
        })
        .collect()
}

/// How many rules there are from one to another.
fn rules(layout: &Layout, entries: &[u8], first: usize, last: usize) -> Option<u32> {
    let (mut rule, mut count) = (first, 0);
    while rule < last {
        // Where the next one begins stands behind where the target does.
        let length = half(entries.get(rule..)?, layout.target_offset + 2)?;
        rule += usize::from((length > 0).then_some(length)?);
        count += 1;
    }
    Some(count)
}

/// The verdict of the rule at an offset.
fn verdict(layout: &Layout, entries: &[u8], rule: usize) -> Option<i32> {
    let rule = entries.get(rule..)?;
    let target = usize::from(half(rule, layout.target_offset)?);
    word(rule, target + TARGET_BYTES).map(u32::cast_signed)
}

fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|half| u16::from_ne_bytes(*half))
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

    const FAMILIES: [LegacyFamily; 3] = [LegacyFamily::Ipv4, LegacyFamily::Ipv6, LegacyFamily::Arp];

    fn rule(layout: &Layout, verdict: i32) -> Vec<u8> {
        let target = layout.target_offset + 24;
        let mut rule = vec![0; target + TARGET_BYTES + 4];
        let length = rule.len();
        for (place, value) in [(0, target), (2, length)] {
            let place = layout.target_offset + place;
            rule[place..place + 2].copy_from_slice(&u16::try_from(value).unwrap().to_ne_bytes());
        }
        rule[target + TARGET_BYTES..].copy_from_slice(&verdict.to_ne_bytes());
        rule
    }

    #[test]
    fn the_verdict_follows_the_target() {
        for family in FAMILIES {
            let layout = &family.layout();
            let first = rule(layout, -2);
            let offset = first.len();
            let entries = [first, rule(layout, DROP)].concat();
            assert_eq!(verdict(layout, &entries, 0), Some(-2));
            assert_eq!(verdict(layout, &entries, offset), Some(DROP));
            assert_eq!(verdict(layout, &entries, offset * 2), None);
        }
    }

    #[test]
    fn a_chain_ends_with_its_policy() {
        for family in FAMILIES {
            let layout = &family.layout();
            let (accept, drop) = (rule(layout, -2), rule(layout, DROP));
            let length = u32::try_from(accept.len()).unwrap();
            // Of another chain, two rules, the policy, and what follows.
            let entries = [&accept, &drop, &accept, &drop, &accept].map(Vec::as_slice).concat();
            let mut info = vec![0; layout.entries_size() + 4];
            let mut say = |place: usize, value: u32| {
                info[place..place + 4].copy_from_slice(&value.to_ne_bytes());
            };
            say(NAME_BYTES, 1 << 2);
            say(Layout::first_rule(2), length);
            say(layout.policy(2), length * 3);
            let forward = LegacyChain {
                table: "filter".to_owned(),
                hook: Hook::Forward,
                rules: 2,
                drops: true,
            };
            assert_eq!(chains(layout, "filter", &info, &entries), Some(vec![forward]));
            assert_eq!(chains(layout, "filter", &info, &entries[..entries.len() / 2]), None);
        }
    }
}
