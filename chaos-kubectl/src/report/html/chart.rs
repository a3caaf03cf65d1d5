//! Draws what a probe has seen over time as SVG: its numbers, the steps as bands, and what halted the Run as marks.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::{
    report::{
        lines::{Outcome, Sample},
        model::{ProbeReport, Report},
        words,
    },
    view::number_in_words,
};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 24.0;
/// What has no number stands above all numbers: on their axis, the bottom would look like the best of them.
const LANE: f64 = TOP - 18.0;
/// Names of steps stand above that.
const NAMES: f64 = 14.0;

/// With more samples than these, only those that were not as expected have a dot.
const MOST_DOTS: usize = 120;

/// How wide a letter of a label is, at most.
const LETTER: f64 = 6.6;

/// The chart of a probe.
pub fn chart(probe: &ProbeReport, report: &Report) -> Markup {
    let axes = Axes::of(probe, report);
    let label = format!("probe {} over time: {}", probe.name, probe.message);
    let baseline = probe.baseline.filter(|value| value.is_finite());
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            (bands(report, &axes))
            (grid(probe, &axes))
            @if probe.samples.iter().any(|sample| number(sample).is_none()) {
                text x=(px(LEFT - 7.0)) y=(px(LANE + 4.0)) text-anchor="end" { "none" }
            }
            @if let Some(value) = baseline {
                line.baseline x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(axes.y(value))) y2=(px(axes.y(value))) {}
            }
            @for part in parts(&probe.samples) {
                polyline.values points=(points(&part, &axes)) {}
            }
            (dots(probe, &axes))
            (marks(report, &axes))
        }
    }
}

/// What the signs of a chart mean: of those that are in it.
pub fn legend(probe: &ProbeReport, report: &Report) -> String {
    let has = |outcome: Outcome| probe.samples.iter().any(|sample| sample.outcome == outcome);
    let is_broken = report.steps.iter().any(|step| step.started.is_some() && step.picked > 0);
    let signs = [
        (has(Outcome::Pass), "line and small dots: as expected"),
        (has(Outcome::Fail), "large dots: failed"),
        (has(Outcome::Error), "crosses: nobody can tell"),
        (probe.samples.iter().any(|sample| number(sample).is_none()), "at the top edge: no number"),
        (probe.baseline.is_some(), "dashed: before anything was broken"),
        (is_broken, "shaded: steps that break pods"),
        (!report.halts().is_empty(), "upright line: what ended the Run"),
    ];
    let shown = signs.into_iter().filter(|(is_there, _)| *is_there);
    shown.map(|(_, words)| words).collect::<Vec<_>>().join(" · ")
}

/// From moments and numbers to places.
struct Axes {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
    step: f64,
}

