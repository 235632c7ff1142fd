//! What the engine promises a stage, one promise a test.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod toy;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fillstream_core::StageHandle;
use fillstream_core::batch::{Batch, BatchOutput, DEAD_LETTER_BYTES};
use fillstream_core::codec::AvroRecord;
use fillstream_core::error::{EngineError, Poison};
use fillstream_core::group::{Group, Path};
use fillstream_core::lineage::Lineage;
use fillstream_core::position::WriterOrder;
use fillstream_core::record::{Envelope, Payload, Record};
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::Tables;
use fillstream_core::task::{Task, TaskContext};
use fillstream_core::trace::Sampler;
use fillstream_schemas::engine::DeadLetter;
use fillstream_testkit::StageBench;
use proptest::prelude::*;
use toy::probe::{Echo, Probe, ProbeIn, ProbeOut, Sums};
use toy::{ChildToy, Toy, us};

fn fired(bench: &mut StageBench) -> Vec<Toy> {
    bench.take::<Toy>().into_iter().filter(|toy| toy.id.starts_with("fired")).collect()
}

#[test]
fn poison_drops_writes_outputs_and_timers_and_gives_one_dead_letter() {
    let mut bench = StageBench::new(Probe);
    bench.at(us(10)).record("in.v1", &Toy::new("first", "k", 1, 5));
    bench.take_one::<Toy>();
    let (before, poison) = (bench.dump(), Toy::new("poison", "k", 2, 7));
    bench.at(us(20)).record("in.v1", &poison);
    assert_eq!((bench.dump(), bench.outputs().len(), bench.timers().len()), (before, 0, 0));
    let letters = bench.take_dead_letters();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.stage.as_str(), letter.reason_code.as_str(), letter.offset), ("probe", "ASKED", 1));
    assert_eq!(letter.lineage, Lineage::root("in.v1", "poison").to_string());
    assert_eq!((Toy::decode(&letter.value).unwrap(), letter.failed_at), (poison, us(20)));
    bench.record("in.v1", &Toy::new("next", "k", 3, 1));
    assert_eq!(bench.take_one::<Toy>().n, 6);
}

#[test]
fn two_poisons_of_one_key_are_two_identities() {
    let mut bench = StageBench::new(Probe);
    bench.records("in.v1", &[Toy::new("poison 1", "k", 1, 5), Toy::new("poison 2", "k", 1, 5)]);
    let letters = bench.take_dead_letters();
    assert_ne!(letters[0].lineage, letters[1].lineage);
}

#[test]
fn a_timer_fires_once_when_it_is_due() {
    let mut bench = StageBench::new(Probe);
    bench.at(us(100)).record("in.v1", &Toy::new("set@150", "k", 1, 1));
    bench.timer_to(us(149));
    assert_eq!(fired(&mut bench), []);
    bench.timer_to(us(1_000)).fire();
    let fired = fired(&mut bench);
    assert_eq!((fired.len(), fired[0].at), (1, us(150)));
    assert!(bench.timers().is_empty());
}

#[test]
fn a_timer_that_is_due_already_waits_for_a_later_now() {
    let mut bench = StageBench::new(Probe);
    bench.at(us(100)).record("in.v1", &Toy::new("set@50", "k", 1, 1)).fire();
    assert_eq!(fired(&mut bench), []);
    bench.at(us(101)).fire();
    assert_eq!(fired(&mut bench).len(), 1);
}

#[test]
fn timers_survive_a_restore_and_see_due_and_now_after_downtime() {
    let mut bench = StageBench::new(Probe);
    bench.at(us(100)).record("in.v1", &Toy::new("set@150", "k", 1, 1)).restart();
    bench.at(us(9_000)).fire().fire();
    let fired = fired(&mut bench);
    assert_eq!((fired.len(), fired[0].at, bench.now()), (1, us(150), us(9_000)));
}

