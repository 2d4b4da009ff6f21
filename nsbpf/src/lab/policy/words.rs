//! Words of rules, where they are on a command line.

use super::names;

/// An IP protocol, by its name or number.
pub fn protocol(word: &str) -> Result<u64, String> {
    let number = names::number(names::PROTOCOLS, word);
    let number = number.or_else(|| word.parse::<u8>().ok().map(u64::from));
    number.ok_or_else(|| "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or 0 to 255".to_owned())
}

/// Whether packets of a protocol have ports.
#[must_use]
pub fn has_ports(protocol: u64) -> bool {
    names::WITH_PORTS.contains(&protocol)
}

/// A code point, by its name or number.
pub fn dscp(word: &str) -> Result<u64, String> {
    let number = names::number(names::DSCPS, word);
    let number = number.or_else(|| word.parse().ok().filter(|number| *number <= 63));
    number.ok_or_else(|| "0 to 63, or a name such as `ef`".to_owned())
}

/// TCP flags that are set, with commas between them, or `none`.
pub fn flags(words: &str) -> Result<u8, String> {
    if words == "none" {
        return Ok(0);
    }
    let bit = |word: &str| names::FLAGS.iter().find(|(name, _)| *name == word).map(|(_, bit)| bit);
    let bits: Option<u8> = words.split(',').try_fold(0, |bits, word| Some(bits | bit(word)?));
    bits.ok_or_else(|| "`fin`, `syn`, `rst`, `psh`, `ack`, `urg`, or `none`".to_owned())
}

/// A type of ICMP, and a code behind a slash.
pub fn icmp(words: &str) -> Result<u16, String> {
    let (kind, code) = words.split_once('/').unwrap_or((words, "0"));
    let both = kind.parse::<u8>().ok().zip(code.parse::<u8>().ok());
    let both = both.map(|(kind, code)| u16::from_be_bytes([kind, code]));
    both.ok_or_else(|| "a type such as `8`, or with a code `3/1`".to_owned())
}
