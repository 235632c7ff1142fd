//! W3C Trace Context: the trace that a record belongs to, and the span that wrote it.
//!
//! A trace is all that one decision leads to. A span is one handling of a record or timer by a stage. Its id is made from
//! the lineage of what is handled, not drawn: it is the same after an abort, a replay, fused or split.

use std::fmt;
use std::sync::Arc;

use crate::lineage::Lineage;

/// Longest `tracestate` that is passed on, bytes: what the standard asks of everybody.
const MAX_STATE: usize = 512;
/// Bytes of the durable form before the `tracestate`.
const FIXED: usize = 25;
/// Length of a `traceparent`, bytes.
const TRACEPARENT: usize = 55;
/// Flag: somebody may be recording the trace.
const SAMPLED: u8 = 1;

/// A span, and the trace that it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// From the headers `traceparent` and `tracestate`; `None` where the first is missing or is none. A `tracestate` that
    /// is none is left out, as the standard has it.
    #[must_use]
    pub fn from_headers(traceparent: Option<&[u8]>, tracestate: Option<&[u8]>) -> Option<Self> {
        let text = traceparent?;
        let fixed: &[u8; TRACEPARENT] = text.first_chunk()?;
        let version = hex::<1>(fixed.get(..2)?)?;
        let dashes = [2, 35, 52].iter().all(|at| fixed.get(*at) == Some(&b'-'));
        // Later versions may only append.
        let ends = match text.get(TRACEPARENT) {
            None => true,
            Some(next) => version != [0] && *next == b'-',
        };
        if version == [0xff] || !dashes || !ends {
            return None;
        }
        let [flags] = hex::<1>(fixed.get(53..)?)?;
        let state = tracestate.and_then(|state| std::str::from_utf8(state).ok()).filter(|state| is_state(state));
        Self {
            trace_id: hex(fixed.get(3..35)?)?,
            span_id: hex(fixed.get(36..52)?)?,
            flags,
            state: state.map(Arc::from),
        }
        .checked()
    }

    /// The span in which `name` (a stage) handles what has `lineage` and was written under `parent`. Without a parent it
    /// begins the trace that is named as the lineage.
    #[must_use]
    pub fn enter(parent: Option<&Self>, lineage: Lineage, name: &str) -> Self {
        let span_id = lineage.span(name, parent.map(Self::span_id));
        match parent {
            Some(parent) => Self { span_id, ..parent.clone() },
            None => Self { trace_id: trace_of(parent, lineage), span_id, flags: SAMPLED, state: None },
        }
    }

    /// Id of the trace, never all zero.
    #[must_use]
    pub fn trace_id(&self) -> &[u8; 16] {
        &self.trace_id
    }

    /// Id of the span, never all zero.
    #[must_use]
    pub fn span_id(&self) -> &[u8; 8] {
        &self.span_id
    }

    /// Whether whoever began the trace said that it may be recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace flags.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// `tracestate`, unchanged.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The header `traceparent`, version 00.
    #[must_use]
    pub fn traceparent(&self) -> [u8; TRACEPARENT] {
        let mut text = [b'-'; TRACEPARENT];
        let ids = [(0, &[0][..]), (3, &self.trace_id), (36, &self.span_id), (53, std::slice::from_ref(&self.flags))];
        let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
        for (at, bytes) in ids {
            let (pairs, _) = text.get_mut(at..).unwrap_or_default().as_chunks_mut();
            for (to, b) in pairs.iter_mut().zip(bytes) {
                *to = [digit(b >> 4), digit(b & 15)];
            }
        }
        text
    }

    /// The durable form: trace id, span id, flags, `tracestate`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let state = self.state.as_deref().unwrap_or_default().as_bytes();
        let mut bytes = Vec::with_capacity(FIXED + state.len());
        bytes.extend_from_slice(&self.trace_id);
        bytes.extend_from_slice(&self.span_id);
        bytes.push(self.flags);
        bytes.extend_from_slice(state);
        bytes
    }

    /// From the durable form; `None` where it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace_id, rest) = bytes.split_first_chunk()?;
        let (span_id, rest) = rest.split_first_chunk()?;
        let (flags, state) = rest.split_first()?;
        let state = std::str::from_utf8(state).ok()?;
        let state = (!state.is_empty()).then(|| Arc::from(state));
        Self { trace_id: *trace_id, span_id: *span_id, flags: *flags, state }.checked()
    }

    fn checked(self) -> Option<Self> {
        (self.trace_id != [0; 16] && self.span_id != [0; 8]).then_some(self)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.traceparent().iter().try_for_each(|b| write!(f, "{}", char::from(*b)))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Id of the trace in which something with `lineage` is handled that was written under `parent`.
#[must_use]
pub fn trace_of(parent: Option<&TraceContext>, lineage: Lineage) -> [u8; 16] {
    match parent {
        Some(parent) => parent.trace_id,
        // The standard knows no trace of zeros.
        None if *lineage.as_bytes() == [0; 16] => 1_u128.to_be_bytes(),
        None => *lineage.as_bytes(),
    }
}

fn is_state(state: &str) -> bool {
    !state.is_empty() && state.len() <= MAX_STATE && state.bytes().all(|b| (b' '..=b'~').contains(&b) || b == b'\t')
}

// Lower-case digits only, as the standard has it.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Which traces are recorded: decided by the trace id alone, so that a trace is whole or absent, whoever decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampler {
    /// Of 2^63.
    below: u64,
}