#[test]
fn a_chain_of_a_timer_has_an_identity_for_each_link() {
    let mut bench = StageBench::new(Probe);
    bench.at(us(100)).record("in.v1", &Toy::new("set@150", "k", 1, 1).hops(3));
    bench.timer_to(us(160)).restart().timer_to(us(1_000));
    let chain = fired(&mut bench);
    let creator = Lineage::root("in.v1", "set@150");
    let mut link = creator;
    for (count, toy) in chain.iter().enumerate() {
        link = link.timer("probe", "timer", i64::try_from(count).unwrap());
        assert_eq!(toy.id, format!("fired {link}"));
    }
    assert_eq!(chain.iter().map(|t| t.at.micros()).collect::<Vec<_>>(), [150, 160, 170, 180]);
}

#[test]
fn a_timer_can_be_moved_and_cancelled() {
    let mut bench = StageBench::new(Probe);
    bench.at(us(1)).record("in.v1", &Toy::new("set@50", "k", 1, 1)).record("in.v1", &Toy::new("set@70", "k", 1, 1));
    bench.timer_to(us(60));
    assert_eq!(fired(&mut bench), []);
    bench.record("in.v1", &Toy::new("cancel", "k", 1, 1)).timer_to(us(100));
    assert_eq!((fired(&mut bench), bench.timers().len()), (vec![], 0));
}

#[test]
fn a_poisoned_timer_is_gone_and_leaves_a_dead_letter() {
    let mut bench = StageBench::new(Probe);
    bench.at(us(1)).record("in.v1", &Toy::new("set@50", "k", 1, -1)).timer_to(us(60)).restart().timer_to(us(99));
    let letters = bench.take_dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].topic.as_str(), letters[0].offset), ("probe/timers", -1));
    assert_eq!((bench.timers().len(), bench.state::<Toy>("sums").len()), (0, 1), "its writes are dropped, it is not");
}

#[test]
fn a_dead_letter_keeps_64_kb_and_the_hash_of_all() {
    let mut bench = StageBench::new(Probe);
    let (long, longer) = (vec![0xff; DEAD_LETTER_BYTES], vec![0xff; DEAD_LETTER_BYTES + 9]);
    bench.bytes("in.v1", "k", &long).bytes("in.v1", "k", &longer);
    let letters = bench.take_dead_letters();
    assert_eq!(letters.iter().map(|l| l.value.len()).collect::<Vec<_>>(), [DEAD_LETTER_BYTES; 2]);
    assert_eq!(letters.iter().map(|l| l.value_size).collect::<Vec<_>>(), [65_536, 65_545]);
    assert_ne!(letters[0].sha256, letters[1].sha256);
    assert_eq!((letters[0].reason_code.as_str(), letters[0].key.as_deref()), ("DECODE", Some(&b"k"[..])));
}

#[test]
fn an_unreadable_record_gives_one_dead_letter_where_two_stages_read_it() {
    let mut bench = StageBench::path(vec![StageHandle::of(Probe), StageHandle::of(Echo)]);
    let raw: Arc<[u8]> = vec![1, 2, 3].into();
    let payload = Payload::Unreadable { code: "BAD_MAGIC".into(), text: "magic byte 1".into(), raw };
    bench.envelopes([Envelope::foreign("in.v1", 0, 0, "k", payload)]);
    bench.record("in.v1", &Toy::new("next", "k", 1, 1));
    let letters = bench.take_dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].stage.as_str(), letters[0].reason_code.as_str()), ("probe", "BAD_MAGIC"));
    assert_eq!((letters[0].value.as_slice(), letters[0].offset), (&[1, 2, 3][..], 0));
    assert_eq!((bench.take::<Toy>().len(), bench.take::<ChildToy>().len()), (1, 2), "the next record flows");
}

#[test]
fn a_deletion_is_restored_too() {
    let mut bench = StageBench::new(Probe);
    bench.record("in.v1", &Toy::new("a", "k", 1, 1)).record("in.v1", &Toy::new("drop", "k", 1, 1)).restart();
    assert!(bench.state::<Toy>("probe/sums").is_empty());
}

