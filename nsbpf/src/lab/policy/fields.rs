//! Words for what a rule asks besides ends: protocols, ports, and other fields.

use std::fmt;
use std::ops::RangeInclusive;

use serde_saphyr::{Location, Spanned};

use super::matches::{Ethertypes, Flags, Icmp};
use super::names::{self, Names};
use super::ranges::Ranges;
use crate::lab::problem::{Problem, nearest_if_seen};
use crate::lab::words::Words;

/// The word for everything.
const ANY: &str = "any";
/// Ethernet protocol numbers: what is less is a length.
const POSSIBLE_ETHERTYPES: RangeInclusive<u64> = 0x600..=0xffff;
const PORTS: RangeInclusive<u64> = 0..=0xffff;
const VLANS: RangeInclusive<u64> = 1..=4094;
const BYTE: RangeInclusive<u64> = 0..=0xff;

/// Why a word cannot be what it should.
pub(super) struct Wrong {
    pub(super) title: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    fn new(title: String, help: impl fmt::Display) -> Self {
        Self { title, help: Some(help.to_string()) }
    }
}

/// All numbers that words mean; `None` if none is said, or some of them are wrong.
fn all<T>(
    key: &str,
    said: Option<&Spanned<Words>>,
    problems: &mut Vec<Problem>,
    one: impl Fn(&str, &[Problem]) -> Result<T, Wrong>,
) -> Option<Vec<T>> {
    let said = said?;
    let words = said.value.places(said.referenced);
    if words.is_empty() {
        let title = format!("`{key}` lists nothing");
        let help = format!("leave `{key}` out if it may be anything");
        problems.push(Problem::new(title, said.referenced).help(help));
        return None;
    }
    let before = problems.len();
    let mut meant = Vec::with_capacity(words.len());
    for (word, place) in words {
        match one(word, problems) {
            Ok(found) => meant.push(found),
            Err(Wrong { title, help }) => {
                problems.push(Problem::new(title, place).help_if(help));
            }
        }
    }
    (problems.len() == before).then_some(meant)
}

/// A number, as people and YAML write them.
fn number(word: &str) -> Option<u64> {
    let digits = |text: &str, radix| {
        let is_number = text.chars().all(|digit| digit.is_digit(radix));
        is_number.then(|| u64::from_str_radix(text, radix).ok()).flatten()
    };
    match word.strip_prefix("0x") {
        Some(hex) => digits(hex, 16),
        None => digits(word, 10),
    }
}

/// A number of a range, or two with a dash between them.
fn range(
    word: &str,
    what: &str,
    possible: &RangeInclusive<u64>,
) -> Result<RangeInclusive<u64>, Wrong> {
    let (low, high) = match word.split_once('-') {
        Some((low, high)) => (low.trim(), high.trim()),
        None => (word, word),
    };
    let help = || format!("{} to {}, or a range of them", possible.start(), possible.end());
    let (Some(low), Some(high)) = (number(low), number(high)) else {
        return Err(Wrong::new(format!("`{word}` is no {what}"), help()));
    };
    if !possible.contains(&low) || !possible.contains(&high) {
        return Err(Wrong::new(format!("`{word}` is no {what}"), help()));
    }
    if low > high {
        let title = format!("the range `{word}` is the wrong way round");
        return Err(Wrong::new(title, format!("write `{high}-{low}`")));
    }
    Ok(low..=high)
}

/// A name, or a number of a range.
fn named(
    word: &str,
    what: &str,
    names: Names,
    possible: &RangeInclusive<u64>,
    problems: &[Problem],
) -> Result<u64, Wrong> {
    if let Some(number) = names::number(names, word) {
        return Ok(number);
    }
    if let Some(number) = number(word) {
        if possible.contains(&number) {
            return Ok(number);
        }
        let help = format!("{} to {}", possible.start(), possible.end());
        return Err(Wrong::new(format!("{word} is no {what}"), help));
    }
    let help = nearest_if_seen(problems, word, names.iter().map(|(name, _)| *name));
    Err(Wrong { title: format!("`{word}` is no {what}"), help })
}

fn is_any(said: Option<&Spanned<Words>>) -> bool {
    said.is_some_and(|said| said.value.places(said.referenced).iter().any(|(word, _)| *word == ANY))
}

fn ones(numbers: Vec<u64>) -> Ranges<u64> {
    Ranges::new(numbers.into_iter().map(|number| number..=number))
}

