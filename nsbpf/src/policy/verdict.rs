//! What a policy decides on a packet that begins something.

use nsbpf_common::packet::Fragment;
use nsbpf_common::policy::value::{ARP, DISCOVERY, ICMPV6};
use nsbpf_common::policy::{Action, NONE, Subject, field};
use serde::Serialize;

use super::{Kind, Read, Ruleset};
use crate::lab::Policy;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What is done.
    pub action: Action,
    /// By what.
    pub by: By,
    /// Whether other packets of its flow may be decided otherwise, so that each is looked at.
    pub by_packet: bool,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The rule at that place.
    Rule(usize),
    /// That no rule is about it.
    Default,
    /// That it is ARP, which no rule names.
    Arp,
    /// That it is IPv6 neighbour discovery, which no rule names.
    Discovery,
    /// That it hides what rules ask for.
    Hidden,
}

impl Ruleset {
    /// Decides on a packet; the policy is the one that was compiled.
    #[must_use]
    pub fn judge(&self, policy: &Policy, read: &Read) -> Judged {
        let Read { kind, subject, hides } = *read;
        if let Some(by) = self.passes_before(kind, &subject) {
            return Judged { action: Action::Allow, by, by_packet: true };
        }
        if hides {
            return Judged { action: Action::Deny, by: By::Hidden, by_packet: true };
        }
        let found = self.compiled.find(kind, &subject);
        let condition = match found.condition {
            NONE => None,
            index => self.compiled.conditions.get(index as usize),
        };
        let rule = condition.and_then(|it| (it.decision.slot() as usize).checked_sub(1));
        let (action, by) = match (condition, rule) {
            (Some(condition), Some(rule)) => (condition.decision.action(), By::Rule(rule)),
            _ => (policy.default.action(), By::Default),
        };
        let is_limited = action == Action::Limit;
        let by_packet = kind == Kind::Other || found.depends_on_packet || is_limited;
        Judged { action, by, by_packet }
    }

    /// What passes before all rules, because none names it.
    fn passes_before(&self, kind: Kind, subject: &Subject) -> Option<By> {
        let number = |field: u32| subject.field(field);
        match kind {
            Kind::Other if number(field::ETHERTYPE) == ARP => (!self.about_arp).then_some(By::Arp),
            Kind::V6 if number(field::PROTOCOL) == ICMPV6 => {
                // Hosts take none in fragments (RFC 6980).
                let is_discovery = DISCOVERY.contains(&number(field::ICMP))
                    && number(field::FRAGMENT) == Fragment::Whole as u64;
                (is_discovery && !self.about_discovery).then_some(By::Discovery)
            }
            _ => None,
        }
    }
}
