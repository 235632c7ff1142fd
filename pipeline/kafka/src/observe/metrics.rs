//! Metrics in the Prometheus text format.
//!
//! Every name is a variant of [`Metric`], and every label value comes from the topology (group, stage, topic, partition,
//! session) or a closed set (phase, outcome, reason code), so the number of series is bounded by the deployment. Record
//! keys and order ids are never labels.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::metric::{Metric, SECONDS, Shape};

/// Labels of a series, as `[("group", "order-path")]`.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: usize) {
        self.add_u64(u64::try_from(n).unwrap_or(u64::MAX));
    }

    /// Adds `n`.
    pub fn add_u64(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    // Microunits: seconds are summed as microseconds, counts as millionths.
    sum_micro: AtomicU64,
}

/// A distribution.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum_micro: AtomicU64::new(0) }))
    }

    /// Adds a duration, kept in seconds.
    pub fn observe(&self, d: Duration) {
        self.add(d.as_secs_f64(), u64::try_from(d.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds a count.
    pub fn observe_count(&self, n: usize) {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        self.add(f64::from(n), u64::from(n).saturating_mul(1_000_000));
    }

    fn add(&self, value: f64, micro: u64) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_micro.fetch_add(micro, Ordering::Relaxed);
    }

    /// Observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }

    /// The smallest bucket bound that at least `percent` of 100 observations do not exceed; `None` without observations
    /// or beyond the last bound.
    #[must_use]
    pub fn percentile_bound(&self, percent: u64) -> Option<f64> {
        let wanted = self.count().checked_mul(percent)?.div_ceil(100).max(1);
        let mut seen = 0;
        self.0.bounds.iter().zip(&self.0.counts).find_map(|(bound, count)| {
            seen += count.load(Ordering::Relaxed);
            (seen >= wanted).then_some(*bound)
        })
    }

    fn print(&self, name: &str, labels: &str, out: &mut String) {
        let mut cumulative = 0;
        let join = if labels.is_empty() { "" } else { "," };
        let bounds = self.0.bounds.iter().map(ToString::to_string).chain(std::iter::once("+Inf".to_owned()));
        for (bound, count) in bounds.zip(&self.0.counts) {
            cumulative += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{labels}{join}le=\"{bound}\"}} {cumulative}");
        }
        let sum = self.0.sum_micro.load(Ordering::Relaxed);
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{name}_sum{braces} {}.{:06}", sum / 1_000_000, sum % 1_000_000);
        let _ = writeln!(out, "{name}_count{braces} {cumulative}");
    }
}

#[derive(Debug)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// All series of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    series: Mutex<BTreeMap<Metric, BTreeMap<String, Series>>>,
}

impl Metrics {
    /// No series yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The counter of a metric and labels; a detached one if the metric is none.
    #[must_use]
    pub fn counter(&self, metric: Metric, labels: Labels<'_>) -> Counter {
        self.with(metric, labels, |s| if let Series::Counter(c) = s { Some(c.clone()) } else { None })
            .unwrap_or_default()
    }

    /// The gauge of a metric and labels; a detached one if the metric is none.
    #[must_use]
    pub fn gauge(&self, metric: Metric, labels: Labels<'_>) -> Gauge {
        self.with(metric, labels, |s| if let Series::Gauge(g) = s { Some(g.clone()) } else { None }).unwrap_or_default()
    }

    /// The histogram of a metric and labels; a detached one if the metric is none.
    #[must_use]
    pub fn histogram(&self, metric: Metric, labels: Labels<'_>) -> Histogram {
        self.with(metric, labels, |s| if let Series::Histogram(h) = s { Some(h.clone()) } else { None })
            .unwrap_or_else(|| Histogram::new(SECONDS))
    }

    /// Forgets a series, as the lag of a partition that moved away.
    pub fn remove(&self, metric: Metric, labels: Labels<'_>) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = all.get_mut(&metric) {
            series.remove(&print_labels(labels));
        }
    }

    fn with<T>(&self, metric: Metric, labels: Labels<'_>, f: impl FnOnce(&Series) -> Option<T>) -> Option<T> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series =
            all.entry(metric).or_default().entry(print_labels(labels)).or_insert_with(|| match metric.describe().1 {
                Shape::Counter => Series::Counter(Counter::default()),
                Shape::Gauge => Series::Gauge(Gauge::default()),
                Shape::Histogram(bounds) => Series::Histogram(Histogram::new(bounds)),
            });
        f(series)
    }

    /// Everything in the Prometheus text format.
    #[must_use]
    pub fn print(&self) -> String {
        let mut out = String::new();
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for (metric, series) in all.iter().filter(|(_, series)| !series.is_empty()) {
            let (name, shape, help) = metric.describe();
            let kind = match shape {
                Shape::Counter => "counter",
                Shape::Gauge => "gauge",
                Shape::Histogram(_) => "histogram",
            };
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, series) in series {
                let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                let _ = match series {
                    Series::Counter(c) => writeln!(out, "{name}{braces} {}", c.get()),
                    Series::Gauge(g) => writeln!(out, "{name}{braces} {}", g.get()),
                    Series::Histogram(h) => {
                        h.print(name, labels, &mut out);
                        Ok(())
                    }
                };
            }
        }
        out
    }
}

fn print_labels(labels: Labels<'_>) -> String {
    let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::metric::COUNTS;
    use super::*;

    #[test]
    fn prints_the_text_format() {
        let m = Metrics::new();
        m.counter(Metric::Records, &[("group", "a\"b")]).add(3);
        m.gauge(Metric::Lag, &[]).set(-2);
        let h = m.histogram(Metric::TransactionSeconds, &[("phase", "commit")]);
        h.observe(Duration::from_micros(1_500));
        h.observe(Duration::from_secs(60));
        let text = m.print();
        for line in [
            "# TYPE fillstream_records_total counter",
            "fillstream_records_total{group=\"a\\\"b\"} 3",
            "fillstream_lag_records -2",
            "fillstream_transaction_seconds_bucket{phase=\"commit\",le=\"0.001\"} 0",
            "fillstream_transaction_seconds_bucket{phase=\"commit\",le=\"0.002\"} 1",
            "fillstream_transaction_seconds_bucket{phase=\"commit\",le=\"10\"} 1",
            "fillstream_transaction_seconds_bucket{phase=\"commit\",le=\"+Inf\"} 2",
            "fillstream_transaction_seconds_sum{phase=\"commit\"} 60.001500",
            "fillstream_transaction_seconds_count{phase=\"commit\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_series_is_shared_and_can_go() {
        let m = Metrics::new();
        let labels: Labels<'_> = &[("partition", "1")];
        m.gauge(Metric::Lag, labels).set(5);
        assert_eq!(m.gauge(Metric::Lag, labels).get(), 5);
        m.remove(Metric::Lag, labels);
        assert_eq!(m.print(), "");
    }

    #[test]
    fn percentiles_are_bounds() {
        let h = Histogram::new(COUNTS);
        assert_eq!(h.percentile_bound(50), None);
        for n in [1, 1, 1, 90] {
            h.observe_count(n);
        }
        assert_eq!(h.percentile_bound(50), Some(1.0));
        assert_eq!(h.percentile_bound(99), Some(100.0));
    }
}
