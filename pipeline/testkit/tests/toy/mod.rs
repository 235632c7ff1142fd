//! Toy stages whose outputs give away every difference of order, identity, time and state.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code outside test functions")]

pub(crate) mod probe;

use std::collections::VecDeque;

use fillstream_core::TimestampMicros;
use fillstream_core::codec::kind::{Codec, Long, Text, Timestamp};
use fillstream_core::codec::{AvroRecord, CodecError, Event, Reader, SchemaCell, SchemaResult};
use fillstream_core::error::Poison;
use fillstream_core::group::{Group, Path};
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::{Rows, Table, TableDecl, TableRow};
use fillstream_core::{StageHandle, inputs, outputs, stores};
use fillstream_schemas::Value;
use fillstream_testkit::{Outside, Said, Seen};

/// The one record of all toy topics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Toy {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) at: TimestampMicros,
    /// A running fold: shows what was seen before, and in which order.
    pub(crate) n: i64,
    /// How often it may still go round.
    pub(crate) hops: i64,
}

impl Toy {
    pub(crate) fn new(id: &str, key: &str, at: i64, n: i64) -> Self {
        Self { id: id.to_owned(), key: key.to_owned(), at: us(at), n, hops: 0 }
    }

    pub(crate) fn hops(self, hops: i64) -> Self {
        Self { hops, ..self }
    }
}

pub(crate) fn us(at: i64) -> TimestampMicros {
    TimestampMicros::from_micros(at)
}

impl AvroRecord for Toy {
    const FULL_NAME: &'static str = "fillstream.test.Toy";
    const SCHEMA: &'static str = r#"{"type": "record", "name": "Toy", "namespace": "fillstream.test", "fields": [
        {"name": "id", "type": "string"}, {"name": "key", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "n", "type": "long"}, {"name": "hops", "type": "long"}]}"#;
    const MIN_LEN: usize = 5;

    fn schema() -> SchemaResult {
        static CELL: SchemaCell = SchemaCell::new();
        CELL.get(Self::SCHEMA)
    }

    fn write(&self, out: &mut Vec<u8>) {
        Text::write(&self.id, out);
        Text::write(&self.key, out);
        Timestamp::write(&self.at, out);
        Long::write(&self.n, out);
        Long::write(&self.hops, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            id: input.field::<Text>("id")?,
            key: input.field::<Text>("key")?,
            at: input.field::<Timestamp>("at")?,
            n: input.field::<Long>("n")?,
            hops: input.field::<Long>("hops")?,
        })
    }

    fn to_value(&self) -> Value {
        Value::Record(vec![
            ("id".into(), Value::Text(self.id.clone())),
            ("key".into(), Value::Text(self.key.clone())),
            ("at".into(), Value::Timestamp(self.at.micros())),
            ("n".into(), Value::Long(self.n)),
            ("hops".into(), Value::Long(self.hops)),
        ])
    }
}

impl Event for Toy {
    fn key(&self) -> &str {
        &self.key
    }
    fn natural_id(&self) -> String {
        self.id.clone()
    }
    fn event_time(&self) -> TimestampMicros {
        self.at
    }
}

/// Last value of each key, and of all.
#[derive(Clone, Debug)]
pub(crate) struct Rates(Rows<Toy>);

impl Default for Rates {
    fn default() -> Self {
        Self(Rows::new("rates.v1"))
    }
}

impl Rates {
    pub(crate) fn of(&self, key: &str) -> Option<i64> {
        self.0.get(key).map(|toy| toy.n)
    }
}

impl Table for Rates {
    const TOPICS: &'static [(&'static str, &'static str)] = &[("rates.v1", Toy::FULL_NAME)];

    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        match row.value {
            Some(value) => self.0.push(row.key, row, Toy::decode(value)?, 1),
            None => self.0.remove(row.key),
        }
        Ok(())
    }
}

stores! {
    /// What every toy remembers: the fold of each key, and under `*` of the whole partition.
    pub(crate) struct Folds { folds: Toy = "folds" }
}

impl Folds {
    pub(crate) fn fold(&mut self, key: &str, n: i64) -> i64 {
        let mut kept = self.folds.get(key).cloned().unwrap_or_else(|| Toy::new("fold", key, 0, 0));
        kept.n = kept.n.wrapping_mul(31).wrapping_add(n);
        let folded = kept.n;
        self.folds.put(key, kept);
        folded
    }
}

/// What a toy does with a record or a timer, decided by numbers of its identity. Every toy does the same, on other topics.
pub(crate) struct Acts {
    pub(crate) forth: Vec<Toy>,
    pub(crate) sets: Vec<(String, TimestampMicros, Toy)>,
    pub(crate) cancels: Vec<String>,
}

