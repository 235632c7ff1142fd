//! Lands every output topic in ClickHouse exactly once.
//!
//! Each record becomes one row of the table of its topic, found by `_topic`, `_partition`, `_offset`; what can never be read
//! becomes a row of `sink_unreadable`. Nothing is lost and nothing is there twice, whatever dies:
//!
//! 1. **bounds**: first and last offset, count, hash and deadline of a batch are committed to Kafka, in one transaction with
//!    the offset below which everything is in ClickHouse (the bounds stand in its metadata, and on `sink.batches.v1`);
//! 2. **insert**: one synchronous block into one table partition, with a deduplication token made of the bounds, and a deadline
//!    that the server holds against its own clock, block by block;
//! 3. **go on**: the offset behind the batch is committed with the next bounds, or alone when there are none.
//!
//! | dies or sleeps | Kafka says | ClickHouse has | the successor |
//! |---|---|---|---|
//! | before 1 is committed | the old offset | nothing | reads from there, cuts afresh |
//! | after 1, before 2 | bounds | nothing | waits out the deadline, commits the same bounds with a new one, inserts the same rows with the same token |
//! | in 2, the insert does not land | bounds | nothing | the same |
//! | in 2, the insert hangs in the server | bounds | nothing, a running query | `KILL QUERY` on the token's query id; once it has ended and the deadline has passed, the same |
//! | in 2, the insert lands late, before its deadline | bounds | nothing, then all | waits while it may land (deadline, running queries), then finds all |
//! | after 2, before 3 | bounds | all rows, the same hash | goes on behind them at once |
//! | (rows deleted by hand, a disk that lost a part) | bounds | a part | inserts only the missing offsets, under a token of their own |
//! | after 3 | the offset behind | all | goes on |
//! | (the server answers an insert that it could not write) | bounds | a part that nobody can read | sets it aside, counts, repairs |
//! | sleeps after 1, is replaced, wakes | whatever the successor made of it | all | its insert is refused by the deadline, its commit by its generation |
//!
//! A transaction whose outcome is unknown, a fatal error, a rebalance: the same as a death. A worker that was replaced while
//! it hung cannot commit bounds (its transactional id or its generation is fenced); an insert that it had bounded before lands
//! within its deadline or never, and a successor waits for that. See [`plan`] for the decisions.
//!
//! What is repeated is decided by the rows that are there once nothing of the batch can land any more, never by what the table
//! remembers of tokens: so it makes no difference whether the deduplication window has been overrun by other inserts since.
//! The token guards the time before that: an insert sent again within its own deadline. The window in the DDL is held to twice
//! the inserts of a deadline at the start.
//!
//! **When a batch is cut.** A full one (`batch_rows`, `batch_bytes`) at once, everything else when the oldest record of the
//! worker has waited `linger_ms`, and when the sink is told to stop. ClickHouse pays for the part that each insert makes, and
//! for merging it away again, far more than for its rows: an insert of a few dozen order events costs it tens of milliseconds
//! of CPU. So the number of inserts is what matters, and it follows the clock.
#![forbid(unsafe_code)]

mod block;
mod clickhouse;
mod config;
mod ddl;
mod error;
mod guard;
mod ledger;
pub mod plan;
mod row;
mod shape;
mod sink;
mod status;
mod target;
mod views;
mod worker;

pub use config::{ClickHouseConfig, SinkConfig};
pub use ddl::{Migrated, create_table};
pub use error::SinkError;
pub use row::row_hash;
pub use shape::Column;
pub use sink::{BATCHES_TOPIC, Moment, Sink};
pub use status::{PartitionStatus, SinkCounts, SinkStatus};
pub use target::{STAGE, Selection, Table, Target, Targets, TopicContract, UNREADABLE_TABLE, table_name, topics_of};
