//! Reads everything into facts.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::codec::{AvroRecord, CodecError};
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::engine::{DeadLetter, JournalRecord};
use fillstream_schemas::execution::{
    AccountAllocation, AuditEntry, ChildOrder, ClockTick, ExecutionQuality, ExecutionReport, ExecutionStrategySelected,
    Intent, LimitGrant, LimitRequest, OrderEvent, RiskAlert, RoutingPlan, Slice, ValidatedOrder,
};
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::{Account, Instrument, RiskLimit, WideLimit};
use fillstream_schemas::{Contract, contract, wire};

use crate::error::AuditError;
use crate::facts::{Asked, Batch, Decision, Facts, Letter, Rec, TraceId, Unreadable};
use crate::kafka::{Reader, Seen};
use crate::writers::Writers;
use crate::{AuditConfig, CommittedRecord, TopicRef, clickhouse, http, venue};

pub(crate) const DECISIONS: &str = "coordination.decisions.v1";
pub(crate) const FORWARDED: &str = "coordination.decisions-forwarded.v1";

/// What a topic's records are to the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Decision,
    Order,
    Verdict,
    Allocation,
    Strategy,
    Slice,
    Plan,
    Child,
    Alert,
    Intent,
    Report,
    Quality,
    Audit,
    Account,
    Limit,
    WideLimit,
    Request,
    Grant,
    Instrument,
    Market,
    Tick,
    Letter,
    Journal,
    /// Only that it is there and can be decoded.
    Other,
}

/// Topics that the audit cannot do without.
const NEEDED: [(&str, Kind); 21] = [
    (DECISIONS, Kind::Decision),
    ("execution.orders.v1", Kind::Order),
    ("execution.validated-orders.v1", Kind::Verdict),
    ("execution.allocations.v1", Kind::Allocation),
    ("execution.strategies.v1", Kind::Strategy),
    ("execution.slices.v1", Kind::Slice),
    ("execution.routing-plans.v1", Kind::Plan),
    ("execution.child-orders.v1", Kind::Child),
    ("execution.risk-alerts.v1", Kind::Alert),
    ("execution.intents.v1", Kind::Intent),
    ("execution.reports.v1", Kind::Report),
    ("execution.quality.v1", Kind::Quality),
    ("execution.audit.v1", Kind::Audit),
    ("reference.accounts.v1", Kind::Account),
    ("reference.limits.v1", Kind::Limit),
    ("reference.wide-limits.v1", Kind::WideLimit),
    ("execution.limit-requests.v1", Kind::Request),
    ("execution.limit-grants.v1", Kind::Grant),
    ("reference.instruments.v1", Kind::Instrument),
    ("market.data.v1", Kind::Market),
    (FORWARDED, Kind::Decision),
];
const CLOCK: &str = "execution.clock.v1";
const LETTERS: &str = ".dlq";
const JOURNALS: (&str, &str) = ("fillstream.", ".journal");

fn kind_of(topic: &str) -> Kind {
    if let Some((_, kind)) = NEEDED.iter().find(|(name, _)| *name == topic) {
        return *kind;
    }
    if topic == CLOCK {
        Kind::Tick
    } else if topic.ends_with(LETTERS) {
        Kind::Letter
    } else if topic.starts_with(JOURNALS.0) && topic.ends_with(JOURNALS.1) {
        Kind::Journal
    } else {
        Kind::Other
    }
}

/// Reads every source.
///
/// # Errors
/// One of them cannot be read.
pub(crate) async fn collect(config: &AuditConfig) -> Result<Facts, AuditError> {
    let outage_us = i64::try_from(config.outage.as_micros()).unwrap_or(i64::MAX);
    let mut facts = Facts { outage_us, ..Facts::default() };
    read_topics(config, &mut facts).await?;
    let client = http::client()?;
    if let Some(url) = &config.venue_url {
        facts.venue = Some(venue::read(&client, url).await?);
    }
    if let Some(at) = &config.clickhouse {
        facts.landings = Some(clickhouse::settled(&client, at, &config.topics, &facts.topics).await?);
    }
    Ok(facts)
}

