//! Live: the clock of the operating system.

use std::time::Duration;

use fillstream_schemas::execution::ChildOrder;
use tracing::info;

use super::actor::Actor;
use super::wire;
use super::writer::Letter;
use crate::adapter::{BrokerAdapter, BrokerReport};
use crate::error::GatewayError;
use crate::gate::Verdict;
use crate::reason::Refusal;
use crate::session::ChildInput;
use fillstream_kafka::client::Received;

/// A child order, or why it can never be one.
pub(crate) enum Read {
    Child(Box<ChildInput>),
    Letter(Letter),
}

impl<A: BrokerAdapter> Actor<A> {
    /// Works until asked to stop.
    pub(crate) fn live(&mut self) -> Result<(), GatewayError> {
        self.session.begin(self.live_now());
        self.deliver(true)?;
        while !self.stop.is_set() {
            let reports = self.reports_here()?;
            let patience = if reports.is_empty() && !self.session.has_outputs() { self.config.poll_ms } else { 0 };
            let children = self.children_here(Duration::from_millis(patience))?;
            let prove = self.stream.was_replaced();
            if reports.is_empty() && children.is_empty() && !self.session.has_outputs() && !prove {
                continue;
            }
            let now = self.live_now();
            self.session.begin(now);
            for report in reports {
                self.session.take_report(report)?;
            }
            for read in children {
                self.take(read);
            }
            // Where another connection took the reports, this commit also tells whether the session is still ours.
            self.commit()?;
            self.deliver(false)?;
        }
        // What the broker answered need not be asked by the successor.
        if self.session.has_changes() {
            self.session.begin(self.live_now());
            self.commit()?;
        }
        info!(session = self.session.name(), "session stopped");
        Ok(())
    }

    /// Takes a child order in, or a letter for the dead.
    pub(crate) fn take(&mut self, read: Read) {
        match read {
            Read::Child(input) => {
                let gate = self.first_look(&input.child);
                self.session.take_child(*input, gate);
            }
            Read::Letter(letter) => {
                self.session.skip_input(letter.offset);
                self.letters.push(letter);
            }
        }
    }

    // What is refused anyway needs no intent. Controls that are only stale may be fresh again before the write.
    fn first_look(&self, child: &ChildOrder) -> Result<(), Refusal> {
        match self.gate(child, self.session.now()) {
            Verdict::Pass | Verdict::Wait => Ok(()),
            Verdict::Refuse(refusal) => Err(refusal),
        }
    }

    fn reports_here(&mut self) -> Result<Vec<BrokerReport>, GatewayError> {
        let mut reports = Vec::new();
        while reports.len() < self.config.max_batch
            && let Some(report) = self.stream.take()?
        {
            reports.push(report);
        }
        Ok(reports)
    }

    fn children_here(&mut self, patience: Duration) -> Result<Vec<Read>, GatewayError> {
        let mut children = Vec::new();
        let mut timeout = patience;
        while children.len() < self.config.max_batch
            && let Some(record) = self.children.poll(timeout)?
        {
            children.push(self.read_child(&record)?);
            timeout = Duration::ZERO;
        }
        Ok(children)
    }

    /// Reads a record of the child orders.
    pub(crate) fn read_child(&mut self, record: &Received) -> Result<Read, GatewayError> {
        Ok(match wire::decode::<ChildOrder>(self.writer.framing(), record)? {
            Ok(child) => {
                let (origin_us, trace) = (wire::origin(record), wire::trace(record));
                Read::Child(Box::new(ChildInput { offset: record.offset, child, origin_us, trace }))
            }
            Err(unreadable) => Read::Letter(Letter {
                offset: record.offset,
                key: record.key.clone(),
                value: record.value.clone().unwrap_or_default(),
                code: unreadable.code,
                text: unreadable.text,
            }),
        })
    }
}