impl Sampler {
    /// Records nothing.
    pub const OFF: Self = Self { below: 0 };

    /// Records so many of a million traces; all of them from a million on.
    #[must_use]
    pub fn per_million(share: u32) -> Self {
        let below = (u128::from(share.min(1_000_000)) << 63) / 1_000_000;
        Self { below: u64::try_from(below).unwrap_or(u64::MAX) }
    }

    /// Whether it records anything at all.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.below > 0
    }

    /// Whether the trace with this id is recorded. As the SDKs of OpenTelemetry decide it (`traceidratio`).
    #[must_use]
    pub fn takes(self, trace_id: &[u8; 16]) -> bool {
        let low = trace_id.last_chunk().map_or(0, |low| u64::from_be_bytes(*low));
        low >> 1 < self.below
    }

    /// Whether the span is recorded: nothing is against the word of whoever began the trace.
    #[must_use]
    pub fn records(self, span: &TraceContext) -> bool {
        self.is_on() && span.is_sampled() && self.takes(&span.trace_id)
    }
}

/// What was done in a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanWork {
    /// A record was handled.
    Record {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
        /// Offset; `None` for one handed on in memory.
        offset: Option<i64>,
    },
    /// A timer was handled; its key stands in the span.
    Timer,
    /// A record was written about what came from outside: a broker's report.
    Report {
        /// Topic that it was written to.
        topic: &'static str,
    },
    /// An intent was sent to the broker, or not: from its commit to the answer.
    Send {
        /// received, not_sent or unknown.
        outcome: &'static str,
    },
    /// A record was sent on to the partition that its key asks for.
    Forward {
        /// Topic that it stood in.
        topic: Arc<str>,
        /// Topic that it went to.
        to: &'static str,
    },
}

