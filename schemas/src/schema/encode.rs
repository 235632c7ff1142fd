//! A [`Value`] to bytes of a schema.

use super::{Field, Id, Logical, Node, Schema};
use crate::Value;
use crate::codec::{CodecError, Fault, write};

type Result<T> = std::result::Result<T, CodecError>;

impl Schema {
    /// Appends a value of exactly this schema: nothing is promoted or defaulted.
    ///
    /// # Errors
    /// The value is of another type or out of range; the error names the field.
    pub fn encode_value(&self, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        self.encode(self.root, value, out)
    }

    fn encode(&self, id: Id, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let node = self.node(id);
        match (node, value) {
            (Node::Null, Value::Null) => {}
            (Node::Boolean, Value::Boolean(value)) => out.push(u8::from(*value)),
            (Node::Int(Logical::Date), Value::Date(value)) => write::long(i64::from(*value), out),
            (Node::Int(logical), Value::Int(value)) if *logical != Logical::Date => write::long(i64::from(*value), out),
            (Node::Long(Logical::TimestampMicros), Value::Timestamp(value)) => write::long(*value, out),
            (Node::Long(logical), Value::Long(value)) if *logical != Logical::TimestampMicros => {
                write::long(*value, out)
            }
            (Node::Double, Value::Double(value)) if value.is_finite() => out.extend_from_slice(&value.to_le_bytes()),
            (Node::Double, Value::Double(_)) => return Err(Fault::NotFinite.into()),
            (Node::Bytes(_), Value::Bytes(value)) => write::bytes(value, out),
            (Node::Text(_), Value::Text(value)) => write::bytes(value.as_bytes(), out),
            (Node::Fixed { size, .. }, Value::Fixed(value)) if value.len() == *size => out.extend_from_slice(value),
            (Node::Decimal { precision, scale, fixed: None }, Value::Decimal { unscaled, scale: given }) => {
                if given != scale {
                    return Err(Fault::Decimal(format!("a scale of {given} where it is {scale}")).into());
                }
                if !fits(*unscaled, *precision) {
                    return Err(Fault::Decimal(format!("more than {precision} digits")).into());
                }
                write::unscaled(*unscaled, out);
            }
            (Node::Enum { name, symbols, .. }, Value::Symbol(symbol)) => {
                let index = symbols.iter().position(|known| known == symbol);
                let unknown = || Fault::Symbol { name: name.full.clone(), symbol: symbol.chars().take(64).collect() };
                write::length(index.ok_or_else(unknown)?, out);
            }
            (Node::Array(items), Value::Array(values)) => {
                if !values.is_empty() {
                    write::length(values.len(), out);
                }
                for (index, value) in values.iter().enumerate() {
                    self.encode(*items, value, out).map_err(|error| error.in_item(index))?;
                }
                out.push(0);
            }
            (Node::Map(items), Value::Map(values)) => {
                if !values.is_empty() {
                    write::length(values.len(), out);
                }
                for (key, value) in values {
                    write::bytes(key.as_bytes(), out);
                    self.encode(*items, value, out).map_err(|error| error.in_key(key))?;
                }
                out.push(0);
            }
            (Node::Union(branches), value) => self.encode_branch(branches, value, out)?,
            (Node::Record { fields, .. }, Value::Record(values)) => self.encode_fields(fields, values, out)?,
            (node, value) => {
                return Err(Fault::Expected { expected: node.describe(), found: value.kind().to_owned() }.into());
            }
        }
        Ok(())
    }

    /// Contracts have no unions but those with null, where the branch is plain.
    fn encode_branch(&self, branches: &[Id], value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let is_null = *value == Value::Null;
        let branch = branches.iter().enumerate().find(|(_, id)| (*self.node(**id) == Node::Null) == is_null);
        let Some((index, id)) = branch else {
            return Err(Fault::Expected { expected: "a branch of the union".into(), found: value.kind().into() }.into());
        };
        write::length(index, out);
        self.encode(*id, value, out)
    }

    fn encode_fields(
        &self,
        fields: &[Field],
        values: &[(std::borrow::Cow<'static, str>, Value)],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        for (index, field) in fields.iter().enumerate() {
            // The order is the schema's in every value made here; a hand-made one may differ.
            let value = match values.get(index) {
                Some((name, value)) if *name == field.name => Some(value),
                Some(_) | None => values.iter().find(|(name, _)| *name == field.name).map(|(_, value)| value),
            };
            let value = value.ok_or_else(|| CodecError::new(Fault::Missing).in_field(field.name.clone()))?;
            self.encode(field.id, value, out).map_err(|error| error.in_field(field.name.clone()))?;
        }
        match values.iter().find(|(name, _)| fields.iter().all(|field| field.name != *name)) {
            Some((name, _)) => Err(CodecError::new(Fault::Unknown).in_field(name.clone())),
            None => Ok(()),
        }
    }
}

/// Whether a number has at most `precision` digits.
pub(crate) fn fits(unscaled: i128, precision: u32) -> bool {
    // 39 digits and more hold any 128 bits.
    10_u128.checked_pow(precision).is_none_or(|limit| unscaled.unsigned_abs() < limit)
}
