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

/// Rewrites the records of one writer's schema in a contract's own: [`Resolver`] without the contract's type.
#[derive(Debug, Clone)]
pub struct Transcoder {
    writer: Schema,
    plan: Plan,
    reader: &'static Schema,
}

impl Transcoder {
    pub(crate) fn new(writer_schema: &str, reader: &'static Schema) -> Result<Self, SchemaError> {
        let writer = Schema::parse(writer_schema)?;
        let plan = Plan::new(&writer, reader)?;
        Ok(Self { writer, plan, reader })
    }

    /// The record in the contract's own schema; all bytes must be used.
    ///
    /// # Errors
    /// As [`Resolver::decode`].
    pub fn transcode(&self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        let mut walk = Walk::new(&self.writer, bytes);
        let value = self.plan.run(&mut walk)?;
        walk.finish()?;
        let mut out = Vec::with_capacity(bytes.len());
        self.reader.encode_value(&value, &mut out)?;
        Ok(out)
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
