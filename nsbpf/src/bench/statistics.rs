//! Medians and spreads.

use serde::{Deserialize, Serialize};

/// Samples, and where the middle half of them lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle one, of two the mean.
    pub median: f64,
    /// A quarter of them is below.
    pub lower_quartile: f64,
    /// A quarter of them is above.
    pub upper_quartile: f64,
    /// All of them, in the order in which they were taken.
    pub samples: Vec<f64>,
}

impl Summary {
    /// Of samples, if there are any.
    #[must_use]
    pub fn of(samples: Vec<f64>) -> Option<Self> {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            lower_quartile: quantile(&sorted, 0.25)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            samples,
        })
    }

    /// How far from the median another one may be by chance, about 95 of 100 times: half
    /// the notch of a box plot (McGill, Tukey and Larsen, 1978).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a handful of samples")]
    pub fn notch(&self) -> f64 {
        let middle_half = self.upper_quartile - self.lower_quartile;
        1.57 * middle_half / (self.samples.len() as f64).sqrt()
    }
}

/// The value that a share of the sorted samples is below, between two of them if
/// need be.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among a handful of samples"
)]
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = sorted.len().checked_sub(1)? as f64 * share;
    let lower = sorted.get(place.floor() as usize)?;
    let upper = sorted.get(place.ceil() as usize)?;
    Some(lower + (upper - lower) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_is_told() {
        let summary = Summary::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!(
            (summary.lower_quartile, summary.median, summary.upper_quartile),
            (2.0, 3.0, 4.0)
        );
        assert_eq!(summary.samples, [5.0, 1.0, 3.0, 2.0, 4.0]);
        let two = Summary::of(vec![1.0, 2.0]).unwrap();
        assert!((two.median - 1.5).abs() < 1e-9);
        assert_eq!(Summary::of(Vec::new()), None);
    }
}
