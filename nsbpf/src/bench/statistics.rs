//! Medians, spreads, and how sure they are.

use serde::{Deserialize, Serialize};

/// Samples, and where the middle of them lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle one, of two the mean.
    pub median: f64,
    /// A quarter of them is below.
    pub lower_quartile: f64,
    /// A quarter of them is above.
    pub upper_quartile: f64,
    /// Where the median of infinitely many would be, 95 of 100 times at least: two of
    /// the samples, whatever they are distributed like. `None` for fewer than six.
    pub confidence: Option<[f64; 2]>,
    /// All of them, in the order in which they were taken.
    pub samples: Vec<f64>,
}

impl Summary {
    /// Of samples, if there are any. What is no number is none: nothing by nothing.
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.retain(|sample| sample.is_finite());
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            lower_quartile: quantile(&sorted, 0.25)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            confidence: confidence(&sorted),
            samples,
        })
    }

    /// Half of the confidence interval, as a share of the median.
    #[must_use]
    pub fn uncertainty(&self) -> Option<f64> {
        self.confidence.map(|[lower, upper]| (upper - lower) / 2.0 / self.median)
    }
}

/// The confidence interval of the median: as many samples lie below it as heads come of
/// as many coins, so that the k-th and the k-th last one enclose it but for two tails of
/// the binomial distribution (Conover, *Practical Nonparametric Statistics*, 3.2).
fn confidence(sorted: &[f64]) -> Option<[f64; 2]> {
    /// Of each tail.
    const MOST: f64 = 0.025;
    let coins = u32::try_from(sorted.len()).ok()?;
    // The chance of so many heads, from none on, and of at most so many.
    let mut chance = 0.5_f64.powi(coins.cast_signed());
    let mut tail = chance;
    let mut inside = None;
    for (heads, (lower, upper)) in (1..).zip(sorted.iter().zip(sorted.iter().rev())) {
        if tail > MOST {
            break;
        }
        inside = Some([*lower, *upper]);
        chance *= f64::from(coins + 1 - heads) / f64::from(heads);
        tail += chance;
    }
    inside
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
        assert_eq!(Summary::of(vec![f64::NAN, f64::INFINITY]), None);
    }

    /// From the tables of the binomial distribution.
    #[test]
    fn a_median_is_as_sure_as_there_are_samples() {
        let interval = |count: u32| {
            let summary = Summary::of((1..=count).map(f64::from).collect()).unwrap();
            summary.confidence
        };
        assert_eq!(interval(5), None);
        assert_eq!(interval(6), Some([1.0, 6.0]));
        assert_eq!(interval(8), Some([1.0, 8.0]));
        assert_eq!(interval(9), Some([2.0, 8.0]));
        assert_eq!(interval(12), Some([3.0, 10.0]));
        assert_eq!(interval(24), Some([7.0, 18.0]));
        assert_eq!(interval(100), Some([40.0, 61.0]));
        let nine = Summary::of((1..=9).map(f64::from).collect()).unwrap();
        assert!((nine.uncertainty().unwrap() - 0.6).abs() < 1e-9);
    }
}
