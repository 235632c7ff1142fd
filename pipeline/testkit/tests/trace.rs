//! One trace from a record of the outside to everything that it leads to.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod toy;

use std::collections::BTreeMap;

use fillstream_core::StageHandle;
use fillstream_core::codec::{AvroRecord, Event};
use fillstream_core::error::Poison;
use fillstream_core::lineage::Lineage;
use fillstream_core::record::{Envelope, Payload, Record};
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::trace::{Span, SpanWork, TraceContext};
use fillstream_core::{inputs, outputs};
use fillstream_testkit::StageBench;
use toy::probe::{Echo, Probe, Sums};
use toy::{Toy, us};

fn producers() -> TraceContext {
    let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    TraceContext::from_headers(Some(parent), Some(b"vendor=1")).unwrap()
}

fn traced(topic: &str, toy: &Toy, trace: TraceContext) -> Envelope {
    Envelope { trace: Some(trace), ..Envelope::foreign(topic, 0, 0, toy.key(), Payload::Avro(toy.to_bytes().into())) }
}

fn pair() -> StageBench {
    StageBench::path(vec![StageHandle::of(Probe), StageHandle::of(Echo)])
}

/// Every span but the first begins under one of the others, or under the producer's.
fn assert_tree(spans: &[Span], outside: Option<[u8; 8]>) {
    let known: Vec<[u8; 8]> = spans.iter().map(|s| *s.context.span_id()).chain(outside).collect();
    for (i, span) in spans.iter().enumerate() {
        assert!(known.iter().filter(|id| **id == *span.context.span_id()).count() == 1, "an id is used twice");
        match span.parent {
            Some(parent) => assert!(known.contains(&parent), "{span:?} has a parent that nobody told"),
            None => assert_eq!((i, outside), (0, None), "{span:?} has no parent"),
        }
    }
}

#[test]
fn a_producers_trace_goes_on_in_all_that_its_record_leads_to() {
    let mut bench = pair();
    bench.at(us(10)).envelopes([traced("in.v1", &Toy::new("set@50", "k", 1, 5), producers())]);
    bench.restart().timer_to(us(60));
    let spans = bench.take_spans();
    // The probe and the echo read the record, the echo what the probe writes of it; then the timer, and the echo again.
    let stages: Vec<&str> = spans.iter().map(|s| s.stage).collect();
    assert_eq!(stages, ["probe", "echo", "echo", "probe", "echo"]);
    assert_tree(&spans, Some(*producers().span_id()));
    assert!(spans.iter().all(|s| s.context.trace_id() == producers().trace_id()));
    // Each record names the span that wrote it.
    let wrote: BTreeMap<[u8; 8], usize> = spans.iter().map(|s| (*s.context.span_id(), s.outputs)).collect();
    let mut named: BTreeMap<[u8; 8], usize> = BTreeMap::new();
    for out in bench.outputs() {
        let trace = out.trace.as_ref().unwrap();
        assert_eq!((trace.trace_id(), trace.state()), (producers().trace_id(), Some("vendor=1")));
        *named.entry(*trace.span_id()).or_default() += 1;
        let headers: BTreeMap<_, _> = out.wire_headers().into_iter().collect();
        assert_eq!(headers["traceparent"], trace.traceparent());
        assert_eq!(headers["tracestate"], b"vendor=1");
    }
    assert_eq!(wrote, named);
    assert!(spans.iter().any(|s| s.work == SpanWork::Timer && &*s.key == "timer"));
}

#[test]
fn a_record_without_a_trace_begins_one_that_is_named_as_its_lineage() {
    let mut bench = pair();
    bench.at(us(10)).record("in.v1", &Toy::new("set@50", "k", 1, 5).hops(2));
    bench.restart().timer_to(us(100));
    let (spans, root) = (bench.take_spans(), Lineage::root("in.v1", "set@50"));
    assert!(spans.iter().all(|s| s.context.trace_id() == root.as_bytes()));
    assert_eq!(*spans[0].context.span_id(), root.span("probe", None));
    let roots: Vec<&Span> = spans.iter().filter(|s| s.parent.is_none()).collect();
    assert_eq!(roots.iter().map(|s| s.stage).collect::<Vec<_>>(), ["probe", "echo"], "both read the record itself");
    assert_eq!(bench.outputs().len(), 3 + 3 * 2, "of the record, and of the chain of three firings");
    assert!(bench.outputs().iter().all(|o| o.trace.as_ref().unwrap().trace_id() == root.as_bytes()));
    // A chain of a timer is a chain of spans.
    let fired: Vec<&Span> = spans.iter().filter(|s| s.work == SpanWork::Timer).collect();
    assert_eq!(fired.len(), 3);
    for pair in fired.windows(2) {
        assert_eq!(pair[1].parent, Some(*pair[0].context.span_id()));
    }
}

#[test]
fn forwards_and_dead_letters_stay_in_the_trace() {
    let mut bench = StageBench::partitioned(
        vec![StageHandle::of(Probe)],
        std::sync::Arc::new(|_, key| i32::from(key == "elsewhere")),
    );
    bench.envelopes([traced("in.v1", &Toy::new("a", "elsewhere", 1, 1), producers())]);
    let forward = bench.outputs()[0].trace.clone().unwrap();
    assert_eq!((bench.outputs()[0].topic, forward.trace_id()), ("in-forwarded.v1", producers().trace_id()));
    let told = bench.take_spans();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].parent, &told[0].context), (Some(*producers().span_id()), &forward));
    // Where it is handled its span is another one, below the forwarder's.
    bench.envelopes([traced("in.v1", &Toy::new("poison", "k", 1, 1), producers())]);
    let told = bench.take_spans();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].poison.as_deref(), told[0].parent), (Some("ASKED"), Some(*producers().span_id())));
    assert_ne!(told[0].context.span_id(), forward.span_id());
}