async fn read_topics(config: &AuditConfig, facts: &mut Facts) -> Result<(), AuditError> {
    let reader = Reader::new(&config.kafka)?;
    let there = reader.topics()?;
    let of_engine = |topic: &str| matches!(kind_of(topic), Kind::Tick | Kind::Letter | Kind::Journal);
    let mut wanted: BTreeSet<&str> = there.keys().map(String::as_str).filter(|topic| of_engine(topic)).collect();
    wanted.extend(NEEDED.iter().map(|(topic, _)| *topic));
    wanted.extend(config.topics.iter().map(|topic| topic.name.as_str()));
    if let Some(missing) = wanted.iter().find(|topic| !there.contains_key(**topic)) {
        return Err(AuditError::NoTopic((*missing).to_owned()));
    }
    let names: Vec<&str> = wanted.iter().copied().collect();
    let compacted = reader.compacted(&names).await?;
    let writers = Writers::new(config.registry.as_deref());
    for topic in wanted {
        let kind = kind_of(topic);
        if kind == Kind::Letter {
            facts.letter_topics.insert(topic.to_owned());
        }
        let schema = schema_of(&config.topics, topic, kind)?;
        let partitions = there.get(topic).copied().unwrap_or_default();
        let mut extent = reader.read(topic, partitions, |seen| {
            if let Err(problem) = facts.take(topic, kind, schema, &writers, seen) {
                let (partition, offset) = (seen.partition, seen.offset);
                facts.unreadable.push(Unreadable { topic: topic.to_owned(), partition, offset, problem });
            }
        })?;
        tracing::debug!(topic, records = extent.partitions.values().map(|p| p.offsets.len()).sum::<usize>(), "read");
        extent.compacted = compacted.iter().any(|name| name == topic);
        facts.topics.insert(topic.to_owned(), extent);
    }
    let others = writers.end()?;
    tracing::debug!(others, "records of other versions of their contracts");
    facts.market.settle();
    Ok(())
}

/// The contract of a kind; `None`: the topic's.
fn contract_of(kind: Kind) -> Option<&'static Contract> {
    let name = match kind {
        Kind::Decision => CoordinatedTradingDecision::FULL_NAME,
        Kind::Order => OrderEvent::FULL_NAME,
        Kind::Verdict => ValidatedOrder::FULL_NAME,
        Kind::Allocation => AccountAllocation::FULL_NAME,
        Kind::Strategy => ExecutionStrategySelected::FULL_NAME,
        Kind::Slice => Slice::FULL_NAME,
        Kind::Plan => RoutingPlan::FULL_NAME,
        Kind::Child => ChildOrder::FULL_NAME,
        Kind::Alert => RiskAlert::FULL_NAME,
        Kind::Intent => Intent::FULL_NAME,
        Kind::Report => ExecutionReport::FULL_NAME,
        Kind::Quality => ExecutionQuality::FULL_NAME,
        Kind::Audit => AuditEntry::FULL_NAME,
        Kind::Account => Account::FULL_NAME,
        Kind::Limit => RiskLimit::FULL_NAME,
        Kind::WideLimit => WideLimit::FULL_NAME,
        Kind::Request => LimitRequest::FULL_NAME,
        Kind::Grant => LimitGrant::FULL_NAME,
        Kind::Instrument => Instrument::FULL_NAME,
        Kind::Market => NormalizedMarketData::FULL_NAME,
        Kind::Tick => ClockTick::FULL_NAME,
        Kind::Letter => DeadLetter::FULL_NAME,
        Kind::Journal => JournalRecord::FULL_NAME,
        Kind::Other => return None,
    };
    contract(name)
}

