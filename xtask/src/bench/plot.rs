//! The delays that were measured, drawn.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use xtask::figures::delays::{Histogram, Measured, Row};

/// Where the picture is, which docs/faults.md shows.
pub const PAGE: &str = "docs/delays.svg";

const SIZE: (u32, u32) = (1500, 900);
const OURS: RGBColor = RGBColor(70, 130, 180);
const NETEM: RGBColor = RGBColor(200, 80, 60);

/// A chart for each delay and shape, the shapes side by side.
pub fn draw(measured: &Measured, path: &Path) -> Result<()> {
    let columns = measured.rows.iter().take_while(|row| row.delay_ms == measured.rows[0].delay_ms);
    let columns = columns.count().max(1);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let titled = area
        .titled(
            "How long datagrams were on their way (ms): asked for (grey), ours (blue), netem's (red)",
            ("sans-serif", 20),
        )
        .map_err(failed)?;
    let charts = titled.split_evenly((measured.rows.len().div_ceil(columns), columns));
    for (row, chart) in measured.rows.iter().zip(&charts) {
        draw_row(row, chart)?;
    }
    area.present().map_err(failed)
}

fn draw_row(
    Row { delay_ms, shape, histogram, .. }: &Row,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Result<()> {
    let Histogram { from, to, ours, netem, asked } = histogram;
    let measured = ours.iter().chain(netem).copied();
    // A constant delay is asked for at one place, which would leave the others flat.
    let most = measured.max().unwrap_or(0).max(1) as f64 * 1.1;
    let [ours, netem] = [ours, netem].map(|bins| bins.iter().map(|count| *count as f64).collect());
    let (ours, netem): (Vec<f64>, Vec<f64>) = (ours, netem);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{delay_ms} ms {shape}"), ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(20)
        .build_cartesian_2d(*from..*to, 0.0..most)
        .map_err(failed)?;
    chart.configure_mesh().disable_mesh().disable_y_axis().x_labels(5).draw().map_err(failed)?;
    let steps = |bins: &[f64]| -> Vec<(f64, f64)> {
        let width = (to - from) / bins.len().max(1) as f64;
        let at = |index: usize| from + width * index as f64;
        let ends = bins.iter().enumerate().flat_map(|(index, count)| {
            [(at(index), count.min(most)), (at(index + 1), count.min(most))]
        });
        ends.collect()
    };
    chart.draw_series(AreaSeries::new(steps(asked), 0.0, BLACK.mix(0.15))).map_err(failed)?;
    chart.draw_series(LineSeries::new(steps(&ours), OURS.stroke_width(2))).map_err(failed)?;
    chart.draw_series(LineSeries::new(steps(&netem), NETEM)).map_err(failed)?;
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("draw the delays: {error}")
}
