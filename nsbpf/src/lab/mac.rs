//! Hardware addresses that interfaces can have.

use serde_saphyr::Spanned;

use super::problem::Problem;

/// Checks a hardware address.
pub(super) fn check(typed: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<[u8; 6]> {
    let problem = match parse(&typed.value) {
        None => "is no MAC address",
        Some(mac) if mac == [0; 6] => "stands for no address",
        Some([first, ..]) if first & 1 != 0 => "is a multicast address",
        Some(mac) => return Some(mac),
    };
    let title = format!("`{}` {problem}", typed.value);
    let help = "write `02:00:00:00:00:01`, say";
    problems.push(Problem::new(title, typed.referenced).help(help));
    None
}

/// Reads any hardware address.
pub(super) fn parse(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    bytes?.try_into().ok()
}

fn byte(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}