fn schema_of(topics: &[TopicRef], topic: &str, kind: Kind) -> Result<Option<&'static Contract>, AuditError> {
    let named = topics.iter().find(|t| t.name == topic).map(|t| t.schema.as_str());
    match named {
        Some(schema) if kind == Kind::Other => contract(schema)
            .map(Some)
            .ok_or_else(|| AuditError::NoContract { topic: topic.to_owned(), schema: schema.to_owned() }),
        Some(_) | None => Ok(None),
    }
}

/// Decodes a record and keeps it with its coordinates.
fn keep<T: AvroRecord>(into: &mut Vec<Rec<T>>, seen: &Seen<'_>, payload: &[u8]) -> Result<(), CodecError> {
    let value = T::decode(payload)?;
    into.push(Rec {
        partition: seen.partition,
        offset: seen.offset,
        trace: seen.traceparent.and_then(trace_id),
        value,
    });
    Ok(())
}

impl Facts {
    fn take(
        &mut self,
        topic: &str,
        kind: Kind,
        schema: Option<&'static Contract>,
        writers: &Writers,
        seen: &Seen<'_>,
    ) -> Result<(), String> {
        // A tombstone ends a row of a table; nothing is decided from it here.
        let Some(value) = seen.value else { return Ok(()) };
        let (id, payload) = wire::split(value).map_err(|e| e.to_string())?;
        let payload = match contract_of(kind).or(schema) {
            Some(contract) => writers.own(id, contract, payload)?,
            None => payload.into(),
        };
        self.decode(topic, kind, schema, seen, &payload).map_err(|e| e.to_string())
    }

    fn decode(
        &mut self,
        topic: &str,
        kind: Kind,
        schema: Option<&'static Contract>,
        seen: &Seen<'_>,
        payload: &[u8],
    ) -> Result<(), CodecError> {
        let (partition, offset) = (seen.partition, seen.offset);
        let trace = seen.traceparent.and_then(trace_id);
        match kind {
            Kind::Decision => {
                let content = CoordinatedTradingDecision::decode(payload)?;
                let value = Decision { topic: topic.to_owned(), lineage: seen.lineage.map(hex), content };
                self.decisions.push(Rec { partition, offset, trace, value });
            }
            Kind::Order => keep(&mut self.orders, seen, payload)?,
            Kind::Verdict => keep(&mut self.verdicts, seen, payload)?,
            Kind::Allocation => keep(&mut self.allocations, seen, payload)?,
            Kind::Strategy => keep(&mut self.strategies, seen, payload)?,
            Kind::Slice => keep(&mut self.slices, seen, payload)?,
            Kind::Plan => keep(&mut self.plans, seen, payload)?,
            Kind::Child => keep(&mut self.children, seen, payload)?,
            Kind::Alert => keep(&mut self.alerts, seen, payload)?,
            Kind::Intent => keep(&mut self.intents, seen, payload)?,
            Kind::Report => keep(&mut self.reports, seen, payload)?,
            Kind::Quality => keep(&mut self.quality, seen, payload)?,
            Kind::Audit => keep(&mut self.audit, seen, payload)?,
            Kind::Account => keep(&mut self.accounts, seen, payload)?,
            Kind::Limit => keep(&mut self.limits, seen, payload)?,
            Kind::WideLimit => keep(&mut self.wide_limits, seen, payload)?,
            Kind::Grant => keep(&mut self.grants, seen, payload)?,
            Kind::Request => {
                let content = LimitRequest::decode(payload)?;
                let value = Asked { lineage: seen.lineage.map(<[u8]>::to_vec), content };
                self.requests.push(Rec { partition, offset, trace, value });
            }
            Kind::Instrument => keep(&mut self.instruments, seen, payload)?,
            Kind::Market => self.market.take(&NormalizedMarketData::decode(payload)?),
            Kind::Tick => {
                let instant = ClockTick::decode(payload)?.instant.micros();
                self.last_tick = Some(self.last_tick.map_or(instant, |last| last.max(instant)));
            }
            Kind::Letter => {
                let value = Letter { topic: topic.to_owned(), letter: DeadLetter::decode(payload)? };
                self.letters.push(Rec { partition, offset, trace, value });
            }
            Kind::Journal => {
                let JournalRecord { sequence, written, code_version, .. } = JournalRecord::decode(payload)?;
                let is_regroup = code_version.is_empty();
                let key = String::from_utf8_lossy(seen.key.unwrap_or_default()).into_owned();
                let value = Batch { topic: topic.to_owned(), key, sequence, is_regroup, written };
                self.batches.push(Rec { partition, offset, trace, value });
            }
            Kind::Other => {
                if let Some(schema) = schema {
                    schema.decode_to_value(payload)?;
                }
            }
        }
        Ok(())
    }
}

