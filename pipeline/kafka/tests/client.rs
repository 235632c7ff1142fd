//! The client boundary against a real Kafka: what the engine's promises stand on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{eventually, kafka, record, topic, unique};
use fillstream_core::error::Reaction;
use fillstream_kafka::client::{
    ClientError, ConsumerEvent, GroupConsumer, KafkaClient, OffsetEntry, Outgoing, PartitionReader, RdKafka,
    RdKafkaConsumer, RdKafkaReader, ReaderEvent, Received, TopicPartition, TransactionalProducer,
};

const STEP: Duration = Duration::from_millis(100);

fn read_all(kafka: &RdKafka, tp: &TopicPartition) -> Vec<Received> {
    let mut reader: RdKafkaReader = kafka.reader().unwrap();
    reader.start(&[(tp.clone(), 0)]).unwrap();
    let mut out = Vec::new();
    eventually("the end of a partition", || match reader.next(STEP).unwrap() {
        Some(ReaderEvent::Record(r)) => {
            out.push(r);
            None
        }
        Some(ReaderEvent::End { .. }) => Some(()),
        None => None,
    });
    out
}

fn values(records: &[Received]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value.clone().unwrap()).unwrap()).collect()
}

fn assignment(consumer: &mut RdKafkaConsumer) -> Vec<TopicPartition> {
    let mut partitions = eventually("an assignment", || match consumer.poll(STEP) {
        Ok(Some(ConsumerEvent::Assigned(partitions))) => Some(partitions),
        Ok(Some(event)) => panic!("{event:?} before an assignment"),
        Ok(None) | Err(ClientError::Retry { .. }) => None,
        Err(e) => panic!("{e}"),
    });
    partitions.sort();
    partitions
}

fn from(offset: i64, partitions: &[TopicPartition]) -> Vec<OffsetEntry> {
    partitions.iter().map(|tp| OffsetEntry { tp: tp.clone(), offset, metadata: String::new() }).collect()
}

#[test]
fn a_commit_shows_and_an_abort_does_not() {
    let kafka = kafka();
    let name = topic(&kafka, "commit", 1, &[]);
    let tp = TopicPartition::new(name.as_str(), 0);
    let id = unique("txn");
    let mut producer = kafka.producer(&id).unwrap();
    producer.init().unwrap();
    let headers: &[(&str, &[u8])] = &[("h", &[1, 2])];
    producer.begin().unwrap();
    producer.send(&Outgoing { headers, ..record(&name, 0, "k", "committed") }).unwrap();
    producer.commit().unwrap();
    assert!(!producer.is_suspect(), "nothing happened on the wire");
    producer.begin().unwrap();
    for i in 0..500 {
        producer.send(&record(&name, 0, "k", &format!("aborted {i}"))).unwrap();
    }
    producer.abort().unwrap();
    // Purged records leave a gap in the sequence numbers, which may fail the next transaction.
    if producer.is_suspect() {
        producer = kafka.producer(&id).unwrap();
        producer.init().unwrap();
    }
    producer.begin().unwrap();
    producer.send(&record(&name, 0, "k", "after")).unwrap();
    producer.commit().unwrap();
    let read = read_all(&kafka, &tp);
    assert_eq!(values(&read), ["committed", "after"]);
    assert_eq!(read[0].header("h"), Some([1, 2].as_slice()));
    assert_eq!(read[0].timestamp_ms, 1_700_000_000_000);
}

