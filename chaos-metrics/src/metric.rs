//! Encodes values as OpenMetrics text, each under a metric with a fixed name, type and labels.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, histogram::Histogram},
    registry::Registry,
};

/// The value of every label of a series that is the sum of those beyond a bound.
pub const OTHER: &str = "_other_";

/// What a metric is, whatever its values are.
#[derive(Debug)]
pub struct Metric {
    /// As a query has it: counters end in `_total`.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn of_client(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}

/// The value of one series.
#[derive(Debug, Clone)]
pub enum Value {
    Count(u64),
    Number(f64),
    Distribution(Histogram),
}

impl Value {
    fn encode(&self, mut series: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => series.encode_counter::<NoLabelSet, u64, u64>(count, None),
            Self::Number(number) => series.encode_gauge(number),
            Self::Distribution(histogram) => histogram.encode(series),
        }
    }
}

/// One series: the values of the metric's labels, in their order, and its own.
pub type Sample = (Vec<String>, Value);

/// The values of all metrics at one moment.
#[derive(Debug, Default)]
pub struct Reading(Vec<(&'static Metric, Vec<Sample>)>);

impl Reading {
    /// Adds a metric. Each is added once, also where it has no series now.
    pub fn put(&mut self, metric: &'static Metric, samples: impl IntoIterator<Item = Sample>) {
        let samples: Vec<Sample> = samples.into_iter().collect();
        debug_assert!(samples.iter().all(|(labels, _)| labels.len() == metric.labels.len()));
        self.0.push((metric, samples));
    }

    /// Adds a gauge without labels; without a series where there is no value.
    pub fn put_number(&mut self, metric: &'static Metric, number: Option<f64>) {
        self.put(metric, number.map(|number| (Vec::new(), Value::Number(number))));
    }

    /// The metrics, as they were put.
    pub fn metrics(&self) -> impl Iterator<Item = &'static Metric> {
        self.0.iter().map(|(metric, _)| *metric)
    }

    /// In the format of OpenMetrics 1.0.
    pub fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        text::encode(&mut written, &registry)?;
        Ok(written)
    }
}

/// As OpenMetrics has it between quotation marks. The encoder writes values as they are, and sentences of faults may have
/// anything in them.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (metric, samples) in &self.0 {
            let Metric { name, kind, labels, help } = metric;
            // The encoder adds the ending of counters.
            let name = name.strip_suffix("_total").unwrap_or(name);
            let mut family = encoder.encode_descriptor(name, help, None, kind.of_client())?;
            if let ([], [(_, value)]) = (*labels, samples.as_slice()) {
                value.encode(family)?;
                continue;
            }
            for (values, value) in samples {
                // To Prometheus an empty label is none.
                let of_series: Vec<(&str, String)> = labels
                    .iter()
                    .zip(values)
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(label, value)| (*label, escaped(value)))
                    .collect();
                value.encode(family.encode_family(&of_series)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static EVENTS: Metric = Metric {
        name: "chaos_events_total",
        kind: Kind::Counter,
        labels: &["run", "outcome"],
        help: "Events.",
    };
    static AGE: Metric =
        Metric { name: "chaos_age_seconds", kind: Kind::Gauge, labels: &[], help: "An age." };
    static TOOK: Metric =
        Metric { name: "chaos_took_seconds", kind: Kind::Histogram, labels: &[], help: "A time." };

    #[test]
    fn values_are_written_as_openmetrics() {
        let mut reading = Reading::default();
        let labels = vec!["a \\ \"quoted\"\nrun".to_owned(), "injected".to_owned()];
        reading.put(&EVENTS, [(labels, Value::Count(7))]);
        reading.put_number(&AGE, Some(0.5));
        let histogram = Histogram::new([0.1, 1.0]);
        histogram.observe(0.3);
        reading.put(&TOOK, [(Vec::new(), Value::Distribution(histogram))]);
        let expected = "\
# HELP chaos_events Events.
# TYPE chaos_events counter
chaos_events_total{run=\"a \\\\ \\\"quoted\\\"\\nrun\",outcome=\"injected\"} 7
# HELP chaos_age_seconds An age.
# TYPE chaos_age_seconds gauge
chaos_age_seconds 0.5
# HELP chaos_took_seconds A time.
# TYPE chaos_took_seconds histogram
chaos_took_seconds_sum 0.3
chaos_took_seconds_count 1
chaos_took_seconds_bucket{le=\"0.1\"} 0
chaos_took_seconds_bucket{le=\"1.0\"} 1
chaos_took_seconds_bucket{le=\"+Inf\"} 1
# EOF
";
        assert_eq!(reading.text().unwrap(), expected);
    }
}