/// Facts one record after the other, of a run whose log the caller holds.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    facts: Facts,
    schemas: BTreeMap<String, Option<&'static Contract>>,
    settled: bool,
}

impl Gathering {
    pub(crate) fn new(topics: &[TopicRef]) -> Result<Self, AuditError> {
        let mut gathering = Self::default();
        for topic in topics {
            let kind = kind_of(&topic.name);
            if kind == Kind::Letter {
                gathering.facts.letter_topics.insert(topic.name.clone());
            }
            gathering.schemas.insert(topic.name.clone(), schema_of(topics, &topic.name, kind)?);
        }
        Ok(gathering)
    }

    pub(crate) fn record(&mut self, record: &CommittedRecord<'_>) {
        let (topic, kind) = (record.topic, kind_of(record.topic));
        let partitions = &mut self.facts.topics.entry(topic.to_owned()).or_default().partitions;
        let held = partitions.entry(record.partition).or_default();
        // Transactions of one partition are not decided in the order of their first records.
        let at = held.offsets.partition_point(|offset| *offset < record.offset);
        held.offsets.insert(at, record.offset);
        held.end = held.end.max(record.offset.saturating_add(1));
        let value = match record.value {
            None => return,
            Some(Ok(payload)) => {
                let seen = Seen {
                    partition: record.partition,
                    offset: record.offset,
                    key: Some(record.key),
                    value: Some(payload),
                    lineage: record.lineage,
                    traceparent: record.traceparent,
                };
                let schema = self.schemas.get(topic).copied().flatten();
                self.settled &= kind != Kind::Market;
                self.facts.decode(topic, kind, schema, &seen, payload).map_err(|e| e.to_string())
            }
            Some(Err(problem)) => Err(problem.to_owned()),
        };
        if let Err(problem) = value {
            let (partition, offset) = (record.partition, record.offset);
            self.facts.unreadable.push(Unreadable { topic: topic.to_owned(), partition, offset, problem });
        }
    }

    pub(crate) fn venue_line(&mut self, line: &str) -> Result<(), String> {
        self.facts.venue.get_or_insert_default().line(line)
    }

    /// The facts up to here; `last_tick` in market time where a pacer moves it.
    pub(crate) fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }

    pub(crate) fn facts(&mut self, last_tick: Option<i64>, at_rest: bool) -> &Facts {
        if !std::mem::replace(&mut self.settled, true) {
            self.facts.market.settle();
        }
        (self.facts.last_tick, self.facts.under_way) = (last_tick, !at_rest);
        &self.facts
    }
}

