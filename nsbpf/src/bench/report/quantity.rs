//! How quantities are shown.

use crate::bench::traffic::Quantity;

impl Quantity {
    /// Its unit, in tables.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::PacketsPerSecond => "Mpps",
            Self::BitsPerSecond => "Gbit/s",
            Self::PerSecond => "k/s",
            Self::Nanoseconds => "µs",
            Self::Number | Self::Cost => "",
        }
    }

    /// How many of that unit.
    pub(super) fn scaled(self, value: f64) -> f64 {
        match self {
            Self::PacketsPerSecond => value / 1e6,
            Self::BitsPerSecond => value / 1e9,
            Self::PerSecond | Self::Nanoseconds => value / 1e3,
            Self::Number | Self::Cost => value,
        }
    }

    /// The same, as text.
    pub(super) fn shown(self, value: f64) -> String {
        let scaled = self.scaled(value);
        let digits = match self {
            Self::PacketsPerSecond => 3,
            Self::BitsPerSecond if scaled < 10.0 => 2,
            Self::PerSecond | Self::Nanoseconds | Self::BitsPerSecond => 1,
            Self::Number | Self::Cost => return number(value),
        };
        // What is much less than usual needs more of them.
        let digits = match scaled {
            0.0.. if scaled < 0.001 => digits + 4,
            0.0.. if scaled < 0.1 => digits + 2,
            _ => digits,
        };
        format!("{scaled:.digits$}")
    }
}

/// Four digits, and a prefix.
fn number(mut value: f64) -> String {
    for prefix in ["", " k", " M", " G"] {
        if value.abs() < 999.95 {
            return format!("{value:.2}{prefix}");
        }
        value /= 1e3;
    }
    format!("{value:.2} T")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        assert_eq!(Quantity::PacketsPerSecond.shown(1_234_567.0), "1.235");
        assert_eq!(Quantity::BitsPerSecond.shown(1.5e9), "1.50");
        assert_eq!(Quantity::BitsPerSecond.shown(7.4e5), "0.000740");
        assert_eq!(Quantity::BitsPerSecond.shown(0.0), "0.000000");
        assert_eq!(Quantity::BitsPerSecond.shown(31.52e9), "31.5");
        assert_eq!(Quantity::Nanoseconds.shown(15_640.0), "15.6");
        assert_eq!(Quantity::Number.shown(22_227_869_136.486), "22.23 G");
        assert_eq!(Quantity::Number.shown(0.5), "0.50");
        assert_eq!(Quantity::Number.shown(3e15), "3000.00 T");
    }
}
