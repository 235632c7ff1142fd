//! The producer that the configuration asks for.

use super::config::ConnectionConfig;
use super::error::ClientError;
use super::rdkafka_consumer::GroupMetadata;
use super::rdkafka_producer::RdKafkaProducer;
use super::v2::V2Producer;
use super::{OffsetEntry, Outgoing, TransactionalProducer};

/// A transactional producer: librdkafka's, or one of `transaction.version` 2.
pub struct KafkaProducer(Kind);

enum Kind {
    Classic(Box<RdKafkaProducer>),
    V2(Box<V2Producer>),
}

impl KafkaProducer {
    pub(super) fn new(config: &ConnectionConfig, transactional_id: &str) -> Result<Self, ClientError> {
        let kind = match config.producer.transaction_version {
            2 => Kind::V2(Box::new(V2Producer::new(config, transactional_id))),
            _ => Kind::Classic(Box::new(RdKafkaProducer::new(config, transactional_id)?)),
        };
        Ok(Self(kind))
    }
}

macro_rules! ask {
    ($producer:expr, $p:ident => $call:expr) => {
        match &mut $producer.0 {
            Kind::Classic($p) => $call,
            Kind::V2($p) => $call,
        }
    };
}

impl TransactionalProducer for KafkaProducer {
    type GroupMetadata = GroupMetadata;

    fn init(&mut self) -> Result<(), ClientError> {
        ask!(self, p => p.init())
    }
    fn begin(&mut self) -> Result<(), ClientError> {
        ask!(self, p => p.begin())
    }
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ClientError> {
        ask!(self, p => p.send(record))
    }
    fn send_offsets(&mut self, offsets: &[OffsetEntry], group: &GroupMetadata) -> Result<(), ClientError> {
        ask!(self, p => p.send_offsets(offsets, group))
    }
    fn commit(&mut self) -> Result<(), ClientError> {
        ask!(self, p => p.commit())
    }
    fn abort(&mut self) -> Result<(), ClientError> {
        ask!(self, p => p.abort())
    }
    fn is_suspect(&mut self) -> bool {
        ask!(self, p => p.is_suspect())
    }
}