// 00-<trace id, 32 digits>-<span id, 16>-<flags, 2>
fn trace_id(traceparent: &[u8]) -> Option<TraceId> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let (id, _) = text.strip_prefix("00-")?.split_once('-')?;
    (text.len() == 55 && id.len() == 32).then(|| u128::from_str_radix(id, 16).ok())?.map(u128::to_be_bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_schemas::execution::Command;

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_names_its_trace() {
        assert_eq!(trace_id(PARENT).map(|id| hex(&id)).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [&PARENT[..54], &PARENT[1..], b"", b"00-x", b"\xff"] {
            assert_eq!(trace_id(bad), None);
        }
    }

    fn framed(record: &impl AvroRecord) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::frame(7, &mut bytes);
        record.encode(&mut bytes);
        bytes
    }

    fn seen<'a>(offset: i64, value: Option<&'a [u8]>) -> Seen<'a> {
        Seen { partition: 3, offset, key: Some(b"key"), value, lineage: Some(&[0xab, 1]), traceparent: Some(PARENT) }
    }

    fn take(facts: &mut Facts, topic: &str, value: Option<&[u8]>) -> Result<(), String> {
        facts.take(
            topic,
            kind_of(topic),
            contract("fillstream.execution.Command"),
            &Writers::default(),
            &seen(5, value),
        )
    }

    #[test]
    fn records_become_facts_of_their_kind() {
        let mut facts = Facts::default();
        let order = framed(&OrderEvent { order_id: "O".into(), ..OrderEvent::default() });
        take(&mut facts, "execution.orders.v1", Some(&order)).unwrap();
        assert_eq!((facts.orders[0].partition, facts.orders[0].offset), (3, 5));
        assert_eq!(facts.orders[0].value.order_id, "O");
        assert_eq!(facts.orders[0].trace, trace_id(PARENT));
        take(&mut facts, FORWARDED, Some(&framed(&CoordinatedTradingDecision::default()))).unwrap();
        assert_eq!(facts.decisions[0].value.lineage.as_deref(), Some("ab01"));
        let journal = framed(&JournalRecord { sequence: 9, ..JournalRecord::default() });
        take(&mut facts, "fillstream.order-path.journal", Some(&journal)).unwrap();
        assert_eq!((facts.batches[0].value.sequence, facts.batches[0].value.key.as_str()), (9, "key"));
        for instant in [20, 10] {
            let instant = fillstream_schemas::TimestampMicros::from_micros(instant);
            take(&mut facts, CLOCK, Some(&framed(&ClockTick { instant, ..ClockTick::default() }))).unwrap();
        }
        assert_eq!(facts.last_tick, Some(20));
        take(&mut facts, "tca.dlq", Some(&framed(&DeadLetter::default()))).unwrap();
        assert_eq!(facts.letters[0].value.topic, "tca.dlq");
        take(&mut facts, "execution.commands.v1", Some(&framed(&Command::default()))).unwrap();
        take(&mut facts, "execution.limit-requests.v1", Some(&framed(&LimitRequest::default()))).unwrap();
        assert_eq!(facts.requests[0].value.lineage.as_deref(), Some([0xab, 1].as_slice()));
        take(&mut facts, "reference.limits.v1", None).unwrap();
        assert!(facts.limits.is_empty(), "a tombstone");
    }

    #[test]
    fn what_is_none_of_its_contract_is_told() {
        let mut facts = Facts::default();
        let order = framed(&OrderEvent::default());
        for topic in ["execution.orders.v1", "execution.commands.v1", "market.data.v1", "order-management.dlq", CLOCK] {
            for bad in [order.get(..order.len() - 1).unwrap(), &[0, 0, 0, 0], &[1, 0, 0, 0, 7], &[]] {
                assert!(take(&mut facts, topic, Some(bad)).is_err(), "{topic} {bad:?}");
            }
        }
        assert!(facts.orders.is_empty() && facts.letters.is_empty() && facts.last_tick.is_none());
    }

    #[test]
    fn every_topic_that_is_needed_has_its_kind() {
        assert!(NEEDED.iter().all(|(topic, kind)| kind_of(topic) == *kind));
        let others = [Kind::Tick, Kind::Letter, Kind::Journal];
        assert!(NEEDED.iter().map(|(_, kind)| *kind).chain(others).all(|kind| contract_of(kind).is_some()));
        assert_eq!(kind_of("fillstream.order-path.changelog"), Kind::Other);
        assert_eq!(kind_of("execution.trades.v1"), Kind::Other);
    }
}
