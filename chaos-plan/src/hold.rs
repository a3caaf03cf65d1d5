//! How long verbs hold frames.

use std::time::Duration;

use chaos_ebpf_common::{
    distribution::Shape,
    hold::{DEFAULT_QUEUE, Hold, LARGEST_FRAME, LONGEST_HOLD, SLOWEST_RATE},
};
use chaos_fault::{Distribution, Fault, Latency, Spread, Verb, print_duration};

use super::{DelayLine, KernelFeatures, Support, latencies, nanoseconds, refusal::Objection};

/// What a verb that holds frames asks for; `None` for the others.
pub(super) fn hold(verb: &Verb) -> Option<Hold> {
    match verb {
        Verb::Delay(latency) | Verb::DelayDns { latency, .. } => {
            let hold = Hold { correlated: latency.correlation.is_some().into(), ..Hold::default() };
            Some(match &latency.spread {
                Spread::Around { by, jitter, distribution } => Hold {
                    by: nanoseconds(*by),
                    jitter: nanoseconds(jitter.unwrap_or_default()),
                    shape: shape(*distribution) as u32,
                    ..hold
                },
                Spread::OneOf(_) | Spread::File { .. } => hold,
            })
        }
        Verb::Limit { bits_per_second, queue, .. } => Some(Hold {
            rate: *bits_per_second,
            queue: queue.map_or(DEFAULT_QUEUE, nanoseconds),
            ..Hold::default()
        }),
        Verb::Reorder { by } => Some(Hold { by: nanoseconds(*by), ..Hold::default() }),
        Verb::Drop
        | Verb::Corrupt { .. }
        | Verb::Duplicate
        | Verb::Reset
        | Verb::Fail { .. }
        | Verb::FailDns { .. }
        | Verb::Slow { .. }
        | Verb::Kill { .. }
        | Verb::KillContainer
        | Verb::SkewClock { .. } => None,
    }
}

fn shape(distribution: Option<Distribution>) -> Shape {
    match distribution {
        None | Some(Distribution::Uniform) => Shape::Uniform,
        Some(Distribution::Normal) => Shape::Normal,
        Some(Distribution::Pareto) => Shape::Pareto,
        Some(Distribution::ParetoNormal) => Shape::ParetoNormal,
    }
}

/// Whether frames can be held for as long as this.
pub(super) fn check_latency(latency: &Latency) -> Result<(), Objection> {
    latencies::check(latency)?;
    match &latency.spread {
        Spread::Around { by, jitter, .. } => check(*by, *jitter),
        Spread::OneOf(latencies) | Spread::File { latencies, .. } => {
            let longest = latencies.iter().map(|latency| latency.length).max();
            check(longest.unwrap_or_default(), None)
        }
    }
}

/// Whether frames can be held for so long.
pub(super) fn check(by: Duration, jitter: Option<Duration>) -> Result<(), Objection> {
    let longest = Duration::from_nanos(LONGEST_HOLD);
    let most = by.saturating_add(jitter.unwrap_or_default());
    if most <= longest {
        return Ok(());
    }
    Err(Objection::new(format!(
        "packets are held for up to {}, and {} is the longest",
        print_duration(most),
        print_duration(longest)
    ))
    .remedy("`drop` loses them: nobody waits that long"))
}

/// Whether traffic can be held to this rate, by a queue of this length.
pub(super) fn check_rate(bits_per_second: u64, queue: Option<Duration>) -> Result<(), Objection> {
    if bits_per_second < SLOWEST_RATE {
        return Err(Objection::new(
            "a packet of 64 KiB would be held for more than a minute at this rate",
        )
        .remedy("write `limit 10kbit` or more; `drop` lets nothing through"));
    }
    let Some(queue) = queue else { return Ok(()) };
    let rate = Hold { rate: bits_per_second, ..Hold::default() };
    let largest = Duration::from_nanos(rate.transmission(LARGEST_FRAME));
    let room = Duration::from_nanos(LONGEST_HOLD).saturating_sub(largest);
    if queue <= room {
        return Ok(());
    }
    // In whole seconds, down: at the slowest rate there is room for 7.
    let room = print_duration(Duration::from_secs(room.as_secs()));
    Err(Objection::new(format!(
        "a packet of 64 KiB would wait for {} and then take {} itself, and a minute is the longest",
        print_duration(queue),
        print_duration(Duration::from_micros(largest.as_micros() as u64)),
    ))
    .remedy(format!("`queue {room}` or less at this rate")))
}

/// The delay line to hold them in.
pub(super) fn line(fault: &Fault, features: &KernelFeatures) -> Result<DelayLine, Objection> {
    features.best_line().ok_or_else(|| {
        let missing = features.lines().filter_map(|(line, support)| match support {
            Support::Works => None,
            Support::Missing { reason, remedy } => {
                Some((format!("{line}: {reason}"), format!("for {line}: {remedy}")))
            }
        });
        let (reasons, remedies): (Vec<_>, Vec<_>) = missing.unzip();
        let (word, reasons) = (fault.verb.word(), reasons.join("; nor "));
        Objection::new(format!("`{word}` needs a delay line, which cannot be had: {reasons}"))
            .remedy(remedies.join(", or "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_in_a_queue_and_the_packet_itself_take_a_minute_at_most() {
        let seconds = |count| Some(Duration::from_secs(count));
        for (rate, queue) in [(10_000, None), (10_000, seconds(7)), (1_000_000, seconds(59))] {
            assert!(check_rate(rate, queue).is_ok(), "{rate} {queue:?}");
        }
        let objection = |rate, queue| format!("{:?}", check_rate(rate, queue).unwrap_err());
        let slow = objection(10_000, seconds(8));
        assert!(slow.contains("wait for 8s and then take 52s428ms800us itself"), "{slow}");
        assert!(slow.contains("`queue 7s` or less"), "{slow}");
        assert!(objection(1_000_000, seconds(60)).contains("`queue 59s` or less"));
        let fast = objection(1_000_000_000, seconds(60));
        assert!(fast.contains("wait for 1m and then take 524us itself"), "{fast}");
        assert!(objection(9_999, None).contains("more than a minute"));
    }

    #[test]
    fn up_to_a_minute_is_held() {
        let seconds = Duration::from_secs;
        assert!(check(seconds(60), None).is_ok());
        assert!(check(seconds(40), Some(seconds(20))).is_ok());
        let objection = check(seconds(40), Some(seconds(21))).unwrap_err();
        assert!(format!("{objection:?}").contains("up to 1m1s, and 1m is the longest"));
        assert!(check(Duration::MAX, Some(Duration::MAX)).is_err());
    }
}
