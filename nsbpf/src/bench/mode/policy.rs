//! Paths that differ in how many rules packets are judged by, and by whom.

use super::{
    Amount, BRIDGE, Counting, FLOWS, Filter, Goal, Mode, PEER, Target, UNCOUNTED, XDP, counted,
};
use crate::bench::traffic::End;

/// nftables with a set of all services.
pub(in crate::bench) const NFT_SET: &str = "nft-set";
const SINK: End = End::XdpSink;
const RECEIVER: End = End::Receiver;

const fn judged(
    name: &'static str,
    datapath: Counting,
    amount: Amount,
    targets: &'static [Target],
) -> Mode {
    Mode { filter: Filter::Policy(amount), ..counted(name, datapath, targets) }
}

const fn nft(name: &'static str, filter: Filter) -> Mode {
    Mode { name, filter, ..UNCOUNTED }
}

/// What packets of a known flow get, or such that each begin one, of what they get on another.
const fn rules(end: End, is_new: bool, of: &'static str, must: f64) -> Target {
    Target { goal: Goal::Rules { end, is_new }, of, must, stretch: None }
}

/// All of them, in the order of their turns. The bridge without any is there too.
pub(in crate::bench) const POLICY_MODES: [Mode; 12] = [
    nft(NFT_SET, Filter::Set(Amount::Many)),
    nft("nft-tenth", Filter::Linear(Amount::Tenth)),
    nft("nft-many", Filter::Linear(Amount::Many)),
    judged("bridge-one", FLOWS, Amount::One, &[]),
    judged("bridge-few", FLOWS, Amount::Few, &[]),
    judged(
        "bridge-many",
        FLOWS,
        Amount::Many,
        &[
            rules(SINK, false, "bridge-one", 0.97),
            rules(RECEIVER, false, "bridge-one", 0.97),
            rules(SINK, false, NFT_SET, 0.95),
            rules(RECEIVER, false, NFT_SET, 0.95),
            rules(SINK, true, "bridge-few", 0.6),
        ],
    ),
    Mode { ends: &[RECEIVER], ..judged("peer-one", PEER, Amount::One, &[]) },
    Mode { ends: &[RECEIVER], ..judged("peer-few", PEER, Amount::Few, &[]) },
    Mode {
        ends: &[RECEIVER],
        ..judged(
            "peer-many",
            PEER,
            Amount::Many,
            &[rules(RECEIVER, false, "peer-one", 0.97), rules(RECEIVER, false, NFT_SET, 1.5)],
        )
    },
    judged("xdp-one", XDP, Amount::One, &[]),
    judged("xdp-few", XDP, Amount::Few, &[]),
    judged(
        "xdp-many",
        XDP,
        Amount::Many,
        &[
            rules(SINK, false, "xdp-one", 0.97),
            rules(RECEIVER, false, "xdp-one", 0.97),
            rules(SINK, true, "xdp-few", 0.5),
        ],
    ),
];

impl Mode {
    /// Whether it tells anything about flows that are known, or that are new: not so those
    /// that nothing is compared to there.
    pub(in crate::bench) fn tells_of_rules(&self, is_new: bool) -> bool {
        match self.filter {
            Filter::None => self.name == BRIDGE,
            Filter::Linear(_) | Filter::Policy(Amount::One) => !is_new,
            Filter::Set(_) | Filter::Policy(Amount::Many | Amount::Tenth) => true,
            Filter::Policy(Amount::Few) => is_new,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_targets_are_about_is_measured() {
        for mode in &POLICY_MODES {
            for Target { goal, of, .. } in mode.targets {
                let Goal::Rules { end, is_new } = *goal else { panic!("{}", mode.name) };
                let other = POLICY_MODES.iter().find(|other| other.name == *of).unwrap();
                for path in [mode, other] {
                    assert!(path.ends.contains(&end) && path.tells_of_rules(is_new), "{of}");
                }
            }
        }
    }
}
