//! What the engine itself promises: readable records, gapless journals, reasoned dead letters.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::facts::{Batch, Facts, Letter, Rec};
use crate::report::{Check, Exam};

/// Every committed record can be read by its contract, or has a dead letter that names it.
pub(crate) fn records_readable(facts: &Facts) -> Check {
    let mut exam = Exam::new("records_readable");
    for held in facts.topics.values().flat_map(|topic| topic.partitions.values()) {
        held.offsets.iter().for_each(|_| exam.saw());
    }
    for record in &facts.unreadable {
        let dead = facts.is_dead(&record.topic, record.partition, record.offset, None);
        exam.require(dead || facts.under_way, || {
            format!("{} {}/{}: {}", record.topic, record.partition, record.offset, record.problem)
        });
    }
    exam.done()
}

/// Batch sequences of each task (and session) count from 1 without gaps in the order of the log, as far back as the log
/// reaches.
pub(crate) fn journals_gapless(facts: &Facts) -> Check {
    let mut exam = Exam::new("journals_gapless");
    let mut journals: BTreeMap<(&str, i32, &str), Vec<&Rec<Batch>>> = BTreeMap::new();
    for rec in &facts.batches {
        journals.entry((&rec.value.topic, rec.partition, &rec.value.key)).or_default().push(rec);
    }
    for ((topic, partition, key), mut batches) in journals {
        batches.sort_by_key(|rec| rec.offset);
        let low = facts.topics.get(topic).and_then(|t| t.partitions.get(&partition)).map_or(0, |held| held.low);
        let mut expected = batches.first().map(|rec| rec.value.sequence).filter(|_| low > 0).unwrap_or(1);
        for rec in batches {
            exam.saw();
            let sequence = rec.value.sequence;
            let goes_on = rec.value.is_regroup && sequence > expected;
            exam.require(sequence == expected || goes_on, || {
                format!("{topic} {} of {key}: batch {sequence} where {expected} should be", rec.at())
            });
            expected = sequence.saturating_add(1);
        }
    }
    exam.done()
}

/// A topic that the pipeline writes holds as many committed records as the journals say were written: what a transaction
/// wrote is there once, with its journal record or not at all. Where retention took a part of a partition or of a journal
/// nothing can be counted.
pub(crate) fn records_journalled(facts: &Facts) -> Check {
    let mut exam = Exam::new("records_journalled");
    let mut written: BTreeMap<&str, BTreeMap<i32, usize>> = BTreeMap::new();
    let mut trimmed: BTreeSet<&str> = BTreeSet::new();
    let starts_late = |topic: &str| facts.topics.get(topic).is_none_or(|t| t.partitions.values().any(|p| p.low > 0));
    for rec in &facts.batches {
        let is_trimmed = starts_late(&rec.value.topic);
        for run in &rec.value.written {
            let count = written.entry(&run.topic).or_default().entry(run.partition).or_default();
            *count = count.saturating_add(usize::try_from(run.count).unwrap_or(0));
            if is_trimmed {
                trimmed.insert(&run.topic);
            }
        }
    }
    for (topic, counts) in written {
        if trimmed.contains(topic) || starts_late(topic) {
            continue;
        }
        let held = facts.topics.get(topic).into_iter().flat_map(|extent| &extent.partitions);
        let held: BTreeMap<i32, usize> = held.map(|(partition, held)| (*partition, held.offsets.len())).collect();
        let partitions: BTreeSet<i32> = counts.keys().chain(held.keys()).copied().collect();
        for partition in partitions {
            let (said, is) = (counts.get(&partition).unwrap_or(&0), held.get(&partition).unwrap_or(&0));
            (0..*is).for_each(|_| exam.saw());
            exam.require(said == is, || format!("{topic} {partition}: {is} records where the journals wrote {said}"));
        }
    }
    exam.done()
}

/// Every dead letter has a reason code, names a record that exists (or, of one that the pipeline wrote, its lineage), and
/// keeps it whole where it fits. A dead-letter topic without letters was looked at, too.
pub(crate) fn dead_letters(facts: &Facts) -> Check {
    let mut exam = Exam::new("dead_letters");
    facts.letter_topics.iter().for_each(|_| exam.saw());
    for rec in &facts.letters {
        exam.saw();
        letter(facts, rec, &mut exam);
    }
    exam.done()
}

