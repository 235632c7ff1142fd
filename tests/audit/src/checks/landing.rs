//! ClickHouse against the log.

use std::collections::BTreeSet;

use crate::clickhouse::missing;
use crate::facts::{Facts, Landing, TopicExtent};
use crate::report::{Check, Exam};

/// Every committed record is one row of its landing table, by (topic, partition, offset), and every row is a committed
/// record. Rows of records that the broker has dropped since (retention, compaction) or that came after the audit began
/// are no violation; records that are none of their contract need no row.
pub(crate) fn clickhouse_rows(facts: &Facts) -> Check {
    let mut exam = Exam::new("clickhouse_rows");
    for landing in facts.landings.iter().flatten() {
        let Some(extent) = facts.topics.get(&landing.topic) else {
            exam.fault(|| format!("{} has a table, but was not read", landing.topic));
            continue;
        };
        let unreadable: BTreeSet<(i32, i64)> = facts
            .unreadable
            .iter()
            .filter(|record| record.topic == landing.topic)
            .map(|record| (record.partition, record.offset))
            .collect();
        for _ in extent.partitions.values().flat_map(|held| &held.offsets) {
            exam.saw();
        }
        for place in missing(extent, landing).filter(|place| !unreadable.contains(place)) {
            exam.fault(|| format!("{} {}/{} is not in {}", landing.topic, place.0, place.1, landing.table));
        }
        rows(extent, landing, &mut exam);
    }
    exam.done()
}

fn rows(extent: &TopicExtent, landing: &Landing, exam: &mut Exam) {
    for (partition, rows) in &landing.rows {
        let held = extent.partitions.get(partition);
        let mut before = None;
        for offset in rows {
            exam.saw();
            let name = || format!("{}: the row of {} {partition}/{offset}", landing.table, landing.topic);
            exam.require(before != Some(*offset), || format!("{} is there twice", name()));
            before = Some(*offset);
            let known = held.is_some_and(|held| {
                let dropped = *offset < held.low || extent.compacted;
                dropped || *offset >= held.end || held.offsets.binary_search(offset).is_ok()
            });
            exam.require(known, || format!("{} is of no committed record", name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Unreadable;
    use crate::sample::clean;

    fn found(change: impl FnOnce(&mut Landing, &mut TopicExtent)) -> u64 {
        let mut facts = clean();
        let mut landings = facts.landings.take().unwrap();
        let topic = landings[0].topic.clone();
        change(&mut landings[0], facts.topics.get_mut(&topic).unwrap());
        facts.landings = Some(landings);
        clickhouse_rows(&facts).violations
    }

    fn rows(landing: &mut Landing) -> &mut Vec<i64> {
        landing.rows.get_mut(&0).unwrap()
    }

    #[test]
    fn missing_additional_and_repeated_rows_are_found() {
        // Committed: 0, 1, 3; 2 is a marker; the end is 5.
        assert_eq!(found(|_, _| {}), 0);
        assert_eq!(found(|l, _| rows(l).truncate(2)), 1);
        assert_eq!(found(|l, _| rows(l).insert(2, 2)), 1, "an aborted record");
        assert_eq!(found(|l, _| rows(l).insert(1, 1)), 1, "twice");
        assert_eq!(found(|l, _| drop(l.rows.insert(7, vec![0]))), 1, "no such partition");
        assert_eq!(found(|l, _| l.rows.clear()), 3);
    }

    #[test]
    fn what_the_log_dropped_or_got_later_is_no_violation() {
        assert_eq!(found(|l, _| rows(l).push(5)), 0);
        assert_eq!(found(|l, _| rows(l).push(4)), 1);
        let trimmed = |_: &mut Landing, t: &mut TopicExtent| {
            let held = t.partitions.get_mut(&0).unwrap();
            held.offsets.remove(0);
            held.low = 1;
        };
        assert_eq!(found(trimmed), 0);
        let compacted = |_: &mut Landing, t: &mut TopicExtent| {
            t.partitions.get_mut(&0).unwrap().offsets.remove(0);
            t.compacted = true;
        };
        assert_eq!(found(compacted), 0);
        let tombstone = |l: &mut Landing, t: &mut TopicExtent| {
            rows(l).pop();
            t.partitions.get_mut(&0).unwrap().tombstones.insert(3);
        };
        assert_eq!(found(tombstone), 0);
    }

    #[test]
    fn an_unreadable_record_needs_no_row() {
        let mut facts = clean();
        let landing = &mut facts.landings.as_mut().unwrap()[0];
        landing.rows.get_mut(&0).unwrap().pop();
        let topic = landing.topic.clone();
        facts.unreadable.push(Unreadable { topic, partition: 0, offset: 3, problem: "garbage".into() });
        assert_eq!(clickhouse_rows(&facts).violations, 0);
    }
}
