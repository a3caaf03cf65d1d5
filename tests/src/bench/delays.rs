//! How long datagrams are on their way under a delay of ours and under netem's, as their receiver
//! measures it.

use std::{process::Command, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_ebpf_common::distribution::{NORMAL, PARETO, PARETO_NORMAL, SCALE, Table};
use chaos_tests::{
    injector::{Injector, parse},
    job::{UdpDelays, UdpStamps},
    process::Process,
    victim::Victim,
};
use xtask::figures::delays::{Figures, Histogram, Measured, Row};

use crate::{rounds::Effort, scene::Scene, table};

const DELAYS_MS: [u32; 4] = [1, 10, 100, 1000];
/// Jitter is this part of the delay.
const JITTER_PART: f64 = 0.2;
const INTERVAL: Duration = Duration::from_millis(1);

/// Datagrams of one turn, for each batch of the effort.
const DATAGRAMS_A_BATCH: u64 = 2;
/// Turns, for each round of the effort.
const ROUNDS_A_TURN: u32 = 4;

const BINS: usize = 60;

/// How a delay is spread.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    /// Behind the delay in a sentence of ours, and in netem's, where `J` stands for the jitter.
    ours: &'static str,
    netem: &'static str,
    quantiles: Quantiles,
}

/// Deviations from the delay, in units of the jitter.
#[derive(Clone, Copy)]
enum Quantiles {
    None,
    Uniform,
    Of(&'static Table),
}

const SHAPES: [Shape; 5] = [
    Shape { name: "constant", ours: "", netem: "", quantiles: Quantiles::None },
    Shape { name: "uniform", ours: " jitter J", netem: " J", quantiles: Quantiles::Uniform },
    Shape {
        name: "normal",
        ours: " jitter J normal",
        netem: " J distribution normal",
        quantiles: Quantiles::Of(&NORMAL),
    },
    Shape {
        name: "pareto",
        ours: " jitter J pareto",
        netem: " J distribution pareto",
        quantiles: Quantiles::Of(&PARETO),
    },
    Shape {
        name: "paretonormal",
        ours: " jitter J paretonormal",
        netem: " J distribution paretonormal",
        quantiles: Quantiles::Of(&PARETO_NORMAL),
    },
];

/// A delay that is asked for, in milliseconds.
struct Asked {
    delay: f64,
    jitter: f64,
    shape: Shape,
}

impl Asked {
    /// The delay that this share of all is below.
    fn quantile(&self, share: f64) -> f64 {
        let deviation = match self.shape.quantiles {
            Quantiles::None => 0.0,
            Quantiles::Uniform => 2.0 * share - 1.0,
            Quantiles::Of(table) => {
                let index = (share * table.len() as f64) as usize;
                f64::from(table[index.min(table.len() - 1)]) / SCALE as f64
            }
        };
        (self.delay + self.jitter * deviation).max(0.0)
    }

    /// With other dice in each turn.
    fn ours(&self, turn: u32) -> String {
        let shape = self.shape.ours.replace('J', &format!("{}us", self.jitter * 1e3));
        format!("delay {}ms{shape} egress udp seed {turn}", self.delay)
    }

    fn netem(&self) -> String {
        let shape = self.shape.netem.replace('J', &format!("{}us", self.jitter * 1e3));
        // More than there can be on the way: the default of 1000 loses.
        format!("netem delay {}ms{shape} limit 100000", self.delay)
    }

