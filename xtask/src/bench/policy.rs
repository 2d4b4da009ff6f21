//! `cargo xtask bench policy`: what many rules cost a packet, beside few, and beside nftables;
//! and what changing them takes. nsbpf measures itself.

use anyhow::Result;
use clap::Args;

use super::itself::{self, Itself};

/// Measure what rules cost a packet, beside nftables
#[derive(Args)]
pub(super) struct Arguments {
    /// Less of it: 6 rounds, and no policy of 65,536 rules
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    itself: Itself,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { quick, itself } = arguments;
    itself::run(itself, passed(*quick))
}

/// What `nsbpf bench` is told.
fn passed(quick: bool) -> &'static [&'static str] {
    if quick { &["--only", "policy", "--quick"] } else { &["--only", "policy"] }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Policy {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn quick_is_passed_on() {
        let passed = |words: &[&str]| {
            let Policy { arguments } = Policy::try_parse_from(words).unwrap();
            passed(arguments.quick).contains(&"--quick")
        };
        assert!(passed(&["policy", "--quick", "--json", "x"]));
        assert!(!passed(&["policy", "--nsbpf", "x", "--", "--rounds", "6"]));
        assert!(Policy::try_parse_from(["policy", "--rounds", "6"]).is_err());
    }
}