#[test]
#[should_panic(expected = "gave other outputs the second time")]
fn a_bench_finds_a_stage_that_is_not_deterministic() {
    struct Dice(AtomicI64);
    impl Stage for Dice {
        type In = ProbeIn;
        type Out = ProbeOut;
        type Stores = Sums;
        type Timer = Toy;
        const NAME: &'static str = "dice";
        const DOC: &'static str = "Not a stage.";
        fn on_record(&self, _: &Record<ProbeIn>, _: &mut Sums, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
            fx.emit(Toy::new("dice", "k", 0, self.0.fetch_add(1, Ordering::Relaxed)));
            Ok(())
        }
        fn on_timer(&self, _: &Timer<Toy>, _: &mut Sums, _: &mut Effects<'_, Self>) -> Result<(), Poison> {
            Ok(())
        }
    }
    StageBench::new(Dice(AtomicI64::new(0))).record("in.v1", &Toy::new("a", "k", 1, 1));
}

// From here on the task itself.

fn task_of(stages: Vec<StageHandle>, partition_of: fn(&str) -> i32) -> Task {
    let group = Group::fused(&Path::new("test", stages).unwrap()).unwrap();
    task(&group, partition_of)
}

fn task(group: &Arc<Group>, partition_of: fn(&str) -> i32) -> Task {
    let partitioner = Arc::new(move |_: &str, key: &str| partition_of(key));
    let context =
        TaskContext { partitioner, config_hash: String::new(), code_version: String::new(), sampler: Sampler::OFF };
    Task::new(group, 0, context)
}

fn probe() -> Task {
    task_of(vec![StageHandle::of(Probe)], |_| 0)
}

fn at(topic: &str, offset: i64, toy: &Toy) -> Envelope {
    Envelope::foreign(topic, 0, offset, &toy.key, Payload::Avro(toy.to_bytes().into()))
}

fn run(task: &mut Task, now: i64, instant: Option<i64>, max_units: usize) -> Result<BatchOutput, EngineError> {
    task.run(&Batch { now: us(now), instant, tables: &Tables::default(), max_units })
}

fn applied(out: &BatchOutput) -> Vec<(String, i64, i64, i32)> {
    let runs = out.record.units.iter().filter_map(|u| u.run.clone());
    runs.map(|r| (r.topic, r.first_offset, r.last_offset, r.count)).collect()
}

#[test]
fn an_instant_is_worked_by_time_and_within_it_by_the_writers_order() {
    let mut task = probe();
    let written = |offset, at_us, sequence| Envelope {
        order: Some(Arc::new(WriterOrder { writer: 1, sequence, n: 0 }.to_bytes())),
        event_time: Some(us(at_us)),
        lineage: Some(Lineage::root("x", &format!("{offset}"))),
        ..at("in-forwarded.v1", offset, &Toy::new("x", "k", 0, 1))
    };
    for (offset, at_us, sequence) in [(0, 20, 5), (1, 10, 9), (2, 10, 256), (3, 10, 255)] {
        task.offer(written(offset, at_us, sequence));
    }
    task.offer(at("in.v1", 0, &Toy::new("y", "k", 15, 1)));
    let out = run(&mut task, 100, Some(1), usize::MAX).unwrap();
    let order: Vec<_> =
        applied(&out).into_iter().map(|(t, first, last, _)| (t.starts_with("in."), first, last)).collect();
    assert_eq!(order, [(false, 1, 1), (false, 3, 3), (false, 2, 2), (true, 0, 0), (false, 0, 0)]);
}

