//! Holds the invariants of `fillstream audit` against a run after every decision of a transaction.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_audit::{AuditReport, CommittedRecord, Evidence, TopicRef};
use fillstream_core::group::Group;
use fillstream_core::record::{Payload, header};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{ExecutionReport, Slice};
use fillstream_schemas::types::{ExecType, OrdStatus};
use fillstream_testkit::{LONGEST_TABLE_LAG_US, Log, TestkitError};

use crate::error::SimError;
use crate::probe::COUNTS;
use crate::venue::Witness;

/// What the gateway reported as never sent, never reaches the venue.
const REFUSED_NEVER_SENT: &str = "refused_never_sent";

/// A poisoned record leaves no state and no output: the probe's counts go on without a gap.
const POISON_LEAVES_NOTHING: &str = "poison_leaves_nothing";

/// What was examined, by invariant.
pub(crate) type Examined = BTreeMap<String, u64>;

/// Follows a run.
pub(crate) struct Auditor {
    evidence: Evidence,
    witness: Witness,
    next: usize,
    lines: usize,
    judged: usize,
    paced: bool,
    /// ClOrdIDs that the gateway has reported rejected of its own accord.
    refused: Vec<String>,
    /// ClOrdIDs of which nobody can say whether the broker has them: their orders stay open, until the broker says.
    unknown: BTreeSet<String>,
    /// Last count that the probe has told, by portfolio.
    counted: BTreeMap<String, i32>,
    pub(crate) prefixes: usize,
    pub(crate) examined: Examined,
}

impl Auditor {
    pub(crate) fn new<'g>(
        groups: impl IntoIterator<Item = &'g Group>,
        witness: Witness,
        paced: bool,
    ) -> Result<Self, SimError> {
        let mut topics = Vec::new();
        for spec in groups.into_iter().flat_map(Group::stages).map(|s| s.spec()) {
            let topic = |name: String, schema: &str| TopicRef { name, schema: schema.to_owned(), table: None };
            topics.extend(spec.outputs.iter().map(|o| topic(o.topic.to_owned(), o.schema)));
            topics.push(topic(format!("{}.dlq", spec.name), "fillstream.engine.DeadLetter"));
        }
        Ok(Self {
            evidence: Evidence::new(&topics)?.with_lateness(LONGEST_TABLE_LAG_US),
            witness,
            next: 0,
            lines: 0,
            judged: 0,
            paced,
            refused: Vec::new(),
            unknown: BTreeSet::new(),
            counted: BTreeMap::new(),
            prefixes: 0,
            examined: Examined::new(),
        })
    }

    /// Takes in what was decided since the last look, and judges where anything is new, or something was sent.
    pub(crate) fn look(&mut self, log: &Log, now_us: i64) -> Result<(), TestkitError> {
        self.take(log)?;
        let told = self.witness.borrow().len() > self.lines;
        if told || self.next > self.judged {
            self.judge(now_us, false)?;
        }
        Ok(())
    }

    /// The last judgement, of a run at rest; with an order whose state is unknown, it never comes to rest.
    pub(crate) fn rest(&mut self, log: &Log, now_us: i64) -> Result<(), TestkitError> {
        self.take(log)?;
        self.judge(now_us, self.unknown.is_empty())
    }

    fn take(&mut self, log: &Log) -> Result<(), TestkitError> {
        for at in log.history().get(self.next..).unwrap_or_default() {
            self.next += 1;
            if at.topic.ends_with(".changelog") {
                continue;
            }
            let Some(record) = log.record_at(at) else { continue };
            let value = record.value.as_ref().map(|payload| match payload {
                Payload::Avro(bytes) => Ok(&**bytes),
                Payload::Unreadable { text, .. } => Err(text.as_str()),
            });
            if &*at.topic == "execution.reports.v1" {
                self.note_refusal(record.bytes())?;
            }
            if &*at.topic == COUNTS {
                self.follow_count(record.bytes())?;
            }
            self.evidence.record(&CommittedRecord {
                topic: &at.topic,
                partition: at.partition,
                offset: at.offset,
                key: record.key.as_bytes(),
                value,
                lineage: record.header(header::LINEAGE),
                traceparent: record.header(header::TRACEPARENT),
            });
        }
        Ok(())
    }

    fn note_refusal(&mut self, bytes: &[u8]) -> Result<(), TestkitError> {
        let report = ExecutionReport::decode(bytes).map_err(|e| broken("records_readable", e.to_string()))?;
        match (report.synthetic, report.exec_type, report.ord_status) {
            (true, ExecType::Rejected, _) => self.refused.push(report.cl_ord_id),
            (true, _, OrdStatus::Unknown) => drop(self.unknown.insert(report.cl_ord_id)),
            _ => drop(self.unknown.remove(&report.cl_ord_id)),
        }
        Ok(())
    }

    fn follow_count(&mut self, bytes: &[u8]) -> Result<(), TestkitError> {
        let told = Slice::decode(bytes).map_err(|e| broken("records_readable", e.to_string()))?;
        *self.examined.entry(POISON_LEAVES_NOTHING.to_owned()).or_default() += 1;
        let last = self.counted.entry(told.portfolio_id.clone()).or_default();
        *last += 1;
        if *last == told.slice_no {
            return Ok(());
        }
        let text = format!("{}: event {} is told as number {}", told.portfolio_id, last, told.slice_no);
        Err(broken(POISON_LEAVES_NOTHING, text))
    }

    fn judge(&mut self, now_us: i64, at_rest: bool) -> Result<(), TestkitError> {
        let lines = std::rc::Rc::clone(&self.witness);
        let lines = lines.borrow();
        for line in lines.get(self.lines..).unwrap_or_default() {
            self.evidence.venue_line(line).map_err(|e| broken("venue_journal_readable", e))?;
        }
        (self.lines, self.judged) = (lines.len(), self.next);
        self.prefixes += 1;
        let report = self.evidence.judge(self.paced.then_some(now_us), at_rest);
        self.count(&report)?;
        for id in &self.refused {
            *self.examined.entry(REFUSED_NEVER_SENT.to_owned()).or_default() += 1;
            let named = format!("\"client_order_id\":\"{id}\"");
            let sent = lines.iter().any(|line| line.contains("\"type\":\"order\"") && line.contains(&named));
            if sent {
                return Err(broken(
                    REFUSED_NEVER_SENT,
                    format!("{id} was reported as never sent, and the venue has it"),
                ));
            }
        }
        Ok(())
    }

    fn count(&mut self, report: &AuditReport) -> Result<(), TestkitError> {
        for check in &report.checks {
            *self.examined.entry(check.name.clone()).or_default() += check.examined;
        }
        match report.checks.iter().find(|check| check.violations > 0) {
            Some(check) => {
                let others: Vec<&str> =
                    report.checks.iter().filter(|c| c.violations > 0).map(|c| c.name.as_str()).skip(1).collect();
                Err(broken(&check.name, format!("{} {}", check.examples.join("; "), others.join(" "))))
            }
            None => Ok(()),
        }
    }
}

fn broken(invariant: &str, text: String) -> TestkitError {
    TestkitError::Broken { invariant: invariant.to_owned(), text }
}
