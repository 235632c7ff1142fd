//! What processes used, and what the stages measured of themselves, between two moments.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

/// Clock ticks a second in /proc, a constant of Linux's interface to programs.
const TICKS_PER_S: f64 = 100.0;

/// Everything cumulative, at a moment.
pub struct Snapshot {
    taken: Instant,
    /// Name and CPU ticks of every process.
    processes: BTreeMap<u32, (String, u64)>,
    /// Series of the stages by name with labels.
    series: BTreeMap<String, f64>,
}

/// Transaction time of a group in one phase.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// Group.
    pub group: String,
    /// poll, process, produce, offsets or commit.
    pub phase: String,
    /// How often.
    pub count: f64,
    /// Mean, milliseconds.
    pub mean_ms: f64,
    /// Upper bound of the bucket of the median, milliseconds.
    pub p50_at_most_ms: Option<f64>,
    /// Upper bound of the bucket of the 99th percentile, milliseconds.
    pub p99_at_most_ms: Option<f64>,
}

/// CPU time of a process.
#[derive(Clone, Debug, Serialize)]
pub struct Cpu {
    /// Name.
    pub name: String,
    /// Seconds.
    pub seconds: f64,
    /// Share of one core.
    pub cores: f64,
}

impl Snapshot {
    /// Now, with the stages' `/metrics`.
    #[must_use]
    pub fn take(metrics: &str) -> Self {
        Self { taken: Instant::now(), processes: processes(), series: series(metrics) }
    }

    /// CPU time of a process since `before`.
    #[must_use]
    pub fn cpu(&self, before: &Self, name: &str, pid: u32) -> Cpu {
        let ticks = |s: &Self| s.processes.get(&pid).map_or(0, |(_, ticks)| *ticks);
        self.figure(before, name.to_owned(), ticks(self).saturating_sub(ticks(before)))
    }

    /// Other processes that used more than a fiftieth of a core, by name, the greediest first.
    #[must_use]
    pub fn others(&self, before: &Self, known: &[u32]) -> Vec<Cpu> {
        let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
        for (pid, (name, ticks)) in self.processes.iter().filter(|(pid, _)| !known.contains(pid)) {
            let earlier = before.processes.get(pid).filter(|(n, _)| n == name).map_or(0, |(_, t)| *t);
            *by_name.entry(name).or_default() += ticks.saturating_sub(earlier);
        }
        let all = by_name.into_iter().map(|(name, ticks)| self.figure(before, name.to_owned(), ticks));
        let mut busy: Vec<Cpu> = all.filter(|c| c.cores > 0.02).collect();
        busy.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        busy
    }

    fn figure(&self, before: &Self, name: String, ticks: u64) -> Cpu {
        let seconds = f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS_PER_S;
        let cores = seconds / self.taken.saturating_duration_since(before.taken).as_secs_f64().max(0.001);
        Cpu { name, seconds, cores }
    }

    /// Transaction time by group and phase since `before`.
    #[must_use]
    pub fn phases(&self, before: &Self) -> Vec<Phase> {
        const COUNT: &str = "fillstream_transaction_seconds_count";
        let labels = self
            .series
            .keys()
            .filter_map(|k| k.strip_prefix(COUNT))
            .filter_map(|l| l.strip_prefix('{')?.strip_suffix('}'));
        labels.map(|labels| self.phase(before, labels)).filter(|p| p.count > 0.0).collect()
    }

    fn phase(&self, before: &Self, labels: &str) -> Phase {
        let delta = |key: String| self.value(&key) - before.value(&key);
        let count = delta(format!("fillstream_transaction_seconds_count{{{labels}}}"));
        let sum = delta(format!("fillstream_transaction_seconds_sum{{{labels}}}"));
        let prefix = format!("fillstream_transaction_seconds_bucket{{{labels},le=\"");
        let mut buckets: Vec<(f64, f64)> = self
            .series
            .keys()
            .filter_map(|key| Some((key.strip_prefix(&prefix)?.strip_suffix("\"}")?.parse().ok()?, delta(key.clone()))))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let bound = |share: f64| {
            buckets.iter().find(|(_, n)| *n >= share * count).map(|(le, _)| le * 1e3).filter(|b| b.is_finite())
        };
        Phase {
            group: label(labels, "group"),
            phase: label(labels, "phase"),
            count,
            mean_ms: if count > 0.0 { sum / count * 1e3 } else { 0.0 },
            p50_at_most_ms: bound(0.5),
            p99_at_most_ms: bound(0.99),
        }
    }

    /// Sum of a counter over all labels since `before`.
    #[must_use]
    pub fn counted(&self, before: &Self, name: &str) -> f64 {
        let total =
            |s: &Self| s.series.iter().filter(|(k, _)| k.split('{').next() == Some(name)).map(|(_, v)| v).sum::<f64>();
        total(self) - total(before)
    }

    fn value(&self, key: &str) -> f64 {
        self.series.get(key).copied().unwrap_or(0.0)
    }
}

fn label(labels: &str, name: &str) -> String {
    let value = labels.split(',').find_map(|l| l.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'));
    value.unwrap_or_default().to_owned()
}

/// Resident memory of this process, bytes; 0 where the system does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    resident_bytes_of("self")
}

/// Resident memory of a process by its id, bytes; 0 where the system does not tell.
#[must_use]
pub fn resident_bytes_of(process: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().map_or(0, |kilobytes| kilobytes.saturating_mul(1_024))
}

/// Load averages of 1, 5 and 15 minutes, as the system prints them.
#[must_use]
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn processes() -> BTreeMap<u32, (String, u64)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .filter_map(|e| {
            let pid: u32 = e.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
        })
        .collect()
}

// `pid (name) state ...`, where the name may hold blanks and brackets; utime and stime are fields 14 and 15.
fn stat(text: &str) -> Option<(String, u64)> {
    let (head, tail) = text.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((name, user + system))
}

fn series(metrics: &str) -> BTreeMap<String, f64> {
    let lines = metrics.lines().filter(|l| !l.starts_with('#'));
    lines
        .filter_map(|l| l.rsplit_once(' '))
        .filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 70 30 5 6 20 0 3 0 12345 1 2";
        assert_eq!(stat(text), Some(("a) b (c".to_owned(), 100)));
    }

    #[test]
    fn phases_are_differences() {
        let text = |fast: u32, slow: u32| {
            let labels = "group=\"g\",phase=\"commit\"";
            let all = fast + slow;
            format!(
                "# TYPE fillstream_transaction_seconds histogram\n\
                 fillstream_transaction_seconds_bucket{{{labels},le=\"0.005\"}} {fast}\n\
                 fillstream_transaction_seconds_bucket{{{labels},le=\"0.05\"}} {all}\n\
                 fillstream_transaction_seconds_bucket{{{labels},le=\"+Inf\"}} {all}\n\
                 fillstream_transaction_seconds_sum{{{labels}}} {}\n\
                 fillstream_transaction_seconds_count{{{labels}}} {all}\n",
                f64::from(fast) * 0.004 + f64::from(slow) * 0.04
            )
        };
        let (before, after) = (Snapshot::take(&text(100, 0)), Snapshot::take(&text(104, 4)));
        let phases = after.phases(&before);
        let [p] = &phases[..] else { panic!("{phases:?}") };
        assert_eq!((p.group.as_str(), p.phase.as_str(), p.count), ("g", "commit", 8.0));
        assert!((p.mean_ms - 22.0).abs() < 1e-6, "{p:?}");
        assert_eq!((p.p50_at_most_ms, p.p99_at_most_ms), (Some(5.0), Some(50.0)));
    }
}
