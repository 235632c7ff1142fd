//! Every row of the table in the module's documentation, and a world in which anything may die.

use proptest::prelude::*;

use super::*;

fn row(offset: i64) -> RowMeta {
    let hash = u64::try_from(offset).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234;
    RowMeta { offset, hash, size: 100, destination: Destination::Landing, month: 202_611 }
}

fn rows(offsets: &[i64]) -> Vec<RowMeta> {
    offsets.iter().map(|o| row(*o)).collect()
}

fn found(offsets: &[i64], settled: bool) -> Found {
    let hash = offsets.iter().fold(0_u64, |s, o| s.wrapping_add(row(*o).hash));
    Found { settled, killed: 0, count: offsets.len().try_into().unwrap(), hash, offsets: offsets.to_vec() }
}

const LIMITS: Limits = Limits { rows: 3, bytes: 1_000 };

#[test]
fn a_batch_is_cut_when_it_is_full_or_has_waited_or_cannot_grow() {
    assert_eq!(plan_next(&[], LIMITS, true), Plan::Idle);
    assert_eq!(plan_next(&rows(&[1, 5]), LIMITS, false), Plan::Idle);
    assert_eq!(plan_next(&rows(&[1, 5]), LIMITS, true), Plan::Begin { rows: 2 });
    assert_eq!(plan_next(&rows(&[1, 5, 6]), LIMITS, false), Plan::Begin { rows: 3 });
    assert_eq!(plan_next(&rows(&[1, 5, 6, 7]), LIMITS, false), Plan::Begin { rows: 3 });
    let bytes = Limits { rows: 10, bytes: 250 };
    assert_eq!(plan_next(&rows(&[1, 2]), bytes, false), Plan::Idle);
    assert_eq!(plan_next(&rows(&[1, 2, 3]), bytes, false), Plan::Begin { rows: 2 });
    assert_eq!(plan_next(&rows(&[1]), Limits { rows: 10, bytes: 50 }, false), Plan::Begin { rows: 1 });
}

#[test]
fn a_batch_never_spans_tables_or_months() {
    let mut r = rows(&[1, 2, 3]);
    r[1].destination = Destination::Unreadable;
    assert_eq!(plan_next(&r, LIMITS, false), Plan::Begin { rows: 1 });
    let mut r = rows(&[1, 2, 3]);
    r[2].month = 202_612;
    assert_eq!(plan_next(&r, LIMITS, false), Plan::Begin { rows: 2 });
}

#[test]
fn recovery_case_by_case() {
    let again = rows(&[4, 6, 7]);
    let b = bounds_of(&again, 99).unwrap();
    let plan = |f: &Found| plan_recovery(&b, &again, 8, f);
    for settled in [false, true] {
        assert_eq!(plan(&found(&[4, 6, 7], settled)), Plan::Acknowledge);
        let more = plan(&found(&[4, 6, 6, 7], settled));
        assert!(matches!(more, Plan::Stop(Contradiction::TooMany { expected: 3, found: 4, .. })), "{more:?}");
        assert!(matches!(plan(&found(&[4, 5, 7], settled)), Plan::Stop(Contradiction::Other { .. })));
    }
    assert_eq!(plan(&found(&[], false)), Plan::Wait);
    assert_eq!(plan(&found(&[6], false)), Plan::Wait);
    assert_eq!(plan(&found(&[], true)), Plan::Repeat);
    assert_eq!(plan(&found(&[6], true)), Plan::Repair { offsets: vec![4, 7], number: 1 });
    // A doubled offset, or one that is not of the batch, within a part.
    assert!(matches!(plan(&found(&[6, 6], true)), Plan::Stop(Contradiction::Other { .. })));
    assert!(matches!(plan(&found(&[5], true)), Plan::Stop(Contradiction::Other { .. })));
}

