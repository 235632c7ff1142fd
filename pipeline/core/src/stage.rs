//! What a stage is: a pure function from a record or timer, its state, the tables and `now` to writes, outputs and timers.

use std::any::TypeId;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;
use fillstream_schemas::codec::{AvroRecord, CodecError};

use crate::error::Poison;
use crate::lineage::Lineage;
use crate::record::Record;
use crate::store::Stores;
use crate::table::{Table, TableDecl, Tables};
use crate::trace::{TraceContext, trace_of};

/// A topic that a stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputTopic {
    /// Topic.
    pub topic: &'static str,
    /// Full name of the value's schema.
    pub schema: &'static str,
    /// Where a record goes, once, that stands on another partition than its value's key asks for.
    pub forward_to: Option<&'static str>,
}

/// A topic that a stage owns and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputTopic {
    /// Topic.
    pub topic: &'static str,
    /// Full name of the value's schema.
    pub schema: &'static str,
}

/// What a stage reads, writes and remembers, as data: the diagram and the check of topics.yaml are made from it.
#[derive(Clone, Debug)]
pub struct StageSpec {
    /// Name; also in lineage, so it never changes once released.
    pub name: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// Topics it reads.
    pub inputs: &'static [InputTopic],
    /// Topics it writes.
    pub outputs: &'static [OutputTopic],
    /// Tables it looks things up in.
    pub tables: Vec<TableDecl>,
}

/// The input records of a stage. Made by [`inputs!`](crate::inputs).
pub trait Input: Sized + Send + Sync + 'static {
    /// Topics.
    const TOPICS: &'static [InputTopic];

    /// Decodes a value of `topic`; `None` when the stage does not read it.
    fn decode(topic: &str, payload: &[u8]) -> Option<Result<Self, CodecError>>;
    /// Key that the value asks for.
    fn key(&self) -> &str;
    /// Natural id of the value.
    fn natural_id(&self) -> String;
    /// Time of the value.
    fn event_time(&self) -> TimestampMicros;
}

/// The output records of a stage. Made by [`outputs!`](crate::outputs).
pub trait Output {
    /// Topics.
    const TOPICS: &'static [OutputTopic];

    /// Topic and schema of the value.
    fn topic(&self) -> OutputTopic;
    /// Key of the record.
    fn key(&self) -> &str;
    /// Appends the Avro value.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A stage.
pub trait Stage: Send + Sync + 'static {
    /// What it reads.
    type In: Input;
    /// What it writes.
    type Out: Output;
    /// What it remembers.
    type Stores: Stores;
    /// Payload of its timers.
    type Timer: AvroRecord;

    /// Its name; also in lineage and changelog, so it never changes once released.
    const NAME: &'static str;
    /// One line for people.
    const DOC: &'static str;

    /// Tables it looks things up in.
    #[must_use]
    fn tables() -> Vec<TableDecl> {
        Vec::new()
    }

    /// Key that decides the partition of an input, where it is not the value's own.
    fn partition_key<'a>(&'a self, input: &'a Self::In) -> &'a str {
        input.key()
    }

    /// Handles a record.
    ///
    /// # Errors
    /// [`Poison`] drops every write and output of this call and sends the record to the dead-letter topic.
    fn on_record(
        &self,
        record: &Record<Self::In>,
        state: &mut Self::Stores,
        fx: &mut Effects<'_, Self>,
    ) -> Result<(), Poison>;

    /// Handles a timer that is due. It is gone before the call; the handler may set it again.
    ///
    /// # Errors
    /// [`Poison`] drops every write and output of this call and sends the timer to the dead-letter topic.
    fn on_timer(
        &self,
        timer: &Timer<Self::Timer>,
        state: &mut Self::Stores,
        fx: &mut Effects<'_, Self>,
    ) -> Result<(), Poison>;

    /// The declaration as data.
    #[must_use]
    fn spec() -> StageSpec {
        StageSpec {
            name: Self::NAME,
            doc: Self::DOC,
            inputs: Self::In::TOPICS,
            outputs: Self::Out::TOPICS,
            tables: Self::tables(),
        }
    }
}

/// A timer that fires.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer<T> {
    /// Key, unique in its stage and partition.
    pub key: Arc<str>,
    /// When it was due; `fx.now()` may be later, after downtime.
    pub due: TimestampMicros,
    /// What it carries.
    pub payload: T,
}

/// Whose trace an output or timer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    /// That of the record or timer in hand.
    InHand,
    /// One that the stage followed, by its number.
    Followed(usize),
    /// Nobody's.
    Nobody,
}