fn letter(facts: &Facts, rec: &Rec<Letter>, exam: &mut Exam) {
    let Letter { topic, letter } = &rec.value;
    let name = || format!("{topic} {}", rec.at());
    let is_code = |code: &str| {
        !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    exam.require(is_code(&letter.reason_code), || format!("{}: {:?} is no reason code", name(), letter.reason_code));
    exam.require(!letter.stage.is_empty(), || format!("{}: no stage", name()));
    let exists = if letter.offset < 0 {
        !letter.lineage.is_empty()
    } else {
        // Topics that the audit does not read, and records that the broker dropped, cannot be looked up.
        facts.topics.get(&letter.topic).is_none_or(|extent| {
            extent.partitions.get(&letter.partition).is_some_and(|held| {
                let gone = letter.offset < held.low || extent.compacted;
                gone || held.offsets.binary_search(&letter.offset).is_ok()
            })
        })
    };
    exam.require(exists, || {
        format!("{}: {} {}/{} does not exist", name(), letter.topic, letter.partition, letter.offset)
    });
    if i64::try_from(letter.value.len()) == Ok(letter.value_size) {
        let hash: String = Sha256::digest(&letter.value).iter().map(|byte| format!("{byte:02x}")).collect();
        exam.require(hash == letter.sha256, || format!("{}: its hash is not that of its value", name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Unreadable;
    use crate::sample::{clean, letter};

    #[test]
    fn an_unreadable_record_needs_a_dead_letter() {
        let mut facts = clean();
        let topic = "coordination.decisions.v1".to_owned();
        facts.unreadable.push(Unreadable { topic: topic.clone(), partition: 0, offset: 1, problem: "garbage".into() });
        assert_eq!(records_readable(&facts).violations, 1);
        facts.letters.push(letter(&topic, 0, 1));
        assert_eq!(records_readable(&facts).violations, 0);
    }

    #[test]
    fn gaps_and_repeats_of_batches_are_found() {
        let of = |change: fn(&mut Facts)| {
            let mut facts = clean();
            change(&mut facts);
            journals_gapless(&facts).violations
        };
        assert_eq!(of(|_| {}), 0);
        assert_eq!(of(|f| drop(f.batches.remove(0))), 1, "it starts with 2");
        assert_eq!(of(|f| drop(f.batches.remove(1))), 1);
        assert_eq!(of(|f| f.batches.push(Rec { offset: 99, ..f.batches[0].clone() })), 1);
        let trimmed = |f: &mut Facts| {
            let topic = f.batches.remove(0).value.topic;
            f.topics.entry(topic).or_default().partitions.entry(0).or_default().low = 1;
        };
        assert_eq!(of(trimmed), 0, "retention took the first");
        let regrouped = |f: &mut Facts| {
            f.batches.iter_mut().for_each(|rec| rec.value.sequence += 7);
            f.batches[0].value.is_regroup = true;
        };
        assert_eq!(of(regrouped), 0, "it goes on with another group's numbers");
    }

    #[test]
    fn records_that_no_journal_wrote_and_lost_ones_are_found() {
        let of = |change: fn(&mut Facts)| {
            let mut facts = clean();
            change(&mut facts);
            records_journalled(&facts).violations
        };
        fn trades(f: &mut Facts) -> &mut crate::facts::Extent {
            f.topics.get_mut("execution.trades.v1").unwrap().partitions.get_mut(&0).unwrap()
        }
        assert_eq!(of(|_| {}), 0);
        let mut facts = clean();
        trades(&mut facts).offsets.push(9_999);
        assert_eq!(records_journalled(&facts).violations, 1, "a record twice");
        trades(&mut facts).offsets.truncate(1);
        assert_eq!(records_journalled(&facts).violations, 1, "records lost");
        trades(&mut facts).low = 1;
        assert_eq!(records_journalled(&facts).violations, 0, "retention took the first");
        assert_eq!(of(|f| f.batches[0].value.written[0].partition = 5), 2, "on two partitions");
    }

    #[test]
    fn letters_without_reason_record_or_with_another_value_are_found() {
        let of = |change: fn(&mut fillstream_schemas::engine::DeadLetter)| {
            let mut facts = clean();
            let mut one = letter("coordination.decisions.v1", 0, 0);
            change(&mut one.value.letter);
            facts.letters.push(one);
            dead_letters(&facts).violations
        };
        assert_eq!(of(|_| {}), 0);
        assert_eq!(of(|l| l.reason_code.clear()), 1);
        assert_eq!(of(|l| l.reason_code = "went wrong".into()), 1);
        assert_eq!(of(|l| l.offset = 77), 1);
        assert_eq!(of(|l| l.partition = 9), 1);
        assert_eq!(of(|l| l.value.push(1)), 0, "cut: its hash cannot be told");
        assert_eq!(of(|l| l.value[0] ^= 1), 1);
        assert_eq!(of(|l| (l.offset, l.lineage) = (-1, String::new())), 1);
        assert_eq!(of(|l| (l.offset, l.lineage) = (-1, "ab".into())), 0);
    }
}