#[test]
fn what_a_task_or_gateway_wrote_belongs_to_a_later_instant_what_a_producer_stamped_to_its_own() {
    let mut task = probe();
    let order: Arc<[u8]> = Arc::new(WriterOrder { writer: 0, sequence: 1, n: 0 }.to_bytes());
    task.offer(at("in.v1", 0, &Toy::new("producer", "k", 100, 1)));
    task.offer(Envelope {
        order: Some(order),
        event_time: Some(us(100)),
        ..at("in-forwarded.v1", 0, &Toy::new("task", "k", 100, 1))
    });
    let out = run(&mut task, 100, Some(1), usize::MAX).unwrap();
    assert_eq!((applied(&out), out.complete), (vec![("in.v1".to_owned(), 0, 0, 1)], true));
    task.commit(&out);
    let out = run(&mut task, 200, Some(2), usize::MAX).unwrap();
    assert_eq!(applied(&out), [("in-forwarded.v1".to_owned(), 0, 0, 1)]);
}

#[test]
fn a_record_that_is_not_due_holds_back_those_behind_it() {
    let mut task = probe();
    for (offset, at_us) in [(0, 50), (1, 200), (2, 60)] {
        task.offer(at("in.v1", offset, &Toy::new("a", "k", at_us, 1)));
    }
    let out = run(&mut task, 100, Some(1), usize::MAX).unwrap();
    assert_eq!((out.offsets.get("in.v1"), out.complete), (Some(&1), true));
    task.commit(&out);
    let out = run(&mut task, 200, Some(2), usize::MAX).unwrap();
    assert_eq!((out.offsets.get("in.v1"), out.units), (Some(&3), 2));
}

