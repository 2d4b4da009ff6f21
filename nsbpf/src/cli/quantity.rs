//! How quantities are shown: three digits and a unit.

use std::time::Duration;

/// Bytes in powers of 1,000, as `ip -s -h` shows them.
pub(super) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to three digits")]
    let value = count as f64;
    if count < 1000 { format!("{count} B") } else { scaled(value, "B") }
}

/// Bits a second in powers of 1,000.
pub(super) fn bit_rate(bits_per_second: f64) -> String {
    scaled(bits_per_second, "bit/s")
}

/// Packets a second in powers of 1,000.
pub(super) fn packet_rate(packets_per_second: f64) -> String {
    scaled(packets_per_second, "pkt/s")
}

/// A time in its two largest units: milliseconds where it is less than a second.
pub(super) fn duration(time: Duration) -> String {
    let rounded = if time.as_secs() == 0 {
        Duration::from_millis(u64::from(time.subsec_millis()))
    } else {
        Duration::from_secs(time.as_secs())
    };
    let text = humantime::format_duration(rounded).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn scaled(mut value: f64, unit: &str) -> String {
    for prefix in ["", "k", "M", "G", "T"] {
        if value < 999.5 {
            let digits = usize::from(value < 99.95) * usize::from(!prefix.is_empty());
            return format!("{value:.digits$} {prefix}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.0} P{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1234), "1.2 kB");
        assert_eq!(bytes(123_456), "123 kB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(u64::MAX), "18447 PB");
        assert_eq!(bit_rate(0.0), "0 bit/s");
        assert_eq!(bit_rate(10_400_000_000.0), "10.4 Gbit/s");
    }

    #[test]
    fn times_have_two_units() {
        for (millis, shown) in
            [(0, "0s"), (12, "12ms"), (1999, "1s"), (61_000, "1m 1s"), (90_061_000, "1day 1h")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), shown);
        }
    }
}
