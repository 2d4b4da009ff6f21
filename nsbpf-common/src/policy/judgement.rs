//! What was decided, and what is kept of that.

use crate::abi::abi;

/// Rules of one policy and of the one before it together, at most: their counters have a
/// slot each.
pub const MAX_SLOTS: u32 = 1 << 20;

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// It goes on.
    Allow,
    /// It ends.
    Deny,
    /// It ends, and its sender is told.
    Reject,
    /// It goes on if there were not too many, else it ends.
    Limit,
}

impl Action {
    /// Every action, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::Reject, Self::Limit];

    /// One word, as it is written and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject => "reject",
            Self::Limit => "limit",
        }
    }
}

/// What a rule says: its action, whether it is logged, and the slot of its counters.
///
/// ```text
/// 31       24 23 22 21 20 19            0
///      0     ‖ log ‖ action ‖    slot
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Decision(u32);

abi!(Decision, size = 4, align = 4);

const SLOT: u32 = MAX_SLOTS - 1;
const ACTION_SHIFT: u32 = 20;
const LOG: u32 = 1 << 22;

impl Decision {
    /// That it goes on, by the rule of slot 0.
    pub const ALLOW: Self = Self(0);

    /// Of a rule whose counters have that slot, below [`MAX_SLOTS`].
    #[inline(always)]
    #[must_use]
    pub const fn new(action: Action, is_logged: bool, slot: u32) -> Self {
        let log = if is_logged { LOG } else { 0 };
        Self((slot & SLOT) | ((action as u32) << ACTION_SHIFT) | log)
    }

    /// Of a word that was made of one.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        Self(word & 0xff_ffff)
    }

    /// All of it, in 24 bits.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The slot of the rule's counters.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.0 & SLOT
    }

    /// The action.
    #[inline(always)]
    #[must_use]
    pub const fn action(self) -> Action {
        match (self.0 >> ACTION_SHIFT) & 3 {
            0 => Action::Allow,
            1 => Action::Deny,
            2 => Action::Reject,
            _ => Action::Limit,
        }
    }

    /// Whether packets that it is about are logged.
    #[inline(always)]
    #[must_use]
    pub const fn is_logged(self) -> bool {
        self.0 & LOG != 0
    }

    /// Whether packets just go on: nothing is asked of each.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.0 & !SLOT == 0
    }
}

/// A decision that holds for all packets of a flow that come in by one port, as long as the
/// policy is the same: one word, stored and read as a whole.
///
/// ```text
/// 63           40 39         16 15      0
///   generation   ‖   decision  ‖   port
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Judgement(u64);

abi!(Judgement, size = 8, align = 8);

const GENERATION: u64 = 0xff_ffff;
const GENERATION_SHIFT: u32 = 40;
const DECISION_SHIFT: u32 = 16;
const PORT: u64 = 0xffff;

impl Judgement {
    /// Nothing was decided: it holds in no generation, which count from 1.
    pub const NONE: Self = Self(0);

    /// In a generation, of which the lowest 24 bits count, of what comes in by that port.
    #[inline(always)]
    #[must_use]
    pub const fn new(generation: u64, decision: Decision, port: u16) -> Self {
        let generation = (generation & GENERATION) << GENERATION_SHIFT;
        Self(generation | ((decision.0 as u64) << DECISION_SHIFT) | port as u64)
    }

    /// Whether it holds in a generation for what comes in by that port.
    #[inline(always)]
    #[must_use]
    pub const fn holds(self, generation: u64, port: u16) -> bool {
        let differs = self.0 ^ ((generation << GENERATION_SHIFT) | port as u64);
        // What holds in none is all zeros in one of 2^24 generations, too.
        self.0 >> GENERATION_SHIFT != 0 && differs & !(0xff_ffff << DECISION_SHIFT) == 0
    }

    /// What was decided.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "its bits are meant")]
    pub const fn decision(self) -> Decision {
        Decision((self.0 >> DECISION_SHIFT) as u32 & 0xff_ffff)
    }

    /// In which generation, as far as its lowest 24 bits tell; 0 for none.
    #[must_use]
    pub const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// The port that it is about.
    #[must_use]
    pub const fn port(self) -> u16 {
        (self.0 & PORT) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_keeps_what_it_is_told() {
        for action in Action::ALL {
            for log in [false, true] {
                for slot in [0, 1, 65_536, MAX_SLOTS - 1] {
                    let decision = Decision::new(action, log, slot);
                    let told = (decision.action(), decision.is_logged(), decision.slot());
                    assert_eq!(told, (action, log, slot));
                    assert_eq!(decision.is_plain(), action == Action::Allow && !log);
                }
            }
        }
    }

    #[test]
    fn a_judgement_holds_in_its_generation_for_its_port() {
        let decision = Decision::new(Action::Limit, true, MAX_SLOTS - 1);
        for generation in [1, 2, GENERATION, GENERATION + 5] {
            for port in [0, 7, u16::MAX] {
                let judgement = Judgement::new(generation, decision, port);
                assert!(judgement.holds(generation, port));
                assert!(!judgement.holds(generation + 1, port));
                assert!(!judgement.holds(generation, port ^ 1));
                assert_eq!((judgement.decision(), judgement.port()), (decision, port));
            }
        }
        assert!(!Judgement::NONE.holds(1, 0));
    }
}