#[test]
fn an_open_transaction_counts_for_bounds_but_not_for_stable_bounds() {
    let kafka = kafka();
    let name = topic(&kafka, "bounds", 1, &[]);
    let tp = TopicPartition::new(name.as_str(), 0);
    let mut producer = common::sending_at_once().producer(&unique("txn")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    producer.send(&record(&name, 0, "k", "open")).unwrap();
    let reader = kafka.reader().unwrap();
    eventually("the record to arrive", || (reader.bounds(&tp).unwrap() == (0, 1)).then_some(()));
    assert_eq!(reader.stable_bounds(&tp).unwrap(), (0, 0));
    producer.commit().unwrap();
    // The record and the commit marker.
    eventually("the marker", || (reader.stable_bounds(&tp).unwrap() == (0, 2)).then_some(()));
}

#[test]
fn a_second_producer_of_an_id_fences_the_first_and_its_transaction_ends() {
    let kafka = kafka();
    let name = topic(&kafka, "fence", 1, &[]);
    let id = unique("txn");
    let mut zombie = kafka.producer(&id).unwrap();
    zombie.init().unwrap();
    zombie.begin().unwrap();
    zombie.send(&record(&name, 0, "k", "zombie")).unwrap();
    let mut successor = kafka.producer(&id).unwrap();
    successor.init().unwrap();
    let error = zombie.commit().unwrap_err();
    assert!(matches!(error, ClientError::Fenced { .. }), "{error:?}");
    assert_eq!(error.reaction(), Reaction::Stop);
    successor.begin().unwrap();
    successor.send(&record(&name, 0, "k", "successor")).unwrap();
    successor.commit().unwrap();
    assert_eq!(values(&read_all(&kafka, &TopicPartition::new(name.as_str(), 0))), ["successor"]);
}

#[test]
fn a_delivery_error_is_seen_before_the_commit() {
    let kafka = kafka();
    let name = topic(&kafka, "large", 1, &[("max.message.bytes", "1000")]);
    let id = unique("txn");
    let mut producer = kafka.producer(&id).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    producer.send(&record(&name, 0, "k", "small")).unwrap();
    producer.send(&record(&name, 0, "k", &"x".repeat(5_000))).unwrap();
    let error = producer.commit().unwrap_err();
    assert_eq!(error.reaction(), Reaction::AbortTxn, "{error:?}");
    producer.abort().unwrap();
    // librdkafka's next transaction would skip a sequence number; on version 2 each begins with the first.
    assert_eq!(producer.is_suspect(), kafka.config().producer.transaction_version == 1);
    drop(producer);
    let mut producer = kafka.producer(&id).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    producer.send(&record(&name, 0, "k", "after")).unwrap();
    producer.commit().unwrap();
    assert_eq!(values(&read_all(&kafka, &TopicPartition::new(name.as_str(), 0))), ["after"]);
}

#[test]
fn a_record_beyond_the_clients_limit_can_never_be_sent() {
    let kafka = kafka();
    let name = topic(&kafka, "larger", 1, &[]);
    let mut producer = kafka.producer(&unique("txn")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    let error = producer.send(&record(&name, 0, "k", &"x".repeat(1_100_000))).unwrap_err();
    assert_eq!(error.reaction(), Reaction::DeadLetter, "{error:?}");
    producer.send(&record(&name, 0, "k", "smaller")).unwrap();
    producer.commit().unwrap();
    assert_eq!(values(&read_all(&kafka, &TopicPartition::new(name.as_str(), 0))), ["smaller"]);
}

#[test]
fn offsets_commit_with_the_transaction_and_keep_their_metadata() {
    let kafka = kafka();
    let (input, group) = (topic(&kafka, "offsets", 2, &[]), unique("group"));
    let mut consumer = kafka.consumer(&group, "one", &[&input]).unwrap();
    let partitions = assignment(&mut consumer);
    assert_eq!(partitions.len(), 2);
    let committed = consumer.committed(&partitions).unwrap();
    assert!(committed.iter().all(|o| o.offset == -1 && o.metadata.is_empty()), "{committed:?}");
    let mut producer = kafka.producer(&unique("txn")).unwrap();
    producer.init().unwrap();
    let tp = partitions[1].clone();
    let entry = |offset, metadata: &str| OffsetEntry { tp: tp.clone(), offset, metadata: metadata.into() };
    producer.begin().unwrap();
    producer.send_offsets(&[entry(7, "v1;3;uuid")], &consumer.group_metadata().unwrap()).unwrap();
    producer.commit().unwrap();
    producer.begin().unwrap();
    producer.send_offsets(&[entry(9, "v1;4;uuid")], &consumer.group_metadata().unwrap()).unwrap();
    producer.abort().unwrap();
    assert_eq!(consumer.committed(std::slice::from_ref(&tp)).unwrap(), [entry(7, "v1;3;uuid")]);
}

#[test]
fn nothing_is_read_before_positions_are_given_and_a_second_giving_rewinds() {
    let kafka = kafka();
    let (input, group) = (topic(&kafka, "rewind", 1, &[]), unique("group"));
    let mut producer = kafka.producer(&unique("txn")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    for v in ["a", "b", "c"] {
        producer.send(&record(&input, 0, "k", v)).unwrap();
    }
    producer.commit().unwrap();
    let mut consumer = kafka.consumer(&group, "one", &[&input]).unwrap();
    let partitions = assignment(&mut consumer);
    for _ in 0..5 {
        assert!(consumer.poll(STEP).unwrap().is_none());
    }
    let next = |consumer: &mut RdKafkaConsumer| {
        eventually("a record", || match consumer.poll(STEP).unwrap() {
            Some(ConsumerEvent::Record(r)) => Some(r),
            Some(ConsumerEvent::End { .. }) | None => None,
            Some(event) => panic!("{event:?}"),
        })
    };
    consumer.assign_at(&from(1, &partitions)).unwrap();
    assert_eq!(next(&mut consumer).offset, 1);
    assert_eq!(next(&mut consumer).offset, 2);
    consumer.assign_at(&from(0, &partitions)).unwrap();
    let again: Vec<i64> = (0..3).map(|_| next(&mut consumer).offset).collect();
    assert_eq!(again, [0, 1, 2], "what was buffered before the rewind must not come up");
}

#[test]
fn an_offset_that_is_gone_is_an_event_never_a_reset() {
    let kafka = kafka();
    let (input, group) = (topic(&kafka, "gone", 1, &[]), unique("group"));
    let mut consumer = kafka.consumer(&group, "one", &[&input]).unwrap();
    let partitions = assignment(&mut consumer);
    consumer.assign_at(&from(1_000, &partitions)).unwrap();
    eventually("the news", || match consumer.poll(STEP).unwrap() {
        Some(ConsumerEvent::NoOffset(text)) => Some(text),
        Some(ConsumerEvent::End { .. }) | None => None,
        Some(event) => panic!("{event:?}"),
    });
}

#[test]
fn membership_of_before_a_rebalance_cannot_commit_after_it() {
    let kafka = kafka();
    let (input, group) = (topic(&kafka, "generation", 2, &[]), unique("group"));
    let mut first = kafka.consumer(&group, "one", &[&input]).unwrap();
    let partitions = assignment(&mut first);
    first.assign_at(&from(0, &partitions)).unwrap();
    let before = first.group_metadata().unwrap();
    let mut second = kafka.consumer(&group, "two", &[&input]).unwrap();
    let mut seen = Vec::new();
    let half = eventually("a second assignment of the first member", || {
        if let Ok(Some(ConsumerEvent::Assigned(p))) = second.poll(Duration::from_millis(10)) {
            second.assign_at(&from(0, &p)).unwrap();
        }
        match first.poll(Duration::from_millis(10)) {
            Ok(Some(ConsumerEvent::Assigned(p))) => Some(p),
            Ok(Some(event)) => {
                seen.push(format!("{event:?}"));
                None
            }
            Ok(None) | Err(_) => None,
        }
    });
    assert_eq!(half.len(), 1);
    assert!(seen.iter().any(|e| e.starts_with("Revoked")), "{seen:?}");
    let mut producer = kafka.producer(&unique("txn")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    let error = producer.send_offsets(&from(5, &partitions), &before).unwrap_err();
    assert_eq!(error.reaction(), Reaction::AbortTxn, "{error:?}");
    producer.abort().unwrap();
    first.assign_at(&from(0, &half)).unwrap();
    producer.begin().unwrap();
    producer.send_offsets(&from(5, &half), &first.group_metadata().unwrap()).unwrap();
    producer.commit().unwrap();
}

#[test]
fn a_second_member_of_the_same_instance_id_fences_the_first() {
    let kafka = kafka();
    let (input, group) = (topic(&kafka, "instance", 1, &[]), unique("group"));
    let mut zombie = kafka.consumer(&group, "same", &[&input]).unwrap();
    let partitions = assignment(&mut zombie);
    zombie.assign_at(&from(0, &partitions)).unwrap();
    let mut successor = kafka.consumer(&group, "same", &[&input]).unwrap();
    assert_eq!(assignment(&mut successor), partitions);
    let error = eventually("the fencing", || match zombie.poll(STEP) {
        Err(ClientError::Retry { .. }) | Ok(_) => None,
        Err(e) => Some(e),
    });
    assert!(matches!(error, ClientError::Fenced { .. }), "{error:?}");
}

#[test]
fn a_topic_made_again_is_another_topic() {
    let kafka = kafka();
    let name = topic(&kafka, "uuid", 2, &[]);
    let missing = unique("missing");
    let first = kafka.describe(&[&name, &missing]).unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), [&name]);
    let uuid = first[&name].uuid.clone();
    assert_eq!((uuid.is_empty(), first[&name].partitions, first[&name].replication), (false, 2, 1));
    kafka.admin().delete(&name).unwrap();
    eventually("the topic made again", || kafka.admin().create(&name, 2, 1, &Default::default()).ok());
    let second = eventually("its description", || kafka.describe(&[&name]).unwrap().remove(&name));
    assert_ne!(second.uuid, uuid);
}

#[test]
fn the_end_of_a_partition_counts_what_is_never_delivered() {
    let kafka = kafka();
    let (input, group) = (topic(&kafka, "end", 2, &[]), unique("group"));
    let mut producer = common::sending_at_once().producer(&unique("txn")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    producer.send(&record(&input, 1, "k", "committed")).unwrap();
    producer.commit().unwrap();
    producer.begin().unwrap();
    producer.send(&record(&input, 1, "k", "aborted")).unwrap();
    eventually("the record to arrive", || {
        (kafka.reader().unwrap().bounds(&TopicPartition::new(input.as_str(), 1)).unwrap().1 == 3).then_some(())
    });
    producer.abort().unwrap();
    let mut consumer = kafka.consumer(&group, "one", &[&input]).unwrap();
    let partitions = assignment(&mut consumer);
    consumer.assign_at(&from(0, &partitions)).unwrap();
    let (mut records, mut ends) = (0, std::collections::BTreeMap::new());
    eventually("both ends", || {
        match consumer.poll(STEP).unwrap() {
            Some(ConsumerEvent::Record(_)) => records += 1,
            Some(ConsumerEvent::End { tp, offset }) => {
                ends.insert(tp.partition, offset);
            }
            Some(event) => panic!("{event:?}"),
            None => {}
        }
        (ends.get(&1) == Some(&4) && ends.len() == 2).then_some(())
    });
    // A record and a marker, twice.
    assert_eq!((records, ends[&0], ends[&1]), (1, 0, 4));
    let told = kafka.reader().unwrap().ends(&partitions).unwrap();
    assert_eq!(told.iter().map(|(_, end)| *end).collect::<Vec<_>>(), [0, 4]);
}

#[test]
fn a_reader_at_an_offset_that_is_not_there_says_where() {
    let kafka = kafka();
    let name = topic(&kafka, "gone", 2, &[]);
    let tps: Vec<TopicPartition> = (0..2).map(|p| TopicPartition::new(name.as_str(), p)).collect();
    let mut reader = kafka.follower().unwrap();
    // One partition can be read, the other not: the first must not hide the second.
    reader.start(&[(tps[0].clone(), 0), (tps[1].clone(), 41)]).unwrap();
    let error = eventually("the error", || match reader.next(STEP) {
        Ok(Some(ReaderEvent::Record(r))) => panic!("{r:?}"),
        Ok(_) => None,
        Err(e) => Some(e),
    });
    let ClientError::OffsetGone { topic, partition, offset, .. } = &error else { panic!("{error}") };
    assert_eq!((topic.as_str(), *partition, *offset), (name.as_str(), 1, 41));
    assert!(error.to_string().contains(&format!("{name}-1 cannot be read at 41")), "{error}");
    assert_eq!(error.reaction(), Reaction::Restore);
}

/// Far more than one batch a partition and request holds, and than a producer lets wait.
#[test]
fn a_transaction_of_any_size_is_whole_and_in_order() {
    const EACH: usize = 1_500;
    let kafka = kafka();
    let name = topic(&kafka, "whole", 3, &[("retention.ms", "-1")]);
    let id = unique("txn");
    let mut producer = kafka.producer(&id).unwrap();
    producer.init().unwrap();
    for commits in [true, false, true] {
        producer.begin().unwrap();
        for n in 0..EACH {
            for partition in 0..3 {
                let value = format!("{n:<2000}");
                producer.send(&record(&name, partition, "k", &value)).unwrap();
            }
        }
        if commits {
            producer.commit().unwrap();
        } else if let Err(error) = producer.abort() {
            // librdkafka ends a transaction that the coordinator, still busy with the one before, has not let begin: the
            // answer, INVALID_TXN_STATE, is fatal to the client. Its successor ends whatever there is.
            assert_eq!(error.reaction(), Reaction::Restore, "{error:?}");
            producer = kafka.producer(&id).unwrap();
            producer.init().unwrap();
        }
    }
    for partition in 0..3 {
        let found = values(&read_all(&kafka, &TopicPartition::new(name.as_str(), partition)));
        let numbers: Vec<usize> = found.iter().map(|value| value.trim().parse().unwrap()).collect();
        assert!(numbers.into_iter().eq((0..EACH).chain(0..EACH)), "partition {partition}");
    }
}

/// To the broker it is fenced, as a zombie is; a client knows that it was late, and only builds itself anew.
#[test]
fn a_transaction_that_outlives_its_timeout_is_aborted_and_its_producer_is_not_taken_for_a_zombie() {
    let mut config = common::connection();
    // Long enough for the record to arrive at a broker that hesitates: it is given up with its transaction.
    (config.producer.transaction_timeout_ms, config.producer.socket_timeout_ms) = (8_000, 4_000);
    let kafka = kafka();
    let name = topic(&kafka, "outlived", 1, &[("retention.ms", "-1")]);
    let tp = TopicPartition::new(name.as_str(), 0);
    let mut producer = RdKafka::new(config).unwrap().producer(&unique("txn")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    producer.send(&record(&name, 0, "k", "late")).unwrap();
    let nobody = kafka.consumer(&unique("group"), "none", &[]).unwrap().group_metadata().unwrap();
    let offset = OffsetEntry { tp: tp.clone(), offset: 1, metadata: "kept".into() };
    producer.send_offsets(&[offset], &nobody).unwrap();
    let reader = kafka.reader().unwrap();
    eventually("the broker to end it", || {
        let (stable, all) = (reader.stable_bounds(&tp).unwrap().1, reader.bounds(&tp).unwrap().1);
        (stable == all && all > 1).then_some(())
    });
    let error = producer.commit().unwrap_err();
    assert_eq!(error.reaction(), Reaction::Restore, "{error:?}");
    assert!(read_all(&kafka, &tp).is_empty());
}