#[test]
fn recovery_reads_before_it_judges_and_never_inserts_other_rows() {
    let again = rows(&[4, 6, 7]);
    let b = bounds_of(&again, 99).unwrap();
    assert_eq!(plan_recovery(&b, &rows(&[4, 6]), 7, &found(&[], true)), Plan::Read);
    assert_eq!(plan_recovery(&b, &rows(&[4, 6, 7, 8]), 9, &found(&[], true)), Plan::Repeat);
    assert_eq!(plan_recovery(&b, &rows(&[6, 7]), 8, &found(&[], true)), Plan::Forget);
    assert_eq!(plan_recovery(&b, &rows(&[4, 5, 7]), 8, &found(&[], true)), Plan::Forget);
    let gone = plan_recovery(&b, &rows(&[6, 7]), 8, &found(&[6], true));
    assert!(matches!(gone, Plan::Stop(Contradiction::Gone { .. })));
    let mut moved = again.clone();
    moved[1].destination = Destination::Unreadable;
    assert_eq!(plan_recovery(&b, &moved, 8, &found(&[], true)), Plan::Forget);
}

#[test]
fn a_token_that_brought_nothing_is_not_used_a_third_time() {
    let again = rows(&[4, 6]);
    let mut b = bounds_of(&again, 99).unwrap();
    b.attempt = Attempt::Repeat;
    let none = found(&[], true);
    assert_eq!(plan_recovery(&b, &again, 7, &none), Plan::Repair { offsets: vec![4, 6], number: 1 });
    b.attempt = Attempt::Repair(3);
    assert_eq!(plan_recovery(&b, &again, 7, &none), Plan::Repair { offsets: vec![4, 6], number: 4 });
    assert_eq!(plan_recovery(&b, &again, 7, &found(&[4], true)), Plan::Repair { offsets: vec![6], number: 4 });
}

/// What may happen to one insert.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The process dies before the bounds are committed.
    NotBounded,
    /// It dies between the commit and the insert.
    NotSent,
    /// The insert lands and is answered.
    Lands,
    /// The insert lands, the answer does not arrive, the process dies.
    LandsUnseen,
    /// The insert is on its way; the successor looks, then it lands.
    LandsLate,
    /// Only a part of the rows stays (what no single block should do).
    Partly,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::NotBounded),
        Just(Fate::NotSent),
        Just(Fate::Lands),
        Just(Fate::LandsUnseen),
        Just(Fate::LandsLate),
        Just(Fate::Partly),
    ]
}

/// Kafka's offset and bounds, and the table with its tokens.
#[derive(Default)]
struct World {
    committed: i64,
    outstanding: Option<Bounds>,
    table: Vec<i64>,
    tokens: BTreeSet<(i64, i64, u32)>,
    late: Option<(Bounds, Vec<i64>)>,
}

impl World {
    fn insert(&mut self, b: &Bounds, offsets: &[i64], keep: usize) {
        let number = if let Attempt::Repair(n) = b.attempt { n } else { 0 };
        // As ClickHouse: a known token is dropped without a look at the data.
        if self.tokens.insert((b.first, b.last, number)) {
            self.table.extend(offsets.iter().take(keep));
        }
    }

    fn found(&self, b: &Bounds) -> Found {
        let there: Vec<i64> = self.table.iter().copied().filter(|o| (b.first..=b.last).contains(o)).collect();
        found(&there, self.late.is_none())
    }

    /// Commits bounds and lets fate have its way.
    fn attempt(&mut self, b: Bounds, offsets: &[i64], fate: Fate) {
        if matches!(fate, Fate::NotBounded) {
            return;
        }
        self.outstanding = Some(b);
        match fate {
            Fate::NotBounded | Fate::NotSent => {}
            Fate::Lands => self.insert(&b, offsets, usize::MAX),
            Fate::LandsUnseen => self.insert(&b, offsets, usize::MAX),
            Fate::LandsLate => self.late = Some((b, offsets.to_vec())),
            Fate::Partly => self.insert(&b, offsets, offsets.len() / 2),
        }
        if matches!(fate, Fate::Lands) && b.attempt == Attempt::First {
            self.committed = b.last + 1;
            self.outstanding = None;
        }
    }

