//! `fastpath`: how packets travel over a bridge.

use nsbpf_common::stats::Way;
use serde_saphyr::Spanned;

use super::problem::{Problem, nearest};

/// Checks what `fastpath` says.
pub(super) fn check(said: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> Option<Way> {
    let said = said?;
    let way = Way::ALL.into_iter().find(|way| way.name() == said.value);
    if way.is_none() {
        let title = format!("`{}` is no fast path", said.value);
        let help = nearest(&said.value, Way::ALL.map(Way::name))
            .unwrap_or_else(|| "write `bridge`, `redirect`, `peer` or `xdp`".to_owned());
        problems.push(Problem::new(title, said.referenced).help(help));
    }
    way
}