/// A span in a trace other than that of what is in hand.
#[derive(Debug)]
pub(crate) struct Followed {
    pub context: TraceContext,
    pub parent: [u8; 8],
}

#[derive(Debug)]
enum Following {
    InHand,
    /// Kept by the stage; entered with the first effect.
    Kept(TraceContext),
    Entered(usize),
}

#[derive(Debug)]
pub(crate) enum TimerOp {
    Set { key: String, due: TimestampMicros, payload: Vec<u8>, under: Under },
    Cancel { key: String },
}

pub(crate) struct Emitted {
    pub topic: OutputTopic,
    pub key: Arc<str>,
    pub payload: Arc<[u8]>,
    pub lineage: Lineage,
    pub headers: Vec<(&'static str, String)>,
    pub under: Under,
}

/// What a stage does besides writing its state.
pub struct Effects<'a, S: Stage + ?Sized> {
    now: TimestampMicros,
    lineage: Lineage,
    tables: &'a Tables,
    next: u32,
    /// Identity of what is in hand, whatever was forked since.
    in_hand: Lineage,
    parent: Option<&'a TraceContext>,
    following: Following,
    /// Where values are encoded, one after the other: it has grown to the largest of them.
    scratch: &'a mut Vec<u8>,
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) timers: Vec<TimerOp>,
    pub(crate) followed: Vec<Followed>,
    stage: std::marker::PhantomData<fn(&S)>,
}

impl<'a, S: Stage> Effects<'a, S> {
    pub(crate) fn new(
        now: TimestampMicros,
        lineage: Lineage,
        tables: &'a Tables,
        parent: Option<&'a TraceContext>,
        scratch: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            now,
            lineage,
            tables,
            next: 0,
            in_hand: lineage,
            parent,
            following: Following::InHand,
            scratch,
            emitted: Vec::new(),
            timers: Vec::new(),
            followed: Vec::new(),
            stage: std::marker::PhantomData,
        }
    }

    /// The batch's one now.
    #[must_use]
    pub fn now(&self) -> TimestampMicros {
        self.now
    }

    /// Identity of the record or timer in hand.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// A new deterministic id, 32 hex digits.
    pub fn next_id(&mut self) -> String {
        self.take().to_string()
    }

    /// Gives what follows in this call a lineage of its own. For a record that shares the natural id of another one but
    /// not its content: their events must not share ids.
    pub fn fork(&mut self, salt: &str) {
        self.lineage = Lineage::root(S::NAME, &format!("{}/{salt}", self.lineage));
        self.next = 0;
    }

    /// The span in which the record or timer in hand is handled. A stage keeps it with what it may act on later on
    /// another's account, and follows it then.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        TraceContext::enter(self.parent, self.in_hand, S::NAME)
    }

    /// What follows in this call belongs to the trace of `kept`; `None`: to that of the record or timer in hand. For a
    /// record that is about something with a trace of its own: a command about an order.
    pub fn follow(&mut self, kept: Option<TraceContext>) {
        let own = trace_of(self.parent, self.in_hand);
        self.following = kept.filter(|kept| *kept.trace_id() != own).map_or(Following::InHand, Following::Kept);
    }

    fn under(&mut self) -> Under {
        if let Following::Kept(kept) = &self.following {
            let context = TraceContext::enter(Some(kept), self.in_hand, S::NAME);
            self.followed.push(Followed { context, parent: *kept.span_id() });
            self.following = Following::Entered(self.followed.len().saturating_sub(1));
        }
        match self.following {
            Following::Entered(n) => Under::Followed(n),
            Following::InHand | Following::Kept(_) => Under::InHand,
        }
    }

    /// The batch's version of table `T`; `None` while nothing was read: fail closed.
    #[must_use]
    pub fn table<T: Table>(&self) -> Option<&'a T> {
        self.tables.get()
    }

    /// Writes a record.
    pub fn emit(&mut self, out: impl Into<S::Out>) {
        self.emit_with(out, Vec::new());
    }

    /// Writes a record with headers for subscribers.
    pub fn emit_with(&mut self, out: impl Into<S::Out>, headers: Vec<(&'static str, String)>) {
        let out = out.into();
        self.scratch.clear();
        out.encode(self.scratch);
        let lineage = self.take();
        let under = self.under();
        self.emitted.push(Emitted {
            topic: out.topic(),
            key: out.key().into(),
            payload: self.scratch.as_slice().into(),
            lineage,
            headers,
            under,
        });
    }

    /// Sets the timer `key` of this stage, replacing an earlier one. It fires once, at the first batch after this one
    /// whose now has reached `due`.
    pub fn schedule(&mut self, key: impl Into<String>, due: TimestampMicros, payload: &S::Timer) {
        let under = self.under();
        self.set(key.into(), due, payload, under);
    }

    /// As [`schedule`](Self::schedule), for a timer that is about nothing in particular (a sweep): it belongs to no trace.
    pub fn schedule_apart(&mut self, key: impl Into<String>, due: TimestampMicros, payload: &S::Timer) {
        self.set(key.into(), due, payload, Under::Nobody);
    }

    fn set(&mut self, key: String, due: TimestampMicros, payload: &S::Timer, under: Under) {
        let mut bytes = Vec::new();
        payload.encode(&mut bytes);
        self.timers.push(TimerOp::Set { key, due, payload: bytes, under });
    }

    /// Cancels the timer `key`, if it is set.
    pub fn cancel(&mut self, key: impl Into<String>) {
        self.timers.push(TimerOp::Cancel { key: key.into() });
    }

    fn take(&mut self) -> Lineage {
        let id = self.lineage.derive(S::NAME, self.next);
        self.next = self.next.saturating_add(1);
        id
    }
}