    fn step(&mut self, topic: &[RowMeta], limits: Limits, fate: Fate) {
        let buffer: Vec<RowMeta> = topic.iter().copied().filter(|r| r.offset >= self.committed).collect();
        let plan = match &self.outstanding {
            None => plan_next(&buffer, limits, true),
            Some(b) => plan_recovery(b, &buffer, i64::MAX, &self.found(b)),
        };
        match (plan, self.outstanding) {
            (Plan::Idle, _) => {}
            (Plan::Begin { rows }, _) => {
                let b = bounds_of(&buffer[..rows], 0).unwrap();
                let offsets: Vec<i64> = buffer[..rows].iter().map(|r| r.offset).collect();
                self.attempt(b, &offsets, fate);
            }
            (Plan::Acknowledge, Some(b)) => {
                self.committed = b.last + 1;
                self.outstanding = None;
            }
            (Plan::Wait, _) => {
                let (b, offsets) = self.late.take().expect("only a late insert is waited for");
                self.insert(&b, &offsets, usize::MAX);
            }
            (Plan::Repeat, Some(b)) => {
                let offsets: Vec<i64> = buffer.iter().map(|r| r.offset).filter(|o| *o <= b.last).collect();
                self.attempt(Bounds { attempt: Attempt::Repeat, ..b }, &offsets, fate);
            }
            (Plan::Repair { offsets, number }, Some(b)) => {
                self.attempt(Bounds { attempt: Attempt::Repair(number), ..b }, &offsets, fate);
            }
            (other, _) => panic!("{other:?} in a world without outsiders"),
        }
    }
}

proptest! {
    /// Whatever dies wherever: in the end every offset is in the table once.
    #[test]
    fn every_offset_ends_in_the_table_once(
        gaps in proptest::collection::vec((1_i64..4, any::<bool>(), 0_i32..2), 1..40),
        fates in proptest::collection::vec(fate(), 0..60),
        size in 1_usize..8,
    ) {
        let mut offset = 0;
        let topic: Vec<RowMeta> = gaps.iter().map(|(gap, readable, month)| {
            offset += gap;
            let destination = if *readable { Destination::Landing } else { Destination::Unreadable };
            RowMeta { destination, month: 202_611 + month, ..row(offset) }
        }).collect();
        let limits = Limits { rows: size, bytes: usize::MAX };
        let mut world = World::default();
        for fate in fates {
            world.step(&topic, limits, fate);
        }
        for _ in 0..(4 * topic.len() + 10) {
            world.step(&topic, limits, Fate::Lands);
        }
        let mut table = world.table.clone();
        table.sort_unstable();
        let expected: Vec<i64> = topic.iter().map(|r| r.offset).collect();
        prop_assert_eq!(table, expected);
        prop_assert!(world.outstanding.is_none());
    }

    /// A batch is a prefix within its limits, of one table and month, and never empty when it begins.
    #[test]
    fn a_batch_is_a_uniform_prefix(
        kinds in proptest::collection::vec((any::<bool>(), 0_i32..2, 1_usize..300), 0..30),
        rows_limit in 1_usize..10,
        bytes_limit in 1_usize..900,
        lingered: bool,
    ) {
        let rows: Vec<RowMeta> = kinds.iter().enumerate().map(|(i, (readable, month, size))| RowMeta {
            destination: if *readable { Destination::Landing } else { Destination::Unreadable },
            month: *month,
            size: *size,
            ..row(i.try_into().unwrap())
        }).collect();
        match plan_next(&rows, Limits { rows: rows_limit, bytes: bytes_limit }, lingered) {
            Plan::Begin { rows: n } => {
                prop_assert!(n >= 1 && n <= rows_limit);
                let cut = &rows[..n];
                prop_assert!(cut.iter().all(|r| (r.destination, r.month) == (cut[0].destination, cut[0].month)));
                prop_assert!(n == 1 || cut.iter().map(|r| r.size).sum::<usize>() <= bytes_limit);
            }
            Plan::Idle => prop_assert!(rows.is_empty() || !lingered),
            other @ (Plan::Acknowledge
            | Plan::Wait
            | Plan::Read
            | Plan::Repeat
            | Plan::Repair { .. }
            | Plan::Forget
            | Plan::Stop(_)) => prop_assert!(false, "{other:?}"),
        }
    }
}