#[test]
fn what_the_producer_does_not_want_recorded_is_not_told_and_still_named() {
    let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let trace = TraceContext::from_headers(Some(parent), None).unwrap();
    let mut bench = StageBench::new(Probe);
    bench.envelopes([traced("in.v1", &Toy::new("a", "k", 1, 1), trace.clone())]);
    assert_eq!(bench.take_spans(), []);
    let out = bench.outputs()[0].trace.clone().unwrap();
    assert_eq!((out.trace_id(), out.is_sampled()), (trace.trace_id(), false));
}

inputs! {
    /// Inputs.
    pub(crate) enum KeeperIn { In(Toy) = "in.v1" }
}
outputs! {
    /// Outputs.
    pub(crate) enum KeeperOut { Out(Toy) = "keeper.v1" }
}

/// `open` begins something under its key; `close` is of another trace and about it; `quiet` only looks.
struct Keeper;

impl Stage for Keeper {
    type In = KeeperIn;
    type Out = KeeperOut;
    type Stores = Sums;
    type Timer = Toy;
    const NAME: &'static str = "keeper";
    const DOC: &'static str = "Keeps traces.";

    fn on_record(&self, record: &Record<KeeperIn>, state: &mut Sums, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let KeeperIn::In(toy) = &record.value;
        if toy.id.starts_with("open") {
            // A toy's store has no field for bytes: in hex, in its id.
            let hex = fx.trace().to_bytes().iter().map(|b| format!("{b:02x}")).collect();
            state.sums.put(&toy.key, Toy { id: hex, ..*toy.clone() });
            fx.emit(*toy.clone());
            return Ok(());
        }
        for key in toy.key.split('+') {
            let kept = state.sums.get(key).map(|kept| kept.id.clone()).unwrap_or_default();
            let bytes: Vec<u8> =
                (0..kept.len() / 2).map(|i| u8::from_str_radix(&kept[2 * i..2 * i + 2], 16).unwrap()).collect();
            fx.follow(TraceContext::from_bytes(&bytes));
            if toy.id != "quiet" {
                fx.emit(Toy { key: key.to_owned(), ..*toy.clone() });
                fx.emit(Toy { key: key.to_owned(), ..*toy.clone() });
                fx.schedule(format!("of {key}"), us(fx.now().micros() + 10), toy);
            }
        }
        fx.schedule_apart("apart", us(fx.now().micros() + 20), toy);
        fx.follow(None);
        fx.emit(Toy { key: "own".to_owned(), ..*toy.clone() });
        Ok(())
    }

    fn on_timer(&self, timer: &Timer<Toy>, _: &mut Sums, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        if &*timer.key != "apart" {
            fx.emit(Toy { key: timer.key.to_string(), ..timer.payload.clone() });
        }
        Ok(())
    }
}

#[test]
fn a_command_about_others_acts_in_their_traces_and_links_to_its_own() {
    let mut bench = StageBench::new(Keeper);
    bench.at(us(1)).record("in.v1", &Toy::new("open a", "a", 1, 1)).record("in.v1", &Toy::new("open b", "b", 1, 1));
    bench.restart().at(us(100)).record("in.v1", &Toy::new("close", "a+b+unknown", 1, 1)).timer_to(us(500));
    let root = |id: &str| Lineage::root("in.v1", id);
    let owner = |key: &str| match key {
        "a" | "of a" => root("open a"),
        "b" | "of b" => root("open b"),
        _ => root("close"),
    };
    assert_eq!(bench.outputs().len(), 2 + 6 + 1 + 3);
    for out in bench.outputs() {
        assert_eq!(out.trace.as_ref().unwrap().trace_id(), owner(&out.key).as_bytes(), "{}", out.key);
    }
    let spans = bench.take_spans();
    let command = spans.iter().find(|s| s.context.trace_id() == root("close").as_bytes()).unwrap();
    for (opened, followed) in [("open a", 2), ("open b", 2)] {
        let of: Vec<&Span> = spans.iter().filter(|s| s.context.trace_id() == root(opened).as_bytes()).collect();
        // Opened, closed, and the timer that the close has set: one below the other.
        assert_eq!(of.len(), 3, "{of:?}");
        assert_eq!((of[0].parent, of[0].link.as_ref()), (None, None));
        assert_eq!((of[1].parent, of[1].outputs), (Some(*of[0].context.span_id()), followed));
        assert_eq!(of[1].link.as_ref(), Some(&command.context));
        assert_eq!((of[2].parent, of[2].work == SpanWork::Timer), (Some(*of[1].context.span_id()), true));
    }
    // A timer of nobody that does nothing is nothing to tell.
    assert!(spans.iter().all(|s| &*s.key != "apart"));
}

#[test]
fn to_look_is_not_to_act() {
    let mut bench = StageBench::new(Keeper);
    bench.at(us(1)).record("in.v1", &Toy::new("open a", "a", 1, 1));
    bench.take_spans();
    bench.record("in.v1", &Toy::new("quiet", "a", 1, 1));
    let spans = bench.take_spans();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(spans[0].context.trace_id(), Lineage::root("in.v1", "quiet").as_bytes());
}
