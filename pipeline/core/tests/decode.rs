//! How often an input is decoded.

use std::cell::Cell;
use std::sync::Arc;

use fillstream_core::batch::Batch;
use fillstream_core::error::Poison;
use fillstream_core::group::{Group, Path};
use fillstream_core::record::{Envelope, Payload, Record};
use fillstream_core::stage::{Effects, Input, InputTopic, Stage, Timer};
use fillstream_core::table::Tables;
use fillstream_core::task::{Task, TaskContext};
use fillstream_core::trace::Sampler;
use fillstream_core::{StageHandle, TimestampMicros, outputs};
use fillstream_schemas::codec::{AvroRecord, CodecError, Event};
use fillstream_schemas::execution::Command;

thread_local! {
    static DECODED: Cell<u32> = const { Cell::new(0) };
}

struct Counted(Command);

impl Input for Counted {
    const TOPICS: &'static [InputTopic] =
        &[InputTopic { topic: "in.v1", schema: Command::FULL_NAME, forward_to: None }];

    fn decode(_: &str, payload: &[u8]) -> Option<Result<Self, CodecError>> {
        DECODED.set(DECODED.get() + 1);
        Some(Command::decode(payload).map(Self))
    }

    fn key(&self) -> &str {
        Event::key(&self.0)
    }

    fn natural_id(&self) -> String {
        Event::natural_id(&self.0)
    }

    fn event_time(&self) -> TimestampMicros {
        Event::event_time(&self.0)
    }
}

outputs! {
    /// What comes, under a topic of the stage's own.
    pub enum Same { Command(Command) = "first.v1" }
}
outputs! {
    /// Likewise.
    pub enum Again { Command(Command) = "second.v1" }
}

struct First;
struct Second;

macro_rules! passes_on {
    ($stage:ident, $out:ident, $name:literal) => {
        impl Stage for $stage {
            type In = Counted;
            type Out = $out;
            type Stores = ();
            type Timer = Command;
            const NAME: &'static str = $name;
            const DOC: &'static str = "Passes on.";

            fn on_record(&self, r: &Record<Counted>, (): &mut (), fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
                fx.emit(r.value.0.clone());
                Ok(())
            }

            fn on_timer(&self, _: &Timer<Command>, (): &mut (), _: &mut Effects<'_, Self>) -> Result<(), Poison> {
                Ok(())
            }
        }
    };
}
passes_on!(First, Same, "first");
passes_on!(Second, Again, "second");

#[test]
fn an_input_is_decoded_once_a_batch_and_says_the_same_in_each() {
    // Both read the same topic with the same type, so that one decoding serves the two of them.
    let path = Path::new("path", vec![StageHandle::of(First), StageHandle::of(Second)]).unwrap();
    let group = Group::fused(&path).unwrap();
    let context = TaskContext {
        partitioner: Arc::new(|_, _| 0),
        config_hash: String::new(),
        code_version: String::new(),
        sampler: Sampler::OFF,
    };
    let mut task = Task::new(&group, 0, context);
    let command = |n: i64| Command { command_id: format!("c{n}"), portfolio_id: "P1".into(), ..Command::default() };
    for n in 0..10 {
        let payload = Payload::Avro(command(n).to_bytes().into());
        task.offer(Envelope::foreign("in.v1", 0, n, "P1", payload));
    }
    assert_eq!(DECODED.get(), 0, "what waits costs its bytes only");
    let tables = Tables::default();
    let batch = Batch { now: TimestampMicros::from_micros(1), instant: None, tables: &tables, max_units: 100 };
    let first = task.run(&batch).unwrap();
    assert_eq!(DECODED.get(), 10);
    task.rollback();
    let again = task.run(&batch).unwrap();
    assert_eq!(first.outputs, again.outputs);
    assert_eq!(first.outputs.len(), 20);
    let values = again.outputs.iter().map(|o| Command::decode(&o.payload).unwrap());
    assert!(values.eq((0..10).flat_map(|n| [command(n), command(n)])));
    assert_eq!(DECODED.get(), 20);
}
