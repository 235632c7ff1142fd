//! The Avro contracts and their codec.
//!
//! The `.avsc` files under `schemas/avro` are the source; the build turns each into a struct here, in the module of its
//! context ([`execution::OrderEvent`], ...), with a direct codec ([`AvroRecord`]). That is the path of every record whose
//! writer used this very schema. Everything else goes by generic [`Value`]s: another writer's schema ([`Resolver`]), JSON,
//! tools ([`catalog`]).
//!
//! ```
//! use fillstream_schemas::{AvroRecord, Resolver, engine::InputRun};
//!
//! let run = InputRun { topic: "coordination.decisions.v1".into(), first_offset: 7, last_offset: 9, count: 3 };
//! let bytes = run.to_bytes();
//! assert_eq!(InputRun::decode(&bytes)?, run);
//!
//! let resolver = Resolver::<InputRun>::new(InputRun::SCHEMA)?; // the schema that the registry has for the record's id
//! assert_eq!(resolver.decode(&bytes)?, run);
//! # Ok::<(), fillstream_schemas::CodecError>(())
//! ```
#![forbid(unsafe_code)]

// Generated code names this crate as the tests' generated code does.
extern crate self as fillstream_schemas;

mod catalog;
pub mod codec;
pub mod compat;
mod finite;
pub mod json;
mod leg;
mod resolve;
pub mod schema;
mod value;
pub mod wire;

pub use self::catalog::{Contract, catalog, contract};
pub use self::codec::{AvroRecord, CodecError, Fault};
pub use self::contracts::*;
pub use self::finite::{Finite, NotFinite};
pub use self::resolve::{Resolver, Transcoder, same_schema};
pub use self::schema::{Schema, SchemaError};
pub use self::value::Value;
pub use fillstream_domain::TimestampMicros;

#[allow(
    unused_qualifications,
    clippy::identity_op,
    clippy::useless_format,
    reason = "generated: full paths need no imports, and every record gets the same shape"
)]
mod contracts {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}