fn decide<S: Stage>(fx: &mut Effects<'_, S>, folds: &mut Folds, key: &str, n: i64, hops: i64) -> Result<Acts, Poison> {
    let own = folds.fold(key, n);
    let all = folds.fold("*", own);
    let rate = fx.table::<Rates>().and_then(|r| r.of(key)).unwrap_or(0);
    let chance =
        |salt: u8| fx.lineage().as_bytes().iter().fold(u32::from(salt), |h, b| h.wrapping_mul(31) + u32::from(*b));
    let (now, draw) = (fx.now(), [1, 2, 3, 4, 5].map(chance));
    if draw[0] % 9 == 0 {
        return Err(Poison::new("TOY", "after its writes"));
    }
    let n = all.wrapping_add(rate);
    let mut acts = Acts { forth: Vec::new(), sets: Vec::new(), cancels: Vec::new() };
    for _ in 0..draw[1] % 3 {
        acts.forth.push(Toy { id: fx.next_id(), key: key.to_owned(), at: now, n, hops });
    }
    // Few names: timers are moved and cancelled by what happens to other keys, in the instant in which they are due too.
    let name = |d: u32| format!("t{}", d % 3);
    if draw[2] % 3 == 0 && hops > 0 {
        // Due now, on the grid, between two instants, or long ago.
        let due = us(now.micros() + [0, 100_000, 130_000, 250_000, -50_000][usize::try_from(draw[3] % 5).unwrap()]);
        acts.sets.push((name(draw[3]), due, Toy::new("timer", key, 0, own).hops(hops - 1)));
    }
    if draw[4] % 4 == 0 {
        acts.cancels.push(name(draw[4]));
    }
    Ok(acts)
}

/// A toy stage; `forth` receives what it emits, by number.
macro_rules! toy_stage {
    ($stage:ident, $name:literal, $in:ident, $out:ident, $forth:expr) => {
        pub(crate) struct $stage;

        impl $stage {
            fn act(
                &self,
                key: &str,
                n: i64,
                hops: i64,
                state: &mut Folds,
                fx: &mut Effects<'_, Self>,
            ) -> Result<(), Poison> {
                let acts = decide(fx, state, key, n, hops)?;
                for (i, toy) in acts.forth.into_iter().enumerate() {
                    let forth: fn(usize, Toy) -> Option<$out> = $forth;
                    fx.next_id();
                    if let Some(out) = forth(i, toy) {
                        fx.emit_with(out, vec![("number", i.to_string())]);
                    }
                }
                for (name, due, payload) in acts.sets {
                    fx.schedule(name, due, &payload);
                }
                for name in acts.cancels {
                    fx.cancel(name);
                }
                Ok(())
            }
        }

        impl Stage for $stage {
            type In = $in;
            type Out = $out;
            type Stores = Folds;
            type Timer = Toy;
            const NAME: &'static str = $name;
            const DOC: &'static str = "A toy.";

            fn tables() -> Vec<TableDecl> {
                vec![TableDecl::of::<Rates>()]
            }

            fn on_record(
                &self,
                record: &Record<$in>,
                state: &mut Folds,
                fx: &mut Effects<'_, Self>,
            ) -> Result<(), Poison> {
                let toy = record.value.toy();
                let n = toy.n.wrapping_add(record.event_time.micros());
                self.act(&record.key, n, toy.hops, state, fx)
            }

            fn on_timer(
                &self,
                timer: &Timer<Toy>,
                state: &mut Folds,
                fx: &mut Effects<'_, Self>,
            ) -> Result<(), Poison> {
                let n = timer.payload.n.wrapping_add(timer.due.micros());
                let (key, hops) = (timer.payload.key.clone(), timer.payload.hops);
                if hops > 0 && n % 2 == 0 {
                    let again = Toy { hops: hops - 1, ..timer.payload.clone() };
                    fx.schedule(&*timer.key, us(fx.now().micros() + 70_000), &again);
                }
                self.act(&key, n, hops, state, fx)
            }
        }
    };
}

macro_rules! toy_of {
    ($in:ident: $($variant:ident),+) => {
        impl $in {
            fn toy(&self) -> &Toy {
                match self { $(Self::$variant(toy) => toy),+ }
            }
        }
    };
}

