//! What a worker asks of ClickHouse while it goes on polling.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use fillstream_kafka::client::{KafkaClient, TopicPartition};

use super::partition::Insert;
use crate::error::SinkError;
use crate::plan::{Bounds, Found};
use crate::sink::Sink;

/// An answer, for the ownership it was asked for.
pub(super) struct Answer {
    pub(super) tp: TopicPartition,
    pub(super) epoch: u64,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// Of an insert.
    Insert(Result<Inserted, SinkError>),
    /// Whether the server has written all it was told to.
    Guarded(Result<(), SinkError>),
    /// What the table has, and the server's clock in microseconds.
    Found(Result<(Found, i64), SinkError>),
    /// Highest offset in the table.
    Highest(Result<Option<i64>, SinkError>),
}

/// An insert that the server has answered.
pub(super) struct Inserted {
    /// How long it took.
    pub(super) took: Duration,
    /// No write of the server has failed since before it was sent.
    pub(super) is_written: bool,
}

/// Sends answers to the worker; one that has gone wants none.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) to: Sender<Answer>,
    pub(super) tp: TopicPartition,
    pub(super) epoch: u64,
}

impl Desk {
    fn answer(self, content: Content) {
        let _ = self.to.send(Answer { tp: self.tp, epoch: self.epoch, content });
    }
}

pub(super) fn insert<C: KafkaClient>(sink: &Sink<C>, desk: Desk, insert: Arc<Insert>) {
    let (server, inserts, guard) = (sink.server.clone(), Arc::clone(&sink.inserts), Arc::clone(&sink.guard));
    sink.spawn(async move {
        let outcome = {
            // Never closed. One that waits beyond its deadline is refused by the server.
            let _turn = inserts.acquire().await;
            let (began, good) = (Instant::now(), guard.good());
            let outcome = server.insert(&insert.sql, &insert.token, &insert.file).await;
            outcome.map(|()| (began.elapsed(), good))
        };
        let outcome = match outcome {
            Ok((took, good)) => guard.wrote_all_since(good).await.map(|is_written| Inserted { took, is_written }),
            Err(e) => Err(e),
        };
        desk.answer(Content::Insert(outcome));
    });
}

/// Looks for writes that have failed while nobody inserts: merges write too.
pub(super) fn guard<C: KafkaClient>(sink: &Sink<C>, desk: Desk) {
    let guard = Arc::clone(&sink.guard);
    sink.spawn(async move { desk.answer(Content::Guarded(guard.inspect().await)) });
}

pub(super) fn ask<C: KafkaClient>(sink: &Sink<C>, desk: Desk, table: String, bounds: Bounds, token: String) {
    let (server, guard) = (sink.server.clone(), Arc::clone(&sink.guard));
    sink.spawn(async move {
        // Rows that are counted must be readable afterwards too.
        if let Err(e) = guard.inspect().await {
            return desk.answer(Content::Found(Err(e)));
        }
        let found = server.found(&table, &desk.tp.topic, desk.tp.partition, &bounds, &token).await;
        desk.answer(Content::Found(found));
    });
}

pub(super) fn probe<C: KafkaClient>(sink: &Sink<C>, desk: Desk, tables: Vec<String>) {
    let server = sink.server.clone();
    sink.spawn(async move {
        let mut highest = Ok(None);
        for table in tables {
            highest = match (highest, server.highest(&table, &desk.tp.topic, desk.tp.partition).await) {
                (Ok(a), Ok(b)) => Ok(a.max(b)),
                (Err(e), _) | (_, Err(e)) => Err(e),
            };
        }
        desk.answer(Content::Highest(highest));
    });
}
