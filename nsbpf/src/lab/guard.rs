//! `guard`: what an interface may not claim to be.

use serde_saphyr::Spanned;

use super::problem::Problem;
use super::{Guard, InterfaceId};

/// Checks what `guard` says of an interface; `router` tells whether its namespace
/// forwards what others send.
pub(super) fn check(
    said: Option<&Spanned<String>>,
    id: &InterfaceId,
    router: bool,
    problems: &mut Vec<Problem>,
) -> Option<Guard> {
    let said = said?;
    match said.value.to_ascii_lowercase().as_str() {
        "false" => None,
        "mac" => Some(Guard::Mac),
        "true" if router => {
            let title =
                format!("{id} is a router's, which sends what others have the addresses of");
            let help = "write `guard: mac`, or guard the interfaces of those who send through it";
            problems.push(Problem::new(title, said.referenced).help(help));
            None
        }
        "true" => Some(Guard::Addresses),
        _ => {
            let title = format!("`{}` says nothing about a guard", said.value);
            let help = "write `true`, `false`, or `mac` to guard the MAC address only";
            problems.push(Problem::new(title, said.referenced).help(help));
            None
        }
    }
}