/// A handling of a record or timer, for export. It counts once its batch is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The span.
    pub context: TraceContext,
    /// Span that wrote the record or set the timer; `None`: the trace begins here.
    pub parent: Option<[u8; 8]>,
    /// A span of another trace on whose account this happened: that of a command for what it does to an order.
    pub link: Option<TraceContext>,
    /// Stage.
    pub stage: &'static str,
    /// Key of the record or timer.
    pub key: Arc<str>,
    /// What was done.
    pub work: SpanWork,
    /// Records written.
    pub outputs: usize,
    /// Code of the poison, where it became a dead letter.
    pub poison: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<TraceContext> {
        TraceContext::from_headers(Some(text.as_bytes()), None)
    }

    #[test]
    fn the_standards_example_is_read_and_written() {
        let context = parse(PARENT).unwrap();
        assert_eq!(context.to_string(), PARENT);
        assert_eq!(context.traceparent(), PARENT.as_bytes());
        assert!(context.is_sampled());
        assert!(!parse(&PARENT.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn what_the_standard_refuses_is_none() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-"),
            &format!("{PARENT}0"),
            &PARENT.to_uppercase(),
            &PARENT.replace('-', "_"),
            &format!("ff{}", &PARENT[2..]),
            &PARENT.replace(id, &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PARENT.replace('b', "g"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(TraceContext::from_headers(None, Some(b"a=1")), None);
    }

    #[test]
    fn a_later_version_may_only_append() {
        let later = PARENT.replacen("00-", "01-", 1);
        assert_eq!(parse(&later).unwrap().to_string(), PARENT, "written in our version");
        assert!(parse(&format!("{later}-what-comes")).is_some());
        assert_eq!(parse(&format!("{later}x")), None);
    }

    #[test]
    fn tracestate_is_passed_on_or_left_out() {
        let read = |state: &[u8]| {
            let context = TraceContext::from_headers(Some(PARENT.as_bytes()), Some(state)).unwrap();
            context.state().map(str::to_owned)
        };
        assert_eq!(
            read(b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE").as_deref(),
            Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
        );
        assert_eq!(read(b""), None);
        assert_eq!(read("ö=1".as_bytes()), None);
        assert_eq!(read(&[b'a'; 513]), None);
        let child = TraceContext::enter(
            TraceContext::from_headers(Some(PARENT.as_bytes()), Some(b"a=1")).as_ref(),
            Lineage::root("t", "1"),
            "s",
        );
        assert_eq!(child.state(), Some("a=1"));
    }

    #[test]
    fn a_trace_without_a_parent_is_named_as_the_lineage() {
        let lineage = Lineage::root("decisions", "1");
        let first = TraceContext::enter(None, lineage, "oms");
        assert_eq!(first.trace_id(), lineage.as_bytes());
        assert!(first.is_sampled());
        // Another reader of the same record has a span of its own; nobody depends on anything but lineage and name.
        let other = TraceContext::enter(None, lineage, "risk");
        assert_eq!(first.trace_id(), other.trace_id());
        assert_ne!(first.span_id(), other.span_id());
        assert_eq!(first, TraceContext::enter(None, Lineage::root("decisions", "1"), "oms"));
        let zero = Lineage::from_slice(&[0; 16]).unwrap();
        assert!(TraceContext::enter(None, zero, "s").checked().is_some());
    }

    #[test]
    fn flags_of_the_producer_stay() {
        let parent = parse(&PARENT.replace("-01", "-00")).unwrap();
        assert!(!TraceContext::enter(Some(&parent), Lineage::root("t", "1"), "s").is_sampled());
    }

    #[test]
    fn a_sampler_keeps_its_share_and_nothing_against_the_producer() {
        let traces = || (0..20_000).map(|n| TraceContext::enter(None, Lineage::root("t", &n.to_string()), "s"));
        let kept = |share| traces().filter(|t| Sampler::per_million(share).records(t)).count();
        assert_eq!(kept(1_000_000), 20_000);
        assert_eq!(kept(0), 0);
        assert!((4_500..5_500).contains(&kept(250_000)), "{}", kept(250_000));
        // Who keeps less keeps a part of what others keep.
        assert!(
            traces().all(|t| !Sampler::per_million(100_000).records(&t) || Sampler::per_million(200_000).records(&t))
        );
        let refused = parse(&PARENT.replace("-01", "-00")).unwrap();
        assert!(!Sampler::per_million(1_000_000).records(&refused));
        assert!(Sampler::per_million(1_000_000).takes(&[0xff; 16]));
    }

    proptest! {
        #[test]
        fn both_forms_come_back(trace: [u8; 16], span: [u8; 8], flags: u8, state in proptest::option::of("[a-z]{1,9}=[ -~]{1,90}")) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let context = TraceContext { trace_id: trace, span_id: span, flags, state: state.map(Arc::from) };
            prop_assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context.clone()));
            let state = context.state().map(str::as_bytes);
            prop_assert_eq!(TraceContext::from_headers(Some(&context.traceparent()), state), Some(context));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, state: Vec<u8>) {
            let _ = TraceContext::from_headers(Some(&bytes), Some(&state));
            if let Some(context) = TraceContext::from_bytes(&bytes) {
                prop_assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context));
            }
        }
    }
}