inputs! {
    /// Inputs of alpha.
    pub(crate) enum AlphaIn {
        In(Toy) = "in.v1" => "in-forwarded.v1",
        Forwarded(Toy) = "in-forwarded.v1",
        Back(Toy) = "back.v1",
        Report(Toy) = "reports.v1",
    }
}
toy_of!(AlphaIn: In, Forwarded, Back, Report);
outputs! {
    /// Outputs of alpha.
    pub(crate) enum AlphaOut { A(AToy) = "a.v1" }
}
inputs! {
    /// Inputs of beta: a topic of alpha, one from outside that gamma reads too.
    pub(crate) enum BetaIn { A(Toy) = "a.v1", Command(Toy) = "commands.v1" }
}
toy_of!(BetaIn: A, Command);
outputs! {
    /// Outputs of beta.
    pub(crate) enum BetaOut { B(AToy) = "b.v1" }
}
inputs! {
    /// Inputs of gamma: both topics before it.
    pub(crate) enum GammaIn { A(Toy) = "a.v1", B(Toy) = "b.v1", Command(Toy) = "commands.v1" }
}
toy_of!(GammaIn: A, B, Command);
outputs! {
    /// Outputs of gamma: back to alpha, and to the outside by session.
    pub(crate) enum GammaOut { Back(AToy) = "back.v1", Child(ChildToy) = "children.v1" }
}
inputs! {
    /// Inputs of delta, a path of its own.
    pub(crate) enum DeltaIn { A(Toy) = "a.v1", B(Toy) = "b.v1" }
}
toy_of!(DeltaIn: A, B);
outputs! {
    /// Outputs of delta.
    pub(crate) enum DeltaOut { D(AToy) = "d.v1" }
}

pub(crate) type AToy = Toy;

/// A toy under the key of a session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChildToy(pub(crate) Toy);

impl AvroRecord for ChildToy {
    const FULL_NAME: &'static str = "fillstream.test.ChildToy";
    const SCHEMA: &'static str = Toy::SCHEMA;
    const MIN_LEN: usize = Toy::MIN_LEN;

    fn schema() -> SchemaResult {
        Toy::schema()
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Toy::read(input).map(Self)
    }
    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl Event for ChildToy {
    fn key(&self) -> &str {
        if self.0.n % 2 == 0 { "session-0" } else { "session-1" }
    }
    fn natural_id(&self) -> String {
        self.0.natural_id()
    }
    fn event_time(&self) -> TimestampMicros {
        self.0.at
    }
}

toy_stage!(Alpha, "alpha", AlphaIn, AlphaOut, |_, toy| Some(AlphaOut::from(toy)));
toy_stage!(Beta, "beta", BetaIn, BetaOut, |_, toy| Some(BetaOut::from(toy)));
toy_stage!(Gamma, "gamma", GammaIn, GammaOut, |i, toy| {
    let hops = toy.hops - 1;
    (hops >= 0).then(|| {
        let toy = Toy { hops, ..toy };
        if i == 0 { GammaOut::from(toy) } else { GammaOut::from(ChildToy(toy)) }
    })
});
toy_stage!(Delta, "delta", DeltaIn, DeltaOut, |_, toy| Some(DeltaOut::from(toy)));

/// The toy paths; `cuts` has bit 0 for a cut after alpha, bit 1 for one after beta.
pub(crate) fn groups(cuts: u8) -> Vec<std::sync::Arc<Group>> {
    let abc = Path::new("abc", vec![StageHandle::of(Alpha), StageHandle::of(Beta), StageHandle::of(Gamma)]).unwrap();
    let d = Path::new("d", vec![StageHandle::of(Delta)]).unwrap();
    let mut parts = vec![vec!["alpha".to_owned()]];
    for (bit, stage) in [(1, "beta"), (2, "gamma")] {
        if cuts & bit != 0 {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(stage.to_owned());
    }
    let mut groups = Group::split(&abc, &parts).unwrap();
    groups.push(Group::fused(&d).unwrap());
    groups
}

/// A venue that answers each child after a while, two answers of a session at once now and then.
#[derive(Default)]
pub(crate) struct ToyVenue {
    answers: VecDeque<(TimestampMicros, Toy, u16)>,
    sequence: [u64; 2],
    fold: i64,
}

impl Outside for ToyVenue {
    fn topics(&self) -> Vec<String> {
        vec!["children.v1".to_owned()]
    }

    fn advance(&mut self, instant: TimestampMicros, records: &[Seen]) -> Vec<Said> {
        for record in records {
            let child = Toy::decode(&record.value).unwrap();
            self.fold = self.fold.wrapping_mul(31).wrapping_add(child.n);
            let delay = 60_000 + self.fold.rem_euclid(5) * 90_000;
            let answer =
                Toy { id: format!("re-{}", child.id), n: self.fold, at: us(instant.micros() + delay), ..child };
            self.answers.push_back((answer.at, answer, u16::from(record.key == "session-1")));
        }
        self.answers.make_contiguous().sort_by_key(|(at, ..)| *at);
        let mut said = Vec::new();
        while let Some((_, answer, session)) = self.answers.pop_front_if(|(at, ..)| *at <= instant) {
            let sequence = &mut self.sequence[usize::from(session)];
            *sequence += 1;
            said.push(Said::new("reports.v1", &answer, session, *sequence));
        }
        said
    }

    fn next_event_at(&self) -> Option<TimestampMicros> {
        self.answers.front().map(|(at, ..)| *at)
    }
}
