//! Records of another writer's schema: older, newer, of another tool, in another field order.

mod plan;
mod run;

use std::marker::PhantomData;

use self::plan::Plan;
use crate::codec::{AvroRecord, CodecError};
use crate::schema::{Schema, SchemaError, Walk};

/// Decodes the records of one writer's schema into a contract.
///
/// Made once a schema id and kept. If the writer's schema is the contract's own, decoding is the direct codec.
#[derive(Debug, Clone)]
pub struct Resolver<T> {
    /// `None`: the writer's schema is the contract's own.
    other: Option<(Schema, Plan)>,
    contract: PhantomData<fn() -> T>,
}

impl<T: AvroRecord> Resolver<T> {
    /// Plans the resolution of a writer's schema.
    ///
    /// # Errors
    /// It is no schema, or no record of it can be the contract's; the error names the field.
    pub fn new(writer_schema: &str) -> Result<Self, SchemaError> {
        let writer = Schema::parse(writer_schema)?;
        let reader = T::schema()?;
        let other = if writer.same(reader) {
            None
        } else {
            let plan = Plan::new(&writer, reader)?;
            Some((writer, plan))
        };
        Ok(Self { other, contract: PhantomData })
    }

    /// Whether the writer's schema is the contract's own, so that decoding takes the fast path.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.other.is_none()
    }

    /// Decodes a record of the writer's schema; all bytes must be used.
    ///
    /// # Errors
    /// The bytes are no such record, or it cannot be the contract's: a symbol that the contract lacks, a decimal that is not
    /// exact at its scale, a union's branch without counterpart. The error names the field.
    pub fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let Some((writer, plan)) = &self.other else { return T::decode(bytes) };
        let mut walk = Walk::new(writer, bytes);
        let value = plan.run(&mut walk)?;
        walk.finish()?;
        T::from_value(&value)
    }
}

/// Whether records of a writer's schema have the contract's bytes with the contract's meaning. Other than Avro's parsing
/// canonical form it compares logical types, precision and scale.
///
/// # Errors
/// It is no schema.
pub fn same_schema<T: AvroRecord>(writer_schema: &str) -> Result<bool, SchemaError> {
    Ok(Schema::parse(writer_schema)?.same(T::schema()?))
}
