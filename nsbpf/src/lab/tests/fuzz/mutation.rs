//! Ways to spoil a lab.

use std::ops::Range;

use proptest::prelude::*;

/// What is put in somewhere: what YAML has a meaning for, and what nothing has.
const FRAGMENTS: &[&str] = &[
    "&a ",
    "*a",
    "<<: *a",
    "<<: ",
    "\n",
    "\r\n",
    "\r",
    "\u{feff}",
    "é",
    "\u{85}",
    "\u{2028}",
    "𝄞",
    "e\u{301}",
    "\0",
    "\u{1b}[31m",
    "\"\\e[31m\\n\"",
    "\t",
    " ",
    "  ",
    "!!binary ",
    "!!str ",
    "!!map ",
    "!x ",
    "? ",
    "- ",
    ": ",
    ":",
    ",",
    "|\n",
    ">\n",
    "#",
    " # x",
    "---\n",
    "...\n",
    "~",
    "null",
    "true",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "{}",
    "[]",
    "%YAML 1.1\n",
    "\\",
    "\\u0000",
    "${x}",
    "all",
    "default",
    "lo",
    "@",
    "`",
    "name: ",
    "count: 3, ",
    "mtu: 9000, ",
    "queues: 4, ",
    "vlan_filtering: true, ",
    "vlan: 10, ",
    "trunk: [1-4094], ",
    "uplink: true, ",
    "namespace: vnet0, ",
    "peer: vnet1/veth1, ",
    "pid: 1, ",
    "10.0.0.0/24",
    "fd00::/64",
    "0.0.0.0/0",
    "::/0",
    "10.0.0.1/32",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "31",
    "32",
    "33",
    "64",
    "128",
    "255",
    "256",
    "4094",
    "4095",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "1e999",
    "0x10",
    "010",
    "0o7",
    ".inf",
    ".nan",
    "1_000",
    "+1",
    "1.5",
];

