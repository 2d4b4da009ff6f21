//! What a run is at, for whoever waits for it.

/// What comes next.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// What it is, for people.
    pub what: &'a str,
    /// Rounds that are over; the first to come warms caches up.
    pub round: u8,
    /// Rounds at most; 0 for what has none.
    pub rounds: u8,
}

/// Hears of it.
pub(super) type Tell<'a> = &'a dyn Fn(Progress<'_>);

/// Tells of something without rounds.
pub(super) fn tell_of(tell: Tell<'_>, what: &str) {
    tell(Progress { what, round: 0, rounds: 0 });
}
