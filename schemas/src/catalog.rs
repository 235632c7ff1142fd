//! The list of all contracts.

use serde_json::Value as Json;

use crate::codec::{CodecError, SchemaResult};
use crate::resolve::Transcoder;
use crate::schema::{Schema, SchemaError};
use crate::{Value, json};

/// A record's contract.
#[derive(Debug, Clone, Copy)]
pub struct Contract {
    /// Full name, such as `fillstream.execution.OrderEvent`.
    pub full_name: &'static str,
    /// The context, which is also the Rust module.
    pub context: &'static str,
    /// The released version that it is, or the one that its next release will be.
    pub version: u32,
    /// Whether this version is released.
    pub released: bool,
    /// The schema that is registered.
    pub schema: &'static str,
    #[doc(hidden)]
    pub schema_of: fn() -> SchemaResult,
}

impl Contract {
    /// The schema, parsed once.
    ///
    /// # Errors
    /// The generated schema is unusable, which a test over the catalog excludes.
    pub fn parsed(&self) -> Result<&'static Schema, CodecError> {
        Ok((self.schema_of)()?)
    }

    /// Decodes bytes written with this very schema.
    ///
    /// # Errors
    /// The bytes are no such record; the error names the field.
    pub fn decode_to_value(&self, bytes: &[u8]) -> Result<Value, CodecError> {
        self.parsed()?.decode_value(bytes)
    }

    /// Whether bytes were written with this very schema: as [`Self::decode_to_value`], but nothing is made of them.
    ///
    /// # Errors
    /// The bytes are no such record; the error names the field.
    pub fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        self.parsed()?.check(bytes)
    }

    /// Plans how records of a writer's schema become this contract's.
    ///
    /// # Errors
    /// It is no schema, or no record of it can be the contract's; the error names the field.
    pub fn transcoder(&self, writer_schema: &str) -> Result<Transcoder, SchemaError> {
        Transcoder::new(writer_schema, (self.schema_of)()?)
    }

    /// Encodes a JSON object, as [`AvroRecord::from_json`](crate::AvroRecord::from_json) takes it.
    ///
    /// # Errors
    /// Names the field: unknown, missing, or of the wrong type or range.
    pub fn encode_json(&self, json: &Json) -> Result<Vec<u8>, CodecError> {
        let schema = self.parsed()?;
        let mut bytes = Vec::new();
        schema.encode_value(&json::from_json(schema, json)?, &mut bytes)?;
        Ok(bytes)
    }
}

/// Every contract, ordered by full name.
#[must_use]
pub fn catalog() -> &'static [Contract] {
    crate::contracts::CATALOG
}

/// The contract of a full name.
#[must_use]
pub fn contract(full_name: &str) -> Option<&'static Contract> {
    let found = catalog().binary_search_by(|contract| contract.full_name.cmp(full_name)).ok()?;
    catalog().get(found)
}