impl Axes {
    fn of(probe: &ProbeReport, report: &Report) -> Self {
        let ends = report.steps.iter().flat_map(|step| [step.started, step.ended]).flatten();
        let moments = probe.samples.iter().map(|sample| sample.at).chain(report.started);
        let moments = moments.chain(report.ended);
        let moments: Vec<f64> = match report.ended {
            // A step that was cut short was to end later.
            Some(ended) => moments.chain(ends.filter(|at| *at <= ended)).map(seconds).collect(),
            None => moments.map(seconds).collect(),
        };
        let from = moments.iter().copied().fold(f64::INFINITY, f64::min);
        let to = moments.iter().copied().fold(f64::NEG_INFINITY, f64::max).max(from + 1.0);
        let values = probe.samples.iter().filter_map(number).chain(probe.baseline);
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let low = values.iter().copied().fold(0.0, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        // A dot at the top is not to be cut.
        let high = if high > low { high * 1.06 } else { low + 1.0 };
        let step = nice((high - low) / 3.0);
        Self { from, to, low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    fn x(&self, at: f64) -> f64 {
        let share = ((at - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not less.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|nice| *nice >= step * 0.999)
        .unwrap_or(step)
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

fn number(sample: &Sample) -> Option<f64> {
    sample.value.filter(|value| value.is_finite())
}

/// A coordinate, to a tenth.
fn px(at: f64) -> String {
    format!("{at:.1}")
}

fn bands(report: &Report, axes: &Axes) -> Markup {
    let bands = report.steps.iter().filter_map(|step| {
        let from = axes.x(seconds(step.started?));
        let to = step.ended.or(report.ended).map_or(WIDTH - RIGHT, |at| axes.x(seconds(at)));
        let to = report.ended.map_or(to, |ended| to.min(axes.x(seconds(ended))));
        let room = ((to - from) / LETTER).max(0.0) as usize;
        let name = if step.name.chars().count() <= room { step.name.as_str() } else { "" };
        Some((from, to.max(from + 1.0), name, step.picked > 0))
    });
    html! {
        @for (from, to, name, breaks) in bands {
            @if breaks {
                rect.band x=(px(from)) y=(px(NAMES + 5.0)) width=(px(to - from)) height=(px(HEIGHT - NAMES - 5.0 - BOTTOM)) {}
                @for edge in [from, to] {
                    line.band-edge x1=(px(edge)) x2=(px(edge)) y1=(px(NAMES + 5.0)) y2=(px(HEIGHT - BOTTOM)) {}
                }
                text.band-text x=(px(from + 3.0)) y=(px(NAMES)) { (name) }
            } @else {
                text x=(px(from + 3.0)) y=(px(NAMES)) { (name) }
            }
        }
    }
}

fn grid(probe: &ProbeReport, axes: &Axes) -> Markup {
    let lines = ((axes.high - axes.low) / axes.step).round() as u32;
    let values = (0..=lines).map(|line| axes.low + f64::from(line) * axes.step);
    let values = values.map(|value| (axes.y(value), number_in_words(value, probe.is_time())));
    let moments = (0..=4).map(|part| axes.from + (axes.to - axes.from) * f64::from(part) / 4.0);
    let moments = moments
        .filter_map(|at| Some((axes.x(at), Timestamp::from_second(at.round() as i64).ok()?)));
    let anchor = |x: f64| {
        if x > WIDTH - 60.0 {
            "end"
        } else if x < LEFT + 20.0 {
            "start"
        } else {
            "middle"
        }
    };
    html! {
        @for (y, label) in values {
            line.grid x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(y)) y2=(px(y)) {}
            text x=(px(LEFT - 7.0)) y=(px(y + 4.0)) text-anchor="end" { (label) }
        }
        @for (x, at) in moments {
            text x=(px(x)) y=(px(HEIGHT - 6.0)) text-anchor=(anchor(x)) { (words::clock(at)) }
        }
    }
}

/// Samples with numbers, without those between that have none.
fn parts(samples: &[Sample]) -> Vec<Vec<&Sample>> {
    let parts = samples.split(|sample| number(sample).is_none());
    parts.map(|part| part.iter().collect()).filter(|part: &Vec<&Sample>| part.len() > 1).collect()
}

fn points(part: &[&Sample], axes: &Axes) -> String {
    let point = |sample: &&Sample| {
        let value = number(sample)?;
        Some(format!("{},{}", px(axes.x(seconds(sample.at))), px(axes.y(value))))
    };
    part.iter().filter_map(point).collect::<Vec<_>>().join(" ")
}

fn dots(probe: &ProbeReport, axes: &Axes) -> Markup {
    let is_few = probe.samples.len() <= MOST_DOTS;
    html! {
        @for sample in &probe.samples {
            @let x = axes.x(seconds(sample.at));
            @let y = number(sample).map_or(LANE, |value| axes.y(value));
            @match sample.outcome {
                Outcome::Pass => {
                    @if is_few { circle.pass cx=(px(x)) cy=(px(y)) r="2" { title { (told(sample)) } } }
                }
                Outcome::Fail => { circle.fail cx=(px(x)) cy=(px(y)) r="4" { title { (told(sample)) } } }
                Outcome::Error => {
                    g.error {
                        title { (told(sample)) }
                        line x1=(px(x - 4.0)) y1=(px(y - 4.0)) x2=(px(x + 4.0)) y2=(px(y + 4.0)) {}
                        line x1=(px(x - 4.0)) y1=(px(y + 4.0)) x2=(px(x + 4.0)) y2=(px(y - 4.0)) {}
                    }
                }
            }
        }
    }
}

fn told(sample: &Sample) -> String {
    format!("{} {:?}: {}", words::clock(sample.at), sample.outcome, sample.seen)
}

fn marks(report: &Report, axes: &Axes) -> Markup {
    html! {
        @for event in report.halts() {
            @let x = axes.x(seconds(event.at));
            line.halt x1=(px(x)) x2=(px(x)) y1=(px(TOP)) y2=(px(HEIGHT - BOTTOM)) {}
            @let is_right = x > WIDTH - RIGHT - 90.0;
            text.halt-text x=(px(if is_right { x - 4.0 } else { x + 4.0 })) y=(px(TOP + 13.0))
                text-anchor=(if is_right { "end" } else { "start" }) { (event.what) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_number_is_above_all_numbers() {
        let axes = Axes { from: 0.0, to: 1.0, low: 0.0, high: 2.0, step: 1.0 };
        assert!(LANE < axes.y(axes.high), "{LANE} {}", axes.y(axes.high));
    }

    #[test]
    fn steps_of_axes_are_round() {
        for (step, expected) in [(0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (7.0, 10.0), (0.0021, 0.005)] {
            assert!((nice(step) - expected).abs() < 1e-9, "{step}: {}", nice(step));
        }
    }
}
