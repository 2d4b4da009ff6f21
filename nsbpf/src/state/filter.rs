//! Chains of packet filters, as far as fast paths have to do with them.

use std::fmt;

/// A chain that packets pass when they are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterChain {
    /// What it is called: whose chain it is, its table and its name.
    pub name: String,
    /// How many rules it has.
    pub rules: u32,
    /// Whether it drops what none of its rules decides about.
    pub drops: bool,
}

impl FilterChain {
    /// Whether a packet could fare otherwise than without it.
    #[must_use]
    pub fn decides(&self) -> bool {
        self.rules > 0 || self.drops
    }
}

impl fmt::Display for FilterChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rules, drops } = self;
        let rules = match rules {
            0 => None,
            1 => Some("1 rule".to_owned()),
            more => Some(format!("{more} rules")),
        };
        let policy = drops.then(|| "policy drop".to_owned());
        let what: Vec<String> = rules.into_iter().chain(policy).collect();
        write!(formatter, "{name} ({})", what.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_told() {
        let told = |rules, drops| {
            let chain = FilterChain { name: "nftables ip filter FORWARD".to_owned(), rules, drops };
            (chain.decides(), chain.to_string())
        };
        let named = |what: &str| format!("nftables ip filter FORWARD ({what})");
        assert_eq!(told(1, false), (true, named("1 rule")));
        assert_eq!(told(0, true), (true, named("policy drop")));
        assert_eq!(told(2, true), (true, named("2 rules, policy drop")));
        assert!(!told(0, false).0);
    }
}
