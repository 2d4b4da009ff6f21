//! The report as a picture: a bar chart of each experiment, its bars as long as the
//! median, with a line over the middle half.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Report;
use super::chart::{Bar, Chart};

/// Pixels, of which SVG has as many as one likes.
const WIDTH: u32 = 1_100;
const COLUMNS: usize = 2;
const TITLE: u32 = 24;
const MARGIN: u32 = 8;
const AXIS: u32 = 36;
const NAMES: u32 = 120;
const BAR: u32 = 22;
const TEXT: i32 = 13;
/// Of the room that a bar has.
const HALF_BAR: f64 = 0.4;
/// How much further an axis goes than its longest bar.
const ROOM: f64 = 1.2;
const COLOUR: RGBColor = RGBColor(0x1f, 0x77, 0xb4);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("draw the report: {0}")]
pub struct DrawError(String);

impl DrawError {
    fn new(error: impl Display) -> Self {
        Self(error.to_string())
    }
}

impl Report {
    /// All of its charts, as SVG.
    ///
    /// # Errors
    /// They cannot be drawn, such as for lack of memory.
    pub fn svg(&self) -> Result<String, DrawError> {
        draw(&Chart::all(self)).map_err(DrawError::new)
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn draw(charts: &[Chart]) -> Outcome<String> {
    let rows: Vec<&[Chart]> = charts.chunks(COLUMNS).collect();
    let heights: Vec<u32> = rows.iter().map(|row| height(row)).collect();
    let mut text = String::new();
    {
        let size = (WIDTH, heights.iter().sum::<u32>().max(1));
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE)?;
        let mut rest = area;
        for (row, height) in rows.iter().zip(&heights) {
            let (now, later) = rest.split_vertically(*height);
            rest = later;
            let fields = now.split_evenly((1, COLUMNS));
            for (chart, field) in row.iter().zip(&fields) {
                draw_chart(chart, field)?;
            }
        }
        rest.present()?;
    }
    Ok(text)
}

fn height(row: &[Chart]) -> u32 {
    let bars = row.iter().map(|chart| chart.bars.len()).max().unwrap_or(0);
    u32::try_from(bars).unwrap_or_default() * BAR + TITLE + AXIS + 3 * MARGIN
}

fn draw_chart(chart: &Chart, field: &DrawingArea<SVGBackend<'_>, Shift>) -> Outcome<()> {
    let Chart { title, quantity, bars } = chart;
    let end = quantity.scaled(chart.longest()) * ROOM;
    let places = f64::from(u32::try_from(bars.len())?);
    let mut plot = ChartBuilder::on(field)
        .caption(title, ("sans-serif", TEXT + 1))
        .margin(MARGIN)
        .x_label_area_size(AXIS)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..end, 0.0..places)?;
    plot.configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .max_light_lines(0)
        .label_style(("sans-serif", TEXT))
        .draw()?;
    let text = |beside: HPos| {
        let style = ("sans-serif", TEXT).into_font().color(&BLACK);
        style.pos(Pos::new(beside, VPos::Center))
    };
    for (number, Bar { name, note, summary }) in (0_u32..).zip(bars) {
        // From the top.
        let middle = places - f64::from(number) - 0.5;
        let value = quantity.scaled(summary.median);
        let corners = [(0.0, middle - HALF_BAR), (value, middle + HALF_BAR)];
        plot.draw_series([Rectangle::new(corners, COLOUR.mix(0.8).filled())])?;
        let quartiles = [summary.lower_quartile, summary.upper_quartile]
            .map(|quartile| (quantity.scaled(quartile), middle));
        plot.draw_series([PathElement::new(quartiles, BLACK.stroke_width(2))])?;
        let shown = quantity.shown(summary.median);
        let (before, after) = (format!("{name}  "), format!(" {shown}{note}"));
        let end = quantity.scaled(summary.upper_quartile);
        plot.draw_series([
            Text::new(before, (0.0, middle), text(HPos::Right)),
            Text::new(after, (end, middle), text(HPos::Left)),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::statistics::Summary;
    use crate::bench::traffic::Quantity;

    #[test]
    fn a_picture_has_every_bar_and_its_number() {
        let bar = |name, value: f64| Bar {
            name,
            note: String::new(),
            summary: Summary::of(vec![value]).unwrap(),
        };
        let chart = |title: &str| Chart {
            title: title.to_owned(),
            quantity: Quantity::PacketsPerSecond,
            bars: vec![bar("wire", 4e6), bar("bridge", 1e6)],
        };
        let text = draw(&[chart("first"), chart("second"), chart("third <&>")]).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
        for part in ["first", "second", "third &lt;&amp;&gt;"] {
            assert_eq!(text.matches(part).count(), 1, "{part}");
        }
        for part in ["wire", "bridge", "4.000", "1.000"] {
            assert!(text.matches(part).count() >= 3, "{part}");
        }
        assert!(draw(&[]).is_ok());
    }
}
