//! `limit` and `burst`: so many packets or bits a second, and so many at once.

use serde_saphyr::Spanned;

use super::{Limit, Unit};
use crate::lab::problem::Problem;

/// Packets a second at most: one each nanosecond.
const MOST_PACKETS: u64 = 1_000_000_000;
/// Bits a second at most, to which the datapath tells time finely enough.
const MOST_BITS: u64 = 10_000_000_000;
/// Seconds that a burst may be of at most.
const MOST_SECONDS: u64 = 3600;
/// Bits of the longest packet.
const LONGEST: u64 = 65_535 * 8;

const HELP: &str = "write `100/s` for packets, `64kbit/s`, `10Mbit/s` or `1Gbit/s` for bits";

/// Checks a limit.
pub(super) fn check(
    limit: &Spanned<String>,
    burst: Option<&Spanned<String>>,
    problems: &mut Vec<Problem>,
) -> Option<Limit> {
    let typed = limit.value.trim();
    let amount = typed.strip_suffix("/s").and_then(|rate| amount(rate.trim()));
    let Some((rate, unit)) = amount else {
        let title = format!("`{typed}` is no limit");
        problems.push(Problem::new(title, limit.referenced).help(HELP));
        return None;
    };
    let most = match unit {
        Unit::Packets => MOST_PACKETS,
        Unit::Bits => MOST_BITS,
    };
    if rate == 0 || rate > most {
        let title = format!("a limit of `{typed}` is not possible");
        let help = match unit {
            Unit::Packets => format!("1/s to {MOST_PACKETS}/s"),
            Unit::Bits => format!("1bit/s to {}Gbit/s", MOST_BITS / 1_000_000_000),
        };
        problems.push(Problem::new(title, limit.referenced).help(help));
        return None;
    }
    let least = match unit {
        Unit::Packets => 1,
        Unit::Bits => LONGEST,
    };
    let Some(burst) = burst else {
        return Some(Limit { rate, unit, burst: (rate / 10).max(least) });
    };
    let asked = amount_of_burst(burst.value.trim(), unit);
    let most = rate.saturating_mul(MOST_SECONDS);
    match asked {
        Some(asked) if asked >= 1 && asked <= most.max(least) => {
            Some(Limit { rate, unit, burst: asked })
        }
        _ => {
            let title = format!("`{}` cannot be the burst of this limit", burst.value);
            let help = match unit {
                Unit::Packets => format!("1 to {} packets, as `50`", most.max(least)),
                Unit::Bits => {
                    "bits as `1Mbit`, and at most what the limit allows in an hour".to_owned()
                }
            };
            problems.push(Problem::new(title, burst.referenced).help(help));
            None
        }
    }
}

fn amount_of_burst(text: &str, wanted: Unit) -> Option<u64> {
    let (number, unit) = amount(text)?;
    (unit == wanted).then_some(number)
}

/// So many packets (`100`, `100 packets`) or bits (`10Mbit`).
fn amount(text: &str) -> Option<(u64, Unit)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let (factor, unit) = match unit.trim() {
        "" | "packet" | "packets" => (1, Unit::Packets),
        "bit" => (1, Unit::Bits),
        "kbit" => (1000, Unit::Bits),
        "Mbit" => (1_000_000, Unit::Bits),
        "Gbit" => (1_000_000_000, Unit::Bits),
        _ => return None,
    };
    Some((number.checked_mul(factor)?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_a_unit() {
        assert_eq!(amount("100"), Some((100, Unit::Packets)));
        assert_eq!(amount("7 packets"), Some((7, Unit::Packets)));
        assert_eq!(amount("64kbit"), Some((64_000, Unit::Bits)));
        assert_eq!(amount("2 Gbit"), Some((2_000_000_000, Unit::Bits)));
        for text in ["", "bit", "1.5Mbit", "-1", "10mbit", "18446744073709551615kbit", "é"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }
}
