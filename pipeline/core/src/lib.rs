//! The stage engine: pure, deterministic, without Kafka, a runtime or a clock.
//!
//! A [`Stage`](stage::Stage) is a function; a [`Task`](task::Task) runs the fused stages of a [`Group`](group::Group)
//! over batches; a driver (Kafka, test) owns everything else. `pipeline/ARCHITECTURE.md` tells the whole story.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::float_arithmetic)]

pub mod batch;
mod cascade;
pub mod error;
pub mod group;
mod instance;
pub mod lineage;
pub mod mutant;
pub mod position;
mod reads;
pub mod record;
pub mod replay;
pub mod snapshot;
pub mod stage;
pub mod store;
pub mod table;
pub mod task;
mod timer;
pub mod trace;

pub use fillstream_domain::TimestampMicros;
/// The codec traits that [`inputs!`] and [`outputs!`] use.
pub use fillstream_schemas::codec;
pub use instance::StageHandle;
