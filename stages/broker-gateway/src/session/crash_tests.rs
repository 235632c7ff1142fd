//! A session that crashes anywhere, against a broker that refuses ClOrdIDs it has seen: every order executes exactly
//! once, and everything said about it arrives exactly once.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_domain::{ExecType, OrdStatus};
use fillstream_schemas::execution::{ChildAction, ExecutionReport};
use proptest::prelude::*;

use super::tests::{at, child, identity, intents, report, reports};
use super::*;

/// What survives a crash.
#[derive(Default)]
struct Durable {
    changelog: BTreeMap<String, Vec<u8>>,
    intents: Vec<Intent>,
    reports: Vec<ExecutionReport>,
    strays: usize,
    broker: Broker,
}

/// Keeps every id for ever and executes each new order at once.
#[derive(Default)]
struct Broker {
    known: BTreeSet<String>,
    executed: Vec<(String, Intent)>,
    said: Vec<BrokerReport>,
}

impl Broker {
    fn take(&mut self, intent: &Intent) {
        let id = intent.child.cl_ord_id.clone();
        if !self.known.insert(id.clone()) {
            return;
        }
        self.executed.push((id.clone(), intent.clone()));
        let next = |broker: &Self| i64::try_from(broker.said.len()).unwrap() + 1;
        if intent.child.action == ChildAction::Cancel {
            let seq = next(self);
            let mut answer = report(seq, &format!("{id}:1"), &id, ExecType::OrderStatus, OrdStatus::Filled, 100);
            answer.orig_cl_ord_id = intent.child.orig_cl_ord_id.clone();
            return self.said.push(answer);
        }
        for (n, exec_type, status, cum) in
            [(1, ExecType::New, OrdStatus::New, 0), (2, ExecType::Trade, OrdStatus::Filled, 100)]
        {
            let seq = next(self);
            self.said.push(report(seq, &format!("{id}:{n}"), &id, exec_type, status, cum));
        }
        // A repeat under a new number.
        if let Some(last) = self.said.last().cloned() {
            let seq = next(self);
            self.said.push(BrokerReport { seq, ..last });
        }
    }
}

/// Where the run crashes: the next byte of the script decides at each point.
struct Fate<'a>(std::slice::Iter<'a, u8>);

impl Fate<'_> {
    fn crashes(&mut self) -> Result<(), Crash> {
        if self.0.next().is_some_and(|byte| *byte < 60) { Err(Crash) } else { Ok(()) }
    }

    fn flips(&mut self) -> bool {
        self.0.next().is_some_and(|byte| byte % 2 == 0)
    }
}

struct Crash;

impl Durable {
    fn commit(&mut self, session: &mut Session, fate: &mut Fate<'_>) -> Result<(), Crash> {
        let commit = session.finish();
        fate.crashes()?;
        for entry in &commit.changelog {
            let key = format!("{}/{}", entry.store, entry.key);
            match &entry.value {
                Some(value) => self.changelog.insert(key, value.clone()),
                None => self.changelog.remove(&key),
            };
        }
        self.intents.extend(intents(&commit));
        self.reports.extend(reports(&commit));
        self.strays += commit.strays.len();
        fate.crashes()
    }

    fn restore(&self) -> Session {
        let mut restore = Restore::default();
        for (key, value) in &self.changelog {
            restore.take("S", key, Some(value)).unwrap();
        }
        restore.into_session(identity(), "topic-id", 0).unwrap()
    }

    /// Sends what is pending, as the runner does: in doubt, the broker is asked first.
    fn deliver(&mut self, session: &mut Session, mut in_doubt: bool, fate: &mut Fate<'_>) -> Result<(), Crash> {
        for intent in session.pending() {
            loop {
                let known = in_doubt && self.broker.known.contains(&intent.child.cl_ord_id);
                if !known {
                    fate.crashes()?;
                    self.broker.take(&intent);
                    fate.crashes()?;
                    // The answer is lost: it may have been taken.
                    if fate.flips() {
                        in_doubt = true;
                        continue;
                    }
                }
                session.answer(&intent.child.cl_ord_id, &Answer::Received);
                break;
            }
        }
        Ok(())
    }

    fn live(&mut self, children: &[ChildInput], clock: &mut i64, fate: &mut Fate<'_>) -> Result<(), Crash> {
        let mut session = self.restore();
        self.deliver(&mut session, true, fate)?;
        loop {
            *clock += 1;
            session.begin(at(*clock));
            let start = usize::try_from(session.head().in_seq).unwrap();
            for report in self.broker.said.get(start..).unwrap_or_default() {
                session.take_report(report.clone()).unwrap();
            }
            let next = usize::try_from(session.head().input_offset).unwrap();
            let batch = if fate.flips() { 2 } else { 1 };
            for input in children.iter().skip(next).take(batch) {
                session.take_child(input.clone(), Ok(()));
            }
            let idle = !session.has_changes();
            self.commit(&mut session, fate)?;
            self.deliver(&mut session, false, fate)?;
            if idle && next == children.len() {
                return Ok(());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_order_executes_exactly_once_wherever_it_crashes(
        script in proptest::collection::vec(any::<u8>(), 0..160),
        orders in 1_i64..7,
    ) {
        let mut children: Vec<ChildInput> = Vec::new();
        for n in 0..orders {
            children.push(child(n * 2, ChildAction::New, &format!("C{n}"), None));
            children.push(child(n * 2 + 1, ChildAction::Cancel, &format!("X{n}"), Some(&format!("C{n}"))));
        }
        let (mut world, mut clock, mut fate) = (Durable::default(), 0, Fate(script.iter()));
        while world.live(&children, &mut clock, &mut fate).is_err() {}

        let executed: Vec<&str> = world.broker.executed.iter().map(|(id, _)| id.as_str()).collect();
        let unique: BTreeSet<&str> = executed.iter().copied().collect();
        prop_assert_eq!(executed.len(), unique.len());
        for n in 0..orders {
            let id = format!("C{n}");
            prop_assert!(unique.contains(id.as_str()));
        }
        for (id, sent) in &world.broker.executed {
            let committed = world.intents.iter().find(|i| i.child.cl_ord_id == *id);
            prop_assert_eq!(committed, Some(sent), "sent without its intent, or with other fields");
        }
        let numbers: Vec<i64> = world.intents.iter().map(|i| i.out_seq).collect();
        prop_assert_eq!(numbers, (1..=i64::try_from(world.intents.len()).unwrap()).collect::<Vec<_>>());
        // Every ExecID of the broker once; of each cancel one report, whoever made it.
        let mut exec_ids: Vec<&str> = world.reports.iter().map(|r| r.exec_id.as_str()).collect();
        let said: BTreeSet<&str> = world.broker.said.iter().map(|r| r.exec_id.as_str()).collect();
        prop_assert!(said.iter().all(|id| exec_ids.contains(id)));
        let count = exec_ids.len();
        exec_ids.sort_unstable();
        exec_ids.dedup();
        prop_assert_eq!(exec_ids.len(), count, "a report twice");
        for n in 0..orders {
            let of = world.reports.iter().filter(|r| r.cl_ord_id == format!("X{n}")).count();
            prop_assert_eq!(of, 1);
        }
        prop_assert_eq!(world.strays, 0);
    }
}
