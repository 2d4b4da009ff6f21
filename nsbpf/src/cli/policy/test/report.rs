//! What was decided on a packet, and why.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use nsbpf_common::packet::Fragment;
use nsbpf_common::policy::{Action, field};
use serde::Serialize;

use crate::lab::Policy;
use crate::policy::{Answer, By, Ends, Judged, Looked, Read, Ruleset};

/// The value of [`field::FRAGMENT`] in a later fragment.
const LATER: u64 = Fragment::Later as u64;
/// Rules before the one that decides that are looked at for whether they came near.
const LOOKED_AT: usize = 1000;
/// Of those that came near, so many are told.
const NEAR: usize = 3;
/// Rules that no packet reaches that are told.
const SHADOWED: usize = 10;

/// What packets are tested against.
pub(super) struct Tested<'a> {
    pub(super) policy: &'a Policy,
    pub(super) ruleset: &'a Ruleset,
    pub(super) ends: &'a Ends,
}

/// What was decided.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Which packet of a capture it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<u64>,
    /// The packet, on a line.
    packet: String,
    /// What is done with it.
    pub(super) verdict: &'static str,
    /// What decided: `rule`, `default`, `arp`, `discovery`, or `hidden` if what rules ask for
    /// is not to be seen.
    by: &'static str,
    /// The rule that decided.
    rule: Option<RuleReport>,
    /// What it asks.
    why: Vec<Answer>,
    /// `flow` if it is decided once for all packets of a flow, `packet` if for each, `head` if
    /// what is decided on the first fragment of the packet holds.
    judged: &'static str,
    /// Rules before it that all but one thing speaks for.
    near: Vec<NearReport>,
    /// Rules that no packet reaches.
    shadowed: Vec<ShadowedReport>,
}

#[derive(Debug, Serialize)]
struct RuleReport {
    number: usize,
    name: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct NearReport {
    #[serde(flatten)]
    rule: RuleReport,
    but: Answer,
}

#[derive(Debug, Serialize)]
struct ShadowedReport {
    number: usize,
    name: String,
    /// Numbers of the rules that take its packets.
    by: Vec<usize>,
}

impl Tested<'_> {
    pub(super) fn report(&self, read: &Read) -> Report {
        let Self { policy, ruleset, ends } = *self;
        let Read { kind, subject, .. } = read;
        let Judged { action, by, by_packet } = ruleset.judge(policy, read);
        let looked = Looked { ends, kind: *kind, subject };
        let (by_name, rule) = match by {
            By::Hidden => ("hidden", None),
            By::Rule(place) => ("rule", Some(place)),
            By::Default => ("default", None),
            By::Arp => ("arp", None),
            By::Discovery => ("discovery", None),
        };
        let asked = rule.and_then(|place| policy.rules.get(place)).map(|rule| &rule.matches);
        let before = match by {
            By::Rule(place) => place,
            By::Default => policy.rules.len(),
            By::Arp | By::Discovery | By::Hidden => 0,
        };
        Report {
            number: None,
            packet: looked.line(),
            verdict: action.name(),
            by: by_name,
            rule: rule.and_then(|place| self.rule(place)),
            why: asked.map(|asked| looked.answers(asked)).unwrap_or_default(),
            judged: match (subject.field(field::FRAGMENT), by_packet) {
                (LATER, _) => "head",
                (_, true) => "packet",
                (_, false) => "flow",
            },
            near: self.near(&looked, before),
            shadowed: self.shadowed(rule),
        }
    }

    fn rule(&self, place: usize) -> Option<RuleReport> {
        let rule = self.policy.rules.get(place)?;
        Some(RuleReport { number: place + 1, name: rule.name.to_string(), text: rule.to_string() })
    }

    fn near(&self, looked: &Looked<'_>, before: usize) -> Vec<NearReport> {
        let rules = self.policy.rules.iter().enumerate().take(before).rev().take(LOOKED_AT);
        let near = rules.filter_map(|(place, rule)| {
            let mut failing = looked.answers(&rule.matches).into_iter().filter(|it| !it.holds);
            let but = failing.next()?;
            if failing.next().is_some() || rule.matches.asks().len() < 2 {
                return None;
            }
            Some(NearReport { rule: self.rule(place)?, but })
        });
        near.take(NEAR).collect()
    }

    /// Those that the rule that decided takes packets of; without one, all of them.
    fn shadowed(&self, by: Option<usize>) -> Vec<ShadowedReport> {
        let all = self.ruleset.shadowed.iter();
        let some = all.filter(|it| by.is_none_or(|by| it.by.contains(&by)));
        let some = some.take(SHADOWED).filter_map(|it| {
            let name = self.policy.rules.get(it.rule)?.name.to_string();
            let by = it.by.iter().map(|place| place + 1).collect();
            Some(ShadowedReport { number: it.rule + 1, name, by })
        });
        some.collect()
    }
}

impl Report {
    /// On a line.
    pub(super) fn line(&self) -> String {
        let number = self.number.unwrap_or(1);
        format!("{number:>6}  {:<6}  {:<20}  {}", self.verdict, self.decider(), self.packet)
    }

    fn decider(&self) -> String {
        match &self.rule {
            Some(rule) => format!("{} {}", rule.number, rule.name),
            None => self.by.to_owned(),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n{}: ", self.packet, self.verdict);
        match (&self.rule, self.by) {
            (Some(RuleReport { number, name, text: rule }), _) => {
                let _ = writeln!(text, "rule {number} `{name}`: {rule}");
            }
            (None, "arp") => text.push_str("ARP passes, as no rule names it\n"),
            (None, "discovery") => {
                text.push_str("IPv6 neighbour discovery passes, as no rule names it\n");
            }
            (None, "hidden") => text.push_str(
                "it hides what rules ask for, behind extension headers or in another fragment\n",
            ),
            (None, _) => text.push_str("the default, as no rule is about it\n"),
        }
        if !self.why.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(["ASKED", "RULE", "PACKET"]);
            for Answer { key, asked, has, .. } in &self.why {
                table.add_row([*key, asked, has]);
            }
            let _ = writeln!(text, "{}", table.trim_fmt());
        }
        let _ = match (self.judged, self.verdict == Action::Limit.name()) {
            ("head", _) => writeln!(
                text,
                "a later fragment: what is decided on the first one of its packet holds for it"
            ),
            ("flow", _) => writeln!(text, "decided once for all packets of the flow"),
            (_, true) => writeln!(text, "decided for each packet: it counts against the limit"),
            _ => writeln!(text, "decided for each packet"),
        };
        for NearReport { rule: RuleReport { number, name, .. }, but } in &self.near {
            let Answer { key, asked, has, .. } = but;
            let _ = writeln!(
                text,
                "near: rule {number} `{name}`, but for {key}: {asked} asked, {has} found"
            );
        }
        for ShadowedReport { number, name, by } in &self.shadowed {
            let by: Vec<String> = by.iter().map(ToString::to_string).collect();
            let _ = if by.is_empty() {
                writeln!(text, "note: no packet can be what rule {number} `{name}` asks")
            } else {
                writeln!(
                    text,
                    "note: no packet reaches rule {number} `{name}`, because of {}",
                    by.join(", ")
                )
            };
        }
        text.trim_end().to_owned()
    }
}