/// Names the type of a table, for sharing readers.
#[must_use]
pub fn table_type<T: Table>() -> TypeId {
    TypeId::of::<T>()
}

/// Declares what a stage reads: an enum with a variant a topic.
///
/// ```ignore
/// inputs! {
///     /// Inputs.
///     pub enum In {
///         Decision(CoordinatedTradingDecision) = "coordination.decisions.v1" => "coordination.decisions-forwarded.v1",
///         Report(ExecutionReport) = "execution.reports.v1",
///     }
/// }
/// ```
#[macro_export]
macro_rules! inputs {
    (@forward) => { None };
    (@forward $to:literal) => { Some($to) };
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident ( $value:ty ) = $topic:literal $(=> $forward:literal)?),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name { $($(#[$vmeta])* #[doc = concat!("A record of ", $topic, ".")] $variant(Box<$value>)),+ }
        impl $crate::stage::Input for $name {
            const TOPICS: &'static [$crate::stage::InputTopic] = &[$($crate::stage::InputTopic {
                topic: $topic,
                schema: <$value as $crate::codec::AvroRecord>::FULL_NAME,
                forward_to: $crate::inputs!(@forward $($forward)?),
            }),+];
            fn decode(topic: &str, payload: &[u8]) -> Option<Result<Self, $crate::codec::CodecError>> {
                match topic {
                    $($topic => Some(<$value as $crate::codec::AvroRecord>::decode(payload).map(|v| Self::$variant(Box::new(v)))),)+
                    _ => None,
                }
            }
            fn key(&self) -> &str { match self { $(Self::$variant(v) => $crate::codec::Event::key(&**v)),+ } }
            fn natural_id(&self) -> String { match self { $(Self::$variant(v) => $crate::codec::Event::natural_id(&**v)),+ } }
            fn event_time(&self) -> $crate::TimestampMicros { match self { $(Self::$variant(v) => $crate::codec::Event::event_time(&**v)),+ } }
        }
    };
}

/// Declares what a stage writes: an enum with a variant a topic, and `From` each value.
///
/// ```ignore
/// outputs! {
///     /// Outputs.
///     pub enum Out { Order(OrderEvent) = "execution.orders.v1" }
/// }
/// ```
#[macro_export]
macro_rules! outputs {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident ( $value:ty ) = $topic:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name { $($(#[$vmeta])* #[doc = concat!("A record of ", $topic, ".")] $variant(Box<$value>)),+ }
        impl $crate::stage::Output for $name {
            const TOPICS: &'static [$crate::stage::OutputTopic] = &[$($crate::stage::OutputTopic {
                topic: $topic,
                schema: <$value as $crate::codec::AvroRecord>::FULL_NAME,
            }),+];
            fn topic(&self) -> $crate::stage::OutputTopic {
                match self { $(Self::$variant(_) => $crate::stage::OutputTopic {
                    topic: $topic,
                    schema: <$value as $crate::codec::AvroRecord>::FULL_NAME,
                }),+ }
            }
            fn key(&self) -> &str { match self { $(Self::$variant(v) => $crate::codec::Event::key(&**v)),+ } }
            fn encode(&self, out: &mut Vec<u8>) { match self { $(Self::$variant(v) => $crate::codec::AvroRecord::encode(&**v, out)),+ } }
        }
        $(impl From<$value> for $name { fn from(v: $value) -> Self { Self::$variant(Box::new(v)) } })+
    };
}
