//! `queues`: how many processors at once can work on what crosses a veth pair.

use std::ops::RangeInclusive;

use serde_saphyr::Spanned;

use super::attach::Draft;
use super::problem::Problem;

/// Of an interface that says nothing.
pub(super) const DEFAULT_QUEUES: u16 = 1;
/// Each takes memory at both ends. The kernel takes up to 4,096.
pub(super) const POSSIBLE_QUEUES: RangeInclusive<u16> = 1..=64;

/// Checks what an interface says.
pub(super) fn check(said: Option<&Spanned<u16>>, problems: &mut Vec<Problem>) -> Option<u16> {
    let said = said?;
    if !POSSIBLE_QUEUES.contains(&said.value) {
        let title = format!("{} queues are not possible", said.value);
        let help = format!("{} to {} here", POSSIBLE_QUEUES.start(), POSSIBLE_QUEUES.end());
        problems.push(Problem::new(title, said.referenced).help(help));
    }
    Some(said.value)
}

/// The queues of a pair, which either end may say.
pub(super) fn of_pair(
    draft: &Draft<'_>,
    queues: Option<u16>,
    other: &Draft<'_>,
    problems: &mut Vec<Problem>,
) -> u16 {
    let theirs = other.spec.queues.as_ref().map(|queues| queues.value);
    if let (Some(queues), Some(theirs), Some(typed)) = (queues, theirs, &draft.spec.queues)
        && queues != theirs
    {
        let title = format!("there are {queues} queues here and {theirs} at {}", other.id);
        let help = "both ends of a pair have as many: say the same, or say it once";
        problems.push(Problem::new(title, typed.referenced).help(help));
    }
    queues.or(theirs).unwrap_or(DEFAULT_QUEUES)
}
