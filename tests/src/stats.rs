//! Whether a count is plausible for a chance.

use statrs::distribution::{Binomial, DiscreteCDF};

/// The counts within which `trials` independent events of chance `probability` (0 to 1) fall with
/// at least `confidence` (0.999: one run in a thousand is outside). Both ends belong to it.
///
/// # Panics
/// If `probability` or `confidence` is not between 0 and 1.
pub fn binomial_interval(trials: u64, probability: f64, confidence: f64) -> (u64, u64) {
    assert!((0.0..1.0).contains(&confidence), "confidence {confidence} is not in 0..1");
    let binomial = Binomial::new(probability, trials)
        .unwrap_or_else(|error| panic!("probability {probability}: {error}"));
    let tail = (1.0 - confidence) / 2.0;
    (quantile(&binomial, trials, tail), quantile(&binomial, trials, 1.0 - tail))
}

/// The least count whose cumulative probability reaches `level`.
fn quantile(binomial: &Binomial, trials: u64, level: f64) -> u64 {
    let (mut below, mut reaches) = (0, trials);
    while below < reaches {
        let middle = below + (reaches - below) / 2;
        if binomial.cdf(middle) >= level {
            reaches = middle;
        } else {
            below = middle + 1;
        }
    }
    reaches
}

#[cfg(test)]
mod tests {
    use statrs::distribution::Discrete;

    use super::*;

    /// The ends that summing the probabilities one by one gives.
    fn by_summing(trials: u64, probability: f64, confidence: f64) -> (u64, u64) {
        let binomial = Binomial::new(probability, trials).unwrap();
        let tail = (1.0 - confidence) / 2.0;
        let mut sum = 0.0;
        let mut low = None;
        for count in 0..=trials {
            sum += binomial.pmf(count);
            if low.is_none() && sum >= tail {
                low = Some(count);
            }
            if sum >= 1.0 - tail {
                return (low.unwrap(), count);
            }
        }
        (low.unwrap(), trials)
    }

    #[test]
    fn agrees_with_summing() {
        for trials in [1, 2, 10, 100, 3000] {
            for probability in [0.01, 0.1, 0.5, 0.93] {
                for confidence in [0.9, 0.99, 0.999] {
                    assert_eq!(
                        binomial_interval(trials, probability, confidence),
                        by_summing(trials, probability, confidence),
                        "{trials} trials of {probability} at {confidence}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_hundred_thousand_trials_stay_near_the_normal_approximation() {
        for probability in [0.01, 0.1, 0.5] {
            let (low, high) = binomial_interval(100_000, probability, 0.999);
            let mean = 100_000.0 * probability;
            let spread = 3.2905 * (mean * (1.0 - probability)).sqrt();
            assert!((low as f64 - (mean - spread)).abs() < 4.0, "low {low}");
            assert!((high as f64 - (mean + spread)).abs() < 4.0, "high {high}");
        }
    }

    #[test]
    fn certainty_has_no_width() {
        assert_eq!(binomial_interval(100, 0.0, 0.999), (0, 0));
        assert_eq!(binomial_interval(100, 1.0, 0.999), (100, 100));
    }
}
