//! The direct codec: generated structs to Avro binary and back, without a schema in between.

mod error;
pub mod kind;
mod reader;
pub(crate) mod write;

use std::fmt::Debug;
use std::sync::OnceLock;

use serde_json::Value as Json;

pub use self::error::{CodecError, Fault};
pub use self::reader::Reader;
pub(crate) use self::reader::unscaled;
use crate::schema::{Schema, SchemaError};
use crate::{Value, json};

/// The parsed schema of a contract, or why there is none.
pub type SchemaResult = Result<&'static Schema, SchemaError>;

/// A contract: a generated struct with its schema and its direct codec.
pub trait AvroRecord: Sized + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The full name, such as `fillstream.execution.OrderEvent`.
    const FULL_NAME: &'static str;
    /// The schema that is registered: self-contained JSON.
    const SCHEMA: &'static str;
    /// Bytes of the shortest record.
    const MIN_LEN: usize;

    /// The schema, parsed once.
    ///
    /// # Errors
    /// The generated schema is unusable, which a test over the catalog excludes.
    fn schema() -> SchemaResult;

    /// Appends the fields; [`AvroRecord::encode`] for users.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads the fields and leaves what follows; [`AvroRecord::decode`] for users.
    ///
    /// # Errors
    /// The bytes do not start with such a record.
    fn read(input: &mut Reader<'_>) -> Result<Self, CodecError>;

    /// The record for generic use.
    fn to_value(&self) -> Value;

    /// Appends the record as Avro binary. The field types guarantee every range, so it cannot fail.
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    /// The record as Avro binary.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out);
        out
    }

    /// A record written with this very schema; all bytes must be used.
    ///
    /// # Errors
    /// The bytes are no such record; the error names the field.
    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let record = Self::read(&mut input)?;
        input.finish()?;
        Ok(record)
    }

    /// The record of a value of this schema.
    ///
    /// # Errors
    /// The value is no such record; the error names the field.
    fn from_value(value: &Value) -> Result<Self, CodecError> {
        let mut bytes = Vec::with_capacity(256);
        Self::schema()?.encode_value(value, &mut bytes)?;
        Self::decode(&bytes)
    }

    /// The record as JSON: decimals, times (ISO 8601) and enum symbols as strings, bytes as lower-case hex.
    fn to_json(&self) -> Json {
        json::to_json(&self.to_value())
    }

    /// The record of a JSON object. Absent fields take their defaults; times may be ISO 8601 or microseconds, decimals
    /// strings or numbers.
    ///
    /// # Errors
    /// Names the field: unknown, missing, or of the wrong type or range.
    fn from_json(json: &Json) -> Result<Self, CodecError> {
        Self::from_value(&json::from_json(Self::schema()?, json)?)
    }

    /// As [`AvroRecord::from_json`], from text: numbers of more digits than a double holds stay exact.
    ///
    /// # Errors
    /// As [`AvroRecord::from_json`], or the text is not JSON.
    fn from_json_str(text: &str) -> Result<Self, CodecError> {
        Self::from_json(&json::parse_exact(text)?)
    }
}

/// A record that stands on a topic. Generated from the `event` property of a contract.
pub trait Event: AvroRecord {
    /// The record's key.
    fn key(&self) -> &str;
    /// What identifies it, whoever writes it and however often.
    fn natural_id(&self) -> String;
    /// When it happened.
    fn event_time(&self) -> crate::TimestampMicros;
}

/// The place where a contract keeps its parsed schema.
#[derive(Debug)]
pub struct SchemaCell(OnceLock<Result<Schema, SchemaError>>);

impl SchemaCell {
    /// Not parsed yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it exists only as a static")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The schema, parsed at the first call.
    ///
    /// # Errors
    /// It does not parse.
    pub fn get(&'static self, schema: &'static str) -> SchemaResult {
        self.0.get_or_init(|| Schema::parse(schema)).as_ref().map_err(Clone::clone)
    }
}

/// What generated code names; not for other use.
#[doc(hidden)]
pub mod generated {
    pub use std::collections::BTreeMap;

    pub use fillstream_domain as domain;
    use fillstream_domain::{AvroEnum, FixedDecimal};

    pub use super::kind::{
        Array, Boolean, Bytes, Codec, Date, Decimal, Double, Enumeration, Fixed, Int, Long, Map, Nested, Optional,
        Text, Timestamp,
    };
    pub use super::{AvroRecord, CodecError, Event, Reader, SchemaCell, SchemaResult};
    pub use crate::{Contract, Finite, TimestampMicros, Value};

    /// Stops the build if a contract's decimal differs from its Rust type.
    pub const fn same_decimal<T: FixedDecimal>(precision: u32, scale: u32) {
        assert!(T::PRECISION == precision && T::SCALE == scale, "precision or scale differs from the type's");
    }

    /// Stops the build if a contract's enum differs from its Rust type.
    pub const fn same_symbols<T: AvroEnum>(symbols: &[&str]) {
        assert!(fillstream_domain::same_symbols(T::SYMBOLS, symbols), "the symbols differ from the type's");
    }

    /// A default of a contract; the generator has checked it against the precision, the compiler checks the sign.
    #[must_use]
    pub fn decimal<T: FixedDecimal, const UNSCALED: i128>() -> T {
        const { assert!(T::SIGNED || UNSCALED >= 0, "a negative default of an unsigned type") };
        T::from_unscaled(UNSCALED).unwrap_or_default()
    }
}