#[test]
fn live_the_order_is_that_of_arrival_and_no_topic_starves() {
    let mut task = probe();
    for offset in 0..3 {
        task.offer(at("in.v1", offset, &Toy::new("a", "k", 1, 1)));
        task.offer(at("in-forwarded.v1", offset, &Toy::new("b", "k", 1, 1)));
    }
    let mut seen = Vec::new();
    for now in 1..=3 {
        let out = run(&mut task, now, None, 2).unwrap();
        assert_eq!((out.units, out.complete), (2, now == 3));
        seen.extend(applied(&out).into_iter().map(|(topic, first, ..)| (topic, first)));
        task.commit(&out);
    }
    let expected = (0..3).flat_map(|o| [("in.v1".to_owned(), o), ("in-forwarded.v1".to_owned(), o)]);
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn a_journal_names_each_input_once_in_the_order_applied() {
    let mut task = probe();
    for (offset, at_us) in [(0, 30), (1, 10), (2, 20), (5, 40), (6, 50)] {
        task.offer(at("in.v1", offset, &Toy::new("a", "k", at_us, 1)));
    }
    let out = run(&mut task, 100, Some(1), usize::MAX).unwrap();
    let runs: Vec<_> = applied(&out).into_iter().map(|(_, first, last, count)| (first, last, count)).collect();
    // The last run names what is left of 0..=6: all but 1 and 2. Offsets 3 and 4 are markers.
    assert_eq!(runs, [(1, 1, 1), (2, 2, 1), (0, 6, 3)]);
}

#[test]
fn a_record_on_another_partition_is_sent_on_once() {
    let mut task = task_of(vec![StageHandle::of(Probe)], |key| i32::from(key == "other"));
    let toy = Toy::new("a", "other", 5, 1);
    task.offer(at("in.v1", 0, &toy));
    // A task wrote it there; what a producer wrote there by itself goes nowhere.
    let order = WriterOrder { writer: 1, sequence: 1, n: 0 }.to_bytes();
    task.offer(Envelope { order: Some(order.as_slice().into()), ..at("in-forwarded.v1", 0, &toy) });
    task.offer(at("in-forwarded.v1", 1, &Toy::new("b", "other", 5, 1)));
    let out = run(&mut task, 100, Some(1), usize::MAX).unwrap();
    assert_eq!((out.forwards, out.outputs.len()), (1, 2));
    let letters: Vec<_> =
        out.dead_letters.iter().map(|l| DeadLetter::decode(&l.payload).unwrap().reason_code).collect();
    assert_eq!(letters, ["WRONG_PARTITION"]);
    let forwarded = out.outputs.iter().find(|o| o.topic == "in-forwarded.v1").unwrap();
    assert_eq!((&*forwarded.payload, forwarded.lineage), (&*toy.to_bytes(), Lineage::root("in.v1", "a")));
    assert_eq!(forwarded.event_time, us(100), "it belongs to a later instant");
    assert!(out.outputs.iter().any(|o| o.topic == "probe.v1"), "a forwarded record is processed where it is");
}

#[test]
fn a_key_of_another_partition_stops_fused_and_split() {
    let path = Path::new("test", vec![StageHandle::of(Probe), StageHandle::of(Echo)]).unwrap();
    let parts = [vec!["probe".to_owned()], vec!["echo".to_owned()]];
    let split = Group::split(&path, &parts).unwrap();
    for group in [&Group::fused(&path).unwrap(), &split[0]] {
        let mut task = task(group, |key| i32::from(key == "other"));
        task.offer(at("in.v1", 0, &Toy::new("move@other", "k", 5, 1)));
        let before = task.dump();
        assert!(matches!(run(&mut task, 100, None, 9), Err(EngineError::ForeignKey { owner: 1, .. })));
        task.rollback();
        assert_eq!((task.dump(), task.pending()), (before, 1));
    }
}

#[test]
fn a_batch_is_settled_before_the_next_and_now_never_goes_back() {
    let mut task = probe();
    let out = run(&mut task, 100, None, 9).unwrap();
    assert!(matches!(run(&mut task, 101, None, 9), Err(EngineError::Batch { .. })));
    task.commit(&out);
    assert!(matches!(run(&mut task, 99, None, 9), Err(EngineError::Batch { .. })));
    assert_eq!(run(&mut task, 100, None, 9).unwrap().record.sequence, 2);
}

#[test]
fn a_restore_refuses_a_store_that_no_stage_declares() {
    let mut task = probe();
    for store in ["probe/other", "other/sums", "sums"] {
        assert!(matches!(task.restore(store, "k", None), Err(EngineError::UnknownStore { .. })), "{store}");
    }
    assert!(matches!(task.restore("probe/sums", "k", Some(&[1])), Err(EngineError::Changelog { .. })));
}

#[derive(Clone, Debug)]
struct Offered {
    at: i64,
    forwarded: bool,
    timer: bool,
}

fn offered() -> impl Strategy<Value = Offered> {
    (0..20_i64, any::<bool>(), any::<bool>()).prop_map(|(at, forwarded, timer)| Offered { at, forwarded, timer })
}

fn fill(task: &mut Task, offered: &[Offered]) -> [i64; 2] {
    let mut next = [0, 0];
    for (i, o) in offered.iter().enumerate() {
        let (topic, next) = if o.forwarded { ("in-forwarded.v1", &mut next[1]) } else { ("in.v1", &mut next[0]) };
        let id = if o.timer { format!("{i} set@{}", o.at + 5) } else { i.to_string() };
        task.offer(at(topic, *next, &Toy::new(&id, &format!("k{}", i % 3), o.at, 1)));
        *next += 1;
    }
    next
}

proptest! {
    #[test]
    fn a_cut_takes_a_prefix_of_every_topic_and_leaves_nothing(
        offered in prop::collection::vec(offered(), 0..40),
        max_units in 1..8_usize,
    ) {
        let (mut whole, mut cut) = (probe(), probe());
        let ends = fill(&mut whole, &offered);
        fill(&mut cut, &offered);
        let expected = run(&mut whole, 100, Some(1), usize::MAX).unwrap();
        let (mut outputs, mut taken, mut from) = (Vec::new(), 0, [0, 0]);
        loop {
            let out = run(&mut cut, 100, Some(1), max_units).unwrap();
            for (topic, from) in ["in.v1", "in-forwarded.v1"].into_iter().zip(&mut from) {
                let next = out.offsets.get(topic).copied().unwrap_or(*from);
                let count: i32 = applied(&out).iter().filter(|r| r.0 == topic).map(|r| r.3).sum();
                prop_assert_eq!(i64::from(count), next - *from, "the offsets taken of {} are no prefix", topic);
                *from = next;
            }
            taken += out.units;
            outputs.extend(out.outputs.iter().map(|o| (o.topic, o.lineage, o.payload.clone(), o.position.clone())));
            let complete = out.complete;
            cut.commit(&out);
            if complete {
                break;
            }
        }
        prop_assert_eq!((taken, from), (offered.len(), ends));
        let expected_outputs: Vec<_> =
            expected.outputs.iter().map(|o| (o.topic, o.lineage, o.payload.clone(), o.position.clone())).collect();
        prop_assert_eq!(outputs, expected_outputs);
        whole.commit(&expected);
        prop_assert_eq!(cut.dump(), whole.dump());
    }

    #[test]
    fn a_rollback_gives_everything_back(
        first in prop::collection::vec(offered(), 0..20),
        max_units in 1..30_usize,
        paced in any::<bool>(),
    ) {
        let mut task = probe();
        fill(&mut task, &first);
        let instant = |n| paced.then_some(n);
        let out = run(&mut task, 50, instant(1), max_units).unwrap();
        task.commit(&out);
        let before = (task.dump(), task.pending(), task.timers(), task.next_due(), task.sequence());
        let tried = run(&mut task, 60, instant(2), max_units).unwrap();
        task.rollback();
        prop_assert_eq!(&before, &(task.dump(), task.pending(), task.timers(), task.next_due(), task.sequence()));
        let again = run(&mut task, 60, instant(2), max_units).unwrap();
        prop_assert_eq!(tried.record, again.record);
        prop_assert_eq!(tried.outputs, again.outputs);
        prop_assert_eq!(tried.changelog, again.changelog);
        prop_assert_eq!(tried.offsets, again.offsets);
    }
}

/// What a changelog of batches gives.
fn state_of(task: &mut Task) -> std::collections::BTreeMap<(String, String), Vec<u8>> {
    task.dump().into_iter().map(|(store, key, value)| ((store, key), value)).collect()
}

proptest! {
    #[test]
    fn a_snapshot_is_the_state_at_its_boundary_whatever_changes_meanwhile(
        batches in prop::collection::vec((prop::collection::vec((0..12_u8, 0..4_u8), 0..6), any::<bool>()), 1..40),
        begin in 0..20_usize,
        part_bytes in 1..200_usize,
    ) {
        let mut task = probe();
        let (mut offset, mut boundary, mut parts) = (0, None, Vec::new());
        for (i, (records, commits)) in batches.into_iter().enumerate() {
            if i == begin {
                boundary = Some((task.sequence(), state_of(&mut task)));
                task.begin_snapshot(part_bytes);
            }
            for (key, kind) in records {
                // Sums are set and deleted, timers come and go.
                let id = ["a", "drop", "set@5000", "b"][usize::from(kind)];
                task.offer(at("in.v1", offset, &Toy::new(id, &format!("k{key}"), 1, offset)));
                offset += 1;
            }
            let out = run(&mut task, 1_000 * (i64::try_from(i).unwrap() + 1), None, 100).unwrap();
            prop_assert_eq!(out.record.segment, task.sequence() == 0 || boundary.as_ref().is_some_and(|b| b.0 == task.sequence()));
            if commits {
                parts.extend(out.snapshot.clone());
                task.commit(&out);
            } else {
                task.rollback();
            }
        }
        if let Some((sequence, state)) = boundary {
            prop_assert!(parts.iter().all(|p| p.sequence == sequence));
            let whole = parts.last().and_then(|p| p.total);
            let entries: Vec<_> = parts.into_iter().flat_map(|p| p.entries).collect();
            if let Some(total) = whole {
                prop_assert_eq!(total, entries.len());
                let written: std::collections::BTreeMap<_, _> =
                    entries.into_iter().map(|e| ((e.store, e.key), e.value.unwrap())).collect();
                prop_assert_eq!(written, state);
            }
        }
    }
}