/// `proto`.
pub(super) fn protocols(
    said: Option<&Spanned<Words>>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges<u64>> {
    if is_any(said) {
        return None;
    }
    let one = |word: &str, problems: &[Problem]| {
        named(word, "IP protocol", names::PROTOCOLS, &BYTE, problems)
    };
    all("proto", said, problems, one).map(ones)
}

/// `ports` and `source_ports`.
pub(super) fn ports(
    key: &str,
    said: Option<&Spanned<Words>>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges<u64>> {
    all(key, said, problems, |word, _| range(word, "port", &PORTS)).map(Ranges::new)
}

/// `vlan`.
pub(super) fn vlans(
    said: Option<&Spanned<Words>>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges<u64>> {
    let one = |word: &str, _: &[Problem]| match word {
        "none" => Ok(0..=0),
        word => range(word, "VLAN", &VLANS),
    };
    all("vlan", said, problems, one).map(Ranges::new)
}

/// `dscp`.
pub(super) fn dscps(
    said: Option<&Spanned<Words>>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges<u64>> {
    let one = |word: &str, problems: &[Problem]| {
        named(word, "code point", names::DSCPS, &(0..=63), problems)
    };
    all("dscp", said, problems, one).map(ones)
}

/// `ethertype`.
pub(super) fn ethertypes(said: Option<&Spanned<Words>>, problems: &mut Vec<Problem>) -> Ethertypes {
    if is_any(said) {
        return Ethertypes::Any;
    }
    let one = |word: &str, problems: &[Problem]| {
        named(word, "network protocol", names::ETHERTYPES, &POSSIBLE_ETHERTYPES, problems)
    };
    let some = all("ethertype", said, problems, one);
    some.map_or(Ethertypes::Ip, |some| Ethertypes::Some(ones(some)))
}

/// `source_mac` and `destination_mac`.
pub(super) fn macs(
    key: &str,
    said: Option<&Spanned<Words>>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges<u64>> {
    let one = |word: &str, _: &[Problem]| {
        let wrong =
            || Wrong::new(format!("`{word}` is no MAC address"), "write `02:00:00:00:00:01`, say");
        let bytes = crate::lab::mac::parse(word).ok_or_else(wrong)?;
        Ok(bytes.into_iter().fold(0, |number, byte| number << 8 | u64::from(byte)))
    };
    all(key, said, problems, one).map(ones)
}

/// `flags`.
pub(super) fn flags(said: Option<&Spanned<Words>>, problems: &mut Vec<Problem>) -> Option<Flags> {
    let one = |word: &str, problems: &[Problem]| {
        let (name, is_set) = match word.strip_prefix('!') {
            Some(name) => (name, false),
            None => (word, true),
        };
        if let Some((_, bit)) = names::FLAGS.iter().find(|(it, _)| *it == name) {
            return Ok((*bit, is_set));
        }
        let help = if name.is_empty() {
            Some("a flag that is not to be set goes into quotes, as `\"!ack\"`".to_owned())
        } else {
            nearest_if_seen(problems, name, names::FLAGS.iter().map(|(name, _)| *name))
        };
        Err(Wrong { title: format!("`{word}` is no TCP flag"), help })
    };
    let asked = all("flags", said, problems, one)?;
    if asked == [(names::SYN, true)] {
        return Some(Flags { mask: names::SYN | names::ACK, set: names::SYN });
    }
    let bits =
        |is_set| asked.iter().filter(|(_, it)| *it == is_set).fold(0, |bits, (bit, _)| bits | bit);
    let (set, clear): (u8, u8) = (bits(true), bits(false));
    if set & clear != 0 {
        let place = said.map_or(Location::UNKNOWN, |said| said.referenced);
        let title = "a flag cannot be set and not set".to_owned();
        problems.push(Problem::new(title, place).help("leave one of them out"));
        return None;
    }
    Some(Flags { mask: set | clear, set })
}

/// `icmp`: of ICMP, or of ICMPv6, or of both.
pub(super) fn icmp(
    said: Option<&Spanned<Words>>,
    is_v4: bool,
    is_v6: bool,
    problems: &mut Vec<Problem>,
) -> Option<Icmp> {
    let families = [(is_v4, names::ICMP_TYPES), (is_v6, names::ICMPV6_TYPES)];
    let one = |word: &str, problems: &[Problem]| {
        let kind = word.split_once('/').map_or(word, |(kind, _)| kind);
        let found = families.map(|(is, names)| if is { names::number(names, word) } else { None });
        if found != [None; 2] {
            return Ok(found.map(|kind| kind.map(|kind| kind << 8..=(kind << 8 | 0xff))));
        }
        let Some(kind_number) = number(kind) else {
            let known = families.iter().filter(|(is, _)| *is).flat_map(|(_, names)| *names);
            let help = nearest_if_seen(problems, word, known.map(|(name, _)| *name));
            return Err(Wrong { title: format!("`{word}` is no type of ICMP"), help });
        };
        if is_v4 && is_v6 {
            let title = format!("type {kind} is one thing in ICMP and another in ICMPv6");
            return Err(Wrong::new(title, "say `proto: icmp` or `proto: icmpv6`"));
        }
        let code = word.split_once('/').map(|(_, code)| number(code));
        let range = match code {
            None if BYTE.contains(&kind_number) => kind_number << 8..=(kind_number << 8 | 0xff),
            Some(Some(code)) if BYTE.contains(&kind_number) && BYTE.contains(&code) => {
                kind_number << 8 | code..=kind_number << 8 | code
            }
            _ => {
                let title = format!("`{word}` is no type of ICMP, nor a type with a code");
                return Err(Wrong::new(title, "write `8` or `3/1`, say"));
            }
        };
        Ok([is_v4, is_v6].map(|is| is.then(|| range.clone())))
    };
    let asked = all("icmp", said, problems, one)?;
    let of = |family: usize| Ranges::new(asked.iter().filter_map(move |it| it[family].clone()));
    Some(Icmp { v4: of(0), v6: of(1) })
}

/// `fragment`.
pub(super) fn fragments(
    said: Option<&Spanned<String>>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges<u64>> {
    let said = said?;
    let range = match said.value.to_ascii_lowercase().as_str() {
        "false" => 0..=0,
        "true" => 1..=2,
        _ => {
            let title = format!("`{}` says nothing about fragments", said.value);
            let help =
                "write `true` or `false`: later fragments follow the first one of their packet";
            problems.push(Problem::new(title, said.referenced).help(help));
            return None;
        }
    };
    Some(Ranges::new([range]))
}
