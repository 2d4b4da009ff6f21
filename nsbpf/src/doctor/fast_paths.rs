//! Rules of this host that frames between ports of a lab's bridge pass by, where a
//! fast path takes them past the bridge.

use super::finding::Finding;
use crate::net::netfilter::{FilterError, on_bridged};
use crate::state::FilterChain;

const SUBJECT: &str = "fast paths";

pub(super) fn check() -> Vec<Finding> {
    vec![judge(on_bridged())]
}

fn judge(chains: Result<Vec<FilterChain>, FilterError>) -> Finding {
    let chains = match chains {
        Err(error) => return Finding::unknown(SUBJECT, format!("{error} (it takes root)")),
        Ok(chains) => chains,
    };
    if chains.is_empty() {
        return Finding::ok(SUBJECT, "no rule of this host sees frames between ports of a bridge");
    }
    let chains: Vec<String> = chains.iter().map(ToString::to_string).collect();
    Finding::warning(
        SUBJECT,
        format!(
            "frames between ports of a lab's bridge pass these chains by, for five seconds after \
             one between the same two stations was let through: {}",
            chains.join(", ")
        ),
        "`fastpath: bridge` in labs whose packets they are to see (`nsbpf up --fastpath bridge`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn chains_that_are_passed_by_are_named() {
        assert_eq!(judge(Ok(Vec::new())).severity, Severity::Ok);
        let chain = |name: &str, rules, drops| FilterChain { name: name.to_owned(), rules, drops };
        let finding = judge(Ok(vec![
            chain("nftables ip filter FORWARD", 3, true),
            chain("iptables-legacy nat PREROUTING", 1, false),
        ]));
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.cause.ends_with(
            ": nftables ip filter FORWARD (3 rules, policy drop), \
             iptables-legacy nat PREROUTING (1 rule)"
        ));
        assert!(finding.cure.unwrap().contains("--fastpath bridge"));
    }

    #[test]
    fn what_was_not_seen_is_not_called_well() {
        let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(judge(Err(error.into())).severity, Severity::Unknown);
    }
}
