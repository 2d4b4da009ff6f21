//! A figure that there is a target for, in the form that every benchmark's JSON has it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Fewer are better.
    Seconds,
    /// Of something else; more is better.
    Share,
    /// Of something else; less is better.
    Multiple,
    /// Fewer are better.
    Bytes,
    /// Fewer are better.
    Instructions,
}

/// How a figure compares to what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As good as is hoped for.
    Stretch,
    /// As good as it has to be.
    Met,
    /// Worse.
    Missed,
}

/// Something that there is a target for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) unit: Unit,
    /// What it has to be: at most, or for a share at least.
    pub(super) must: f64,
    /// What is hoped for, likewise.
    pub(super) stretch: Option<f64>,
    /// What it is.
    pub(super) measured: Option<f64>,
    /// `None` as well if it was measured at another size than targets are for.
    pub(super) verdict: Option<Verdict>,
}

impl Figure {
    /// Must, stretch, measured and the verdict, as they are read. What is measured has a
    /// digit more: a figure that misses its target by little must not look like it.
    pub(super) fn cells(&self) -> [String; 4] {
        let Self { what: _, unit, must, stretch, measured, verdict: _ } = self;
        let bound = if *unit == Unit::Share { "≥" } else { "≤" };
        let target = |value: f64| format!("{bound} {}", unit.shown(value, 0));
        let stretch = stretch.map(target).unwrap_or_default();
        let measured = measured.map(|value| unit.shown(value, 1)).unwrap_or_default();
        [target(*must), stretch, measured, self.word().to_owned()]
    }

    fn word(&self) -> &'static str {
        match (self.measured, self.verdict) {
            (None, _) => "not measured",
            (_, None) => "not judged",
            (_, Some(Verdict::Stretch)) => "stretch",
            (_, Some(Verdict::Met)) => "met",
            (_, Some(Verdict::Missed)) => "missed",
        }
    }
}

impl Unit {
    fn shown(self, value: f64, more_digits: usize) -> String {
        let digits = |usual: usize| usual + more_digits;
        match self {
            Self::Seconds if value < 0.1 => format!("{:.*} ms", digits(1), value * 1e3),
            Self::Seconds => format!("{value:.*} s", digits(2)),
            Self::Share | Self::Multiple => format!("{value:.*}", digits(2)),
            Self::Bytes => format!("{:.*} MB", digits(0), value / 1e6),
            Self::Instructions => format!("{value:.0}"),
        }
    }
}

/// How many figures there are, and how they compare.
pub(super) struct Count<'a>(pub(super) &'a [&'a Figure]);

impl fmt::Display for Count<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |word| self.0.iter().filter(|figure| figure.word() == word).count();
        let [stretch, met, missed] = ["stretch", "met", "missed"].map(of);
        let all = self.0.len();
        write!(formatter, "{all} figures: {stretch} stretch, {met} met, {missed} missed")?;
        for word in ["not judged", "not measured"] {
            match of(word) {
                0 => {}
                some => write!(formatter, ", {some} {word}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) fn figure(measured: Option<f64>, verdict: Option<Verdict>) -> Figure {
        let what = "up, 4 namespaces".to_owned();
        Figure { what, unit: Unit::Seconds, must: 3.0, stretch: Some(0.05), measured, verdict }
    }

    #[test]
    fn every_verdict_has_its_word() {
        let cells = |measured, verdict| figure(measured, verdict).cells();
        let target = ["≤ 3.00 s", "≤ 50.0 ms"];
        for (verdict, word) in [
            (Some(Verdict::Stretch), "stretch"),
            (Some(Verdict::Met), "met"),
            (Some(Verdict::Missed), "missed"),
            (None, "not judged"),
        ] {
            assert_eq!(cells(Some(1.5), verdict), [target[0], target[1], "1.500 s", word]);
        }
        assert_eq!(cells(None, None), [target[0], target[1], "", "not measured"]);
    }

    #[test]
    fn only_a_share_has_to_be_at_least_something() {
        let cells = |unit| Figure { unit, stretch: None, ..figure(Some(5e6), None) }.cells();
        assert_eq!(cells(Unit::Share)[..2], ["≥ 3.00", ""]);
        for unit in [Unit::Multiple, Unit::Bytes, Unit::Instructions] {
            assert!(cells(unit)[0].starts_with("≤ "), "{unit:?}");
        }
        assert_eq!(cells(Unit::Instructions)[2], "5000000");
        assert_eq!(cells(Unit::Bytes)[2], "5.0 MB");
    }

    #[test]
    fn what_is_just_missed_looks_like_it() {
        let missed = Figure { unit: Unit::Share, must: 0.83, ..figure(Some(0.8285), None) };
        assert_eq!([&missed.cells()[0], &missed.cells()[2]], ["≥ 0.83", "0.829"]);
    }

    #[test]
    fn figures_are_counted_by_verdict() {
        let met = figure(Some(1.0), Some(Verdict::Met));
        let missed = figure(Some(4.0), Some(Verdict::Missed));
        let [unjudged, unmeasured] = [figure(Some(1.0), None), figure(None, None)];
        assert_eq!(
            Count(&[&met, &missed, &met]).to_string(),
            "3 figures: 0 stretch, 2 met, 1 missed"
        );
        assert_eq!(
            Count(&[&unjudged, &met, &unmeasured]).to_string(),
            "3 figures: 0 stretch, 1 met, 0 missed, 1 not judged, 1 not measured"
        );
    }

    #[test]
    fn a_figure_is_read_as_it_is_told() {
        let text = r#"{"what": "x", "unit": "instructions", "must": 200000, "stretch": null,
                       "measured": 2, "verdict": "stretch"}"#;
        let told: Figure = serde_json::from_str(text).unwrap();
        assert_eq!((told.unit, told.verdict), (Unit::Instructions, Some(Verdict::Stretch)));
        assert_eq!(told.measured, Some(2.0));
    }
}