    fn figures(&self, sent: u64, measured: &[f64]) -> Figures {
        let at = |share: f64| measured[((measured.len() - 1) as f64 * share).round() as usize];
        let has_shape = !matches!(self.shape.quantiles, Quantiles::None);
        Figures {
            sent,
            lost: sent - measured.len() as u64,
            median_error: at(0.5) - self.quantile(0.5),
            p99_error: at(0.99) - self.quantile(0.99),
            distance: has_shape.then(|| distance(measured, |share| self.quantile(share))),
        }
    }
}

/// The distance of what was measured, sorted, from a distribution, right before each value and at it.
fn distance(measured: &[f64], quantile: impl Fn(f64) -> f64) -> f64 {
    const POINTS: u32 = 16_384;
    let asked: Vec<f64> =
        (0..POINTS).map(|i| quantile((f64::from(i) + 0.5) / f64::from(POINTS))).collect();
    let share = |values: &[f64], count: usize| count as f64 / values.len() as f64;
    let below = |values: &[f64], at: f64| share(values, values.partition_point(|v| *v < at));
    let up_to = |values: &[f64], at: f64| share(values, values.partition_point(|v| *v <= at));
    let distances = measured.iter().map(|at| {
        let before = below(measured, *at) - below(&asked, *at);
        let there = up_to(measured, *at) - up_to(&asked, *at);
        before.abs().max(there.abs())
    });
    distances.fold(0.0, f64::max)
}

/// Measures every delay in every shape, ours and netem's in turn.
pub fn measure(effort: Effort) -> Result<Measured> {
    let scene = Scene::new()?;
    let mut injector = Injector::new(scene.probe.path())?;
    // A target is in the network namespaces of its processes.
    let _idle = Process::spawn(Command::new("cat"), scene.sender_place())?;
    let has_netem = scene.qdisc("netem delay 1ms").is_ok();
    let turns = effort.rounds.div_ceil(ROUNDS_A_TURN);
    let count = u64::from(effort.batches) * DATAGRAMS_A_BATCH;
    let nothing = Asked { delay: 0.0, jitter: 0.0, shape: SHAPES[0] };
    let unhurt = nothing.figures(count, &send(&scene, count, &nothing)?);
    let mut rows = Vec::new();
    for delay_ms in DELAYS_MS {
        for shape in SHAPES {
            let delay = f64::from(delay_ms);
            let asked = Asked { delay, jitter: delay * JITTER_PART, shape };
            let (mut ours, mut netem) = (Vec::new(), Vec::new());
            for turn in 0..turns {
                let faults = parse(&asked.ours(turn))?;
                injector.arm(injector.target(scene.sender.path())?, &faults)?;
                let measured = send(&scene, count, &asked).with_context(|| asked.ours(turn));
                injector.disarm();
                ours.extend(measured?);
                if has_netem {
                    let _netem = scene.qdisc(&asked.netem())?;
                    netem.extend(send(&scene, count, &asked).with_context(|| asked.netem())?);
                }
            }
            ours.sort_by(f64::total_cmp);
            netem.sort_by(f64::total_cmp);
            let sent = u64::from(turns) * count;
            rows.push(Row {
                delay_ms,
                shape: shape.name.to_owned(),
                histogram: histogram(&asked, &ours, &netem),
                ours: asked.figures(sent, &ours),
                netem: has_netem.then(|| asked.figures(sent, &netem)),
            });
        }
    }
    Ok(Measured { machine: table::machine(), nothing: unhurt, rows })
}

/// Sends datagrams from the target under such a delay, and returns for how many milliseconds each was
/// on its way, sorted.
fn send(scene: &Scene, count: u64, asked: &Asked) -> Result<Vec<f64>> {
    let receiver = Victim::start(UdpDelays { bind: scene.address() }, scene.receiver_place())?;
    let to = receiver.address();
    let stamps = UdpStamps { to, count, flows: 1, interval: INTERVAL };
    let sent = Victim::run(stamps, scene.sender_place())?.sent;
    // The last one may take longest.
    sleep(Duration::from_secs_f64(asked.quantile(1.0) / 1e3));
    let delays = receiver.stop()?;
    ensure!(sent == count, "{sent} of {count} datagrams were sent");
    ensure!(delays.count() > 0, "nothing arrived");
    Ok(delays.milliseconds())
}

fn histogram(asked: &Asked, ours: &[f64], netem: &[f64]) -> Histogram {
    let spread =
        if asked.jitter > 0.0 && asked.shape.name != "constant" { asked.jitter } else { 1.0 };
    let (from, to) = ((asked.delay - 2.5 * spread).max(0.0), asked.delay + 4.0 * spread);
    let width = (to - from) / BINS as f64;
    let bin = |value: f64| ((value - from) / width).floor() as usize;
    let count = |values: &[f64]| {
        let mut bins = vec![0; BINS];
        for value in values.iter().filter(|value| (from..to).contains(*value)) {
            bins[bin(*value).min(BINS - 1)] += 1;
        }
        bins
    };
    let points = 100_000;
    let quantiles: Vec<f64> =
        (0..points).map(|i| asked.quantile((i as f64 + 0.5) / f64::from(points))).collect();
    let scale = ours.len() as f64 / f64::from(points);
    let asked = count(&quantiles).into_iter().map(|n| n as f64 * scale).collect();
    Histogram { from, to, ours: count(ours), netem: count(netem), asked }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(shape: usize) -> Asked {
        Asked { delay: 10.0, jitter: 2.0, shape: SHAPES[shape] }
    }

    #[test]
    fn sentences_say_the_same() {
        assert_eq!(asked(0).ours(3), "delay 10ms egress udp seed 3");
        let normal = "delay 10ms jitter 2000us normal egress udp seed 0";
        assert_eq!(asked(2).ours(0), normal);
        assert_eq!(asked(2).netem(), "netem delay 10ms 2000us distribution normal limit 100000");
        for shape in 0..SHAPES.len() {
            assert!(parse(&asked(shape).ours(0)).is_ok(), "{}", asked(shape).ours(0));
        }
    }

    #[test]
    fn a_sample_is_compared_with_what_was_asked_for() {
        for shape in 1..SHAPES.len() {
            let asked = asked(shape);
            let sample = |moved: f64| -> Vec<f64> {
                (0..1000).map(|i| asked.quantile((f64::from(i) + 0.5) / 1000.0) + moved).collect()
            };
            let exact = asked.figures(1000, &sample(0.0));
            assert!(exact.distance.unwrap() < 0.002, "{}", asked.shape.name);
            assert!(exact.median_error.abs() < 0.01 && exact.lost == 0);
            let moved = asked.figures(1001, &sample(0.5));
            assert!(moved.distance.unwrap() > 0.08, "{}", asked.shape.name);
            assert!((moved.median_error - 0.5).abs() < 0.01 && moved.lost == 1);
        }
        assert_eq!(asked(0).figures(3, &[10.0, 10.0, 11.0]).p99_error, 1.0);
    }

    #[test]
    fn a_histogram_holds_what_is_in_its_range() {
        let histogram = histogram(&asked(0), &[10.0, 10.0, 99.0], &[9.0]);
        assert_eq!(histogram.ours.iter().sum::<u64>(), 2);
        assert_eq!(histogram.netem.iter().sum::<u64>(), 1);
        assert!((histogram.asked.iter().sum::<f64>() - 3.0).abs() < 1e-9);
    }
}