/// One of them. Places are counted round and round.
#[derive(Clone, Debug)]
pub(super) enum Mutation {
    Flip { place: usize, mask: u8 },
    Delete { place: usize, length: usize },
    Insert { place: usize, fragment: &'static str },
    Nest { place: usize, open: &'static str, depth: usize },
    Number { which: usize, to: &'static str },
    DuplicateLine { line: usize, times: usize },
    DeleteLine { line: usize },
    SwapLines { one: usize, other: usize },
    Indent { line: usize, spaces: usize },
    Dedent { line: usize, spaces: usize },
    SwapTokens { one: usize, other: usize },
    CopyToken { from: usize, to: usize },
    Splice { seed: usize, line: usize, from: usize },
    CarriageReturns,
    OnlyCarriageReturns,
    Mark,
}

pub(super) fn mutation() -> impl Strategy<Value = Mutation> {
    use Mutation as M;
    let place = || 0..4096_usize;
    prop_oneof![
        1 => (place(), 1..=u8::MAX).prop_map(|(place, mask)| M::Flip { place, mask }),
        1 => (place(), 1..30_usize).prop_map(|(place, length)| M::Delete { place, length }),
        3 => (place(), prop::sample::select(FRAGMENTS))
            .prop_map(|(place, fragment)| M::Insert { place, fragment }),
        1 => (place(), prop::sample::select(&["[", "{", "{a: ", "- ", "? "][..]), 1..300_usize)
            .prop_map(|(place, open, depth)| M::Nest { place, open, depth }),
        3 => (place(), prop::sample::select(NUMBERS)).prop_map(|(which, to)| M::Number { which, to }),
        1 => (place(), 1..4_usize).prop_map(|(line, times)| M::DuplicateLine { line, times }),
        1 => place().prop_map(|line| M::DeleteLine { line }),
        1 => (place(), place()).prop_map(|(one, other)| M::SwapLines { one, other }),
        1 => (place(), 1..5_usize).prop_map(|(line, spaces)| M::Indent { line, spaces }),
        1 => (place(), 1..5_usize).prop_map(|(line, spaces)| M::Dedent { line, spaces }),
        3 => (place(), place()).prop_map(|(one, other)| M::SwapTokens { one, other }),
        3 => (place(), place()).prop_map(|(from, to)| M::CopyToken { from, to }),
        1 => (place(), place(), place())
            .prop_map(|(seed, line, from)| M::Splice { seed, line, from }),
        1 => Just(M::CarriageReturns),
        1 => Just(M::OnlyCarriageReturns),
        1 => Just(M::Mark),
    ]
}

/// A lab after all of these.
pub(super) fn mutated(seed: &str, mutations: &[Mutation], seeds: &[String]) -> String {
    let mut text = seed.to_owned();
    for mutation in mutations {
        text = apply(&text, mutation, seeds);
    }
    text
}

fn apply(text: &str, mutation: &Mutation, seeds: &[String]) -> String {
    match *mutation {
        Mutation::Flip { place, mask } => {
            let mut bytes = text.as_bytes().to_vec();
            let place = place % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= mask;
            }
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Mutation::Delete { place, length } => {
            let place = boundary(text, place);
            let end = boundary(text, (place + length).min(text.len()));
            [&text[..place], &text[end.max(place)..]].concat()
        }
        Mutation::Insert { place, fragment } => {
            let (before, after) = text.split_at(boundary(text, place));
            [before, fragment, after].concat()
        }
        Mutation::Nest { place, open, depth } => {
            let (before, after) = text.split_at(boundary(text, place));
            [before, &open.repeat(depth), after].concat()
        }
        Mutation::Number { which, to } => {
            let numbers = runs(text, |byte| byte.is_ascii_digit());
            replaced(text, &numbers, which, to)
        }
        Mutation::DuplicateLine { line, times } => lines(text, |lines| {
            let line = line % lines.len();
            let copies = vec![lines[line]; times];
            lines.splice(line..line, copies);
        }),
        Mutation::DeleteLine { line } => lines(text, |lines| {
            lines.remove(line % lines.len());
        }),
        Mutation::SwapLines { one, other } => lines(text, |lines| {
            let count = lines.len();
            lines.swap(one % count, other % count);
        }),
        Mutation::Indent { line, spaces } => lines(text, |lines| {
            let line = line % lines.len();
            lines.insert(line, &"     "[..spaces]);
        }),
        Mutation::Dedent { line, spaces } => lines(text, |lines| {
            let count = lines.len();
            let line = &mut lines[line % count];
            *line = line.strip_prefix(&"     "[..spaces]).unwrap_or(line);
        }),
        Mutation::SwapTokens { one, other } => {
            let tokens = tokens(text);
            let (Some(first), Some(second)) = (pick(&tokens, one), pick(&tokens, other)) else {
                return text.to_owned();
            };
            let (first, second) =
                if first.start <= second.start { (first, second) } else { (second, first) };
            if first == second {
                return text.to_owned();
            }
            let between = &text[first.end..second.start];
            let (one, other) = (&text[first.clone()], &text[second.clone()]);
            [&text[..first.start], other, between, one, &text[second.end..]].concat()
        }
        Mutation::CopyToken { from, to } => {
            let tokens = tokens(text);
            let Some(from) = pick(&tokens, from) else { return text.to_owned() };
            replaced(text, &tokens, to, &text[from])
        }
        Mutation::Splice { seed, line, from } => {
            let other = &seeds[seed % seeds.len()];
            let (mine, theirs): (Vec<_>, Vec<_>) =
                (text.split_inclusive('\n').collect(), other.split_inclusive('\n').collect());
            let (line, from) = (line % (mine.len() + 1), from % theirs.len());
            [mine[..line].concat(), theirs[from..].concat()].concat()
        }
        Mutation::CarriageReturns => text.replace('\n', "\r\n"),
        Mutation::OnlyCarriageReturns => text.replace('\n', "\r"),
        Mutation::Mark => format!("\u{feff}{text}"),
    }
}

/// A place between two characters.
fn boundary(text: &str, place: usize) -> usize {
    let place = place % (text.len() + 1);
    (0..=place).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

fn lines<'a>(text: &'a str, edit: impl FnOnce(&mut Vec<&'a str>)) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if !lines.is_empty() {
        edit(&mut lines);
    }
    lines.concat()
}

fn runs(text: &str, of: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (place, byte) in text.bytes().enumerate().filter(|(_, byte)| of(*byte)) {
        match runs.last_mut() {
            Some(last) if last.end == place => last.end = place + 1,
            _ => runs.push(place..place + usize::from(byte.is_ascii())),
        }
    }
    runs
}

/// Words: names, keys, addresses.
fn tokens(text: &str) -> Vec<Range<usize>> {
    runs(text, |byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}

fn pick(ranges: &[Range<usize>], which: usize) -> Option<Range<usize>> {
    ranges.get(which % ranges.len().max(1)).cloned()
}

fn replaced(text: &str, ranges: &[Range<usize>], which: usize, with: &str) -> String {
    let Some(range) = pick(ranges, which) else { return text.to_owned() };
    [&text[..range.start], with, &text[range.end..]].concat()
}
