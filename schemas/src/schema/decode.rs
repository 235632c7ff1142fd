//! Bytes of any schema to a [`Value`], and past it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Id, Logical, MAX_DEPTH, Node, Schema};
use crate::Value;
use crate::codec::{CodecError, Fault, Reader, unscaled};

type Result<T> = std::result::Result<T, CodecError>;

impl Schema {
    /// Decodes a record written with this schema.
    ///
    /// # Errors
    /// The bytes are no such record; the error names the field.
    pub fn decode_value(&self, bytes: &[u8]) -> Result<Value> {
        let mut walk = Walk::new(self, bytes);
        let value = walk.value(self.root)?;
        walk.finish()?;
        Ok(value)
    }
}

/// Reads bytes along their writer's schema.
///
/// Values of no bytes (null, an empty record) would let a few bytes stand for endless work, in items and in schemas that
/// double at each level: fuel, in proportion to the bytes, bounds the number of values.
pub(crate) struct Walk<'s, 'a> {
    pub(crate) schema: &'s Schema,
    pub(crate) input: Reader<'a>,
    fuel: usize,
    depth: usize,
}

impl<'s, 'a> Walk<'s, 'a> {
    pub(crate) fn new(schema: &'s Schema, bytes: &'a [u8]) -> Self {
        let fuel = bytes.len().saturating_mul(16).saturating_add(10_000);
        Self { schema, input: Reader::new(bytes), fuel, depth: 0 }
    }

    pub(crate) fn finish(&self) -> Result<()> {
        self.input.finish()
    }

    /// Takes fuel for one value and goes one level down.
    pub(crate) fn enter(&mut self) -> Result<()> {
        self.fuel = self.fuel.checked_sub(1).ok_or(Fault::TooMany)?;
        if self.depth >= MAX_DEPTH {
            return Err(Fault::TooDeep.into());
        }
        self.depth += 1;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The next value.
    pub(crate) fn value(&mut self, id: Id) -> Result<Value> {
        self.enter()?;
        let value = self.value_inside(id)?;
        self.leave();
        Ok(value)
    }

    fn value_inside(&mut self, id: Id) -> Result<Value> {
        let schema = self.schema;
        Ok(match schema.node(id) {
            Node::Null => Value::Null,
            Node::Boolean => Value::Boolean(self.input.boolean()?),
            Node::Int(Logical::Date) => Value::Date(self.input.int()?),
            Node::Int(_) => Value::Int(self.input.int()?),
            Node::Long(Logical::TimestampMicros) => Value::Timestamp(self.input.long()?),
            Node::Long(_) => Value::Long(self.input.long()?),
            Node::Float => Value::Double(f64::from(self.input.float()?)),
            Node::Double => Value::Double(self.input.double()?),
            Node::Bytes(_) => Value::Bytes(self.input.bytes()?.to_vec()),
            Node::Text(_) => Value::Text(self.input.text()?.to_owned()),
            Node::Fixed { size, .. } => Value::Fixed(self.input.take(*size)?.to_vec()),
            Node::Decimal { scale, fixed, .. } => {
                Value::Decimal { unscaled: self.unscaled(fixed.as_ref().map(|(_, size)| *size))?, scale: *scale }
            }
            Node::Enum { name, symbols, .. } => Value::Symbol(self.symbol(&name.full, symbols)?.clone().into()),
            Node::Array(items) => {
                let items = *items;
                Value::Array(self.array(|walk| walk.value(items))?)
            }
            Node::Map(values) => {
                let values = *values;
                Value::Map(self.map(|walk| walk.value(values))?)
            }
            Node::Union(branches) => {
                let branch = self.branch(branches)?;
                self.value(*branch)?
            }
            Node::Record { fields, .. } => {
                let mut values = Vec::with_capacity(fields.len());
                for field in fields {
                    let value = self.value(field.id).map_err(|error| error.in_field(field.name.clone()))?;
                    values.push((Cow::Owned(field.name.clone()), value));
                }
                Value::Record(values)
            }
        })
    }

    pub(crate) fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        loop {
            let count = self.input.block(0)?;
            if count == 0 {
                return Ok(items);
            }
            for _ in 0..count {
                items.push(item(self).map_err(|error| error.in_item(items.len()))?);
            }
        }
    }

    pub(crate) fn map<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<BTreeMap<String, T>> {
        let mut items = BTreeMap::new();
        loop {
            let count = self.input.block(1)?;
            if count == 0 {
                return Ok(items);
            }
            for _ in 0..count {
                let key = self.input.text()?;
                items.insert(key.to_owned(), item(self).map_err(|error| error.in_key(key))?);
            }
        }
    }

    /// The number of a decimal held in bytes, or in a fixed of so many.
    pub(crate) fn unscaled(&mut self, fixed: Option<usize>) -> Result<i128> {
        match fixed {
            None => self.input.unscaled(),
            Some(size) => unscaled(self.input.take(size)?),
        }
    }

    /// What belongs to the symbol of an enum that comes next.
    pub(crate) fn symbol<'t, T>(&mut self, name: &str, symbols: &'t [T]) -> Result<&'t T> {
        let index = i64::from(self.input.int()?);
        let found = usize::try_from(index).ok().and_then(|at| symbols.get(at));
        found.ok_or_else(|| Fault::SymbolIndex { name: name.to_owned(), index }.into())
    }

    /// What belongs to the branch of a union that comes next.
    pub(crate) fn branch<'t, T>(&mut self, branches: &'t [T]) -> Result<&'t T> {
        let index = self.input.long()?;
        let found = usize::try_from(index).ok().and_then(|at| branches.get(at));
        found.ok_or_else(|| Fault::Branch(index).into())
    }

    /// Passes a value that the reader does not want.
    pub(crate) fn skip(&mut self, id: Id) -> Result<()> {
        self.enter()?;
        self.skip_inside(id)?;
        self.leave();
        Ok(())
    }

    fn skip_inside(&mut self, id: Id) -> Result<()> {
        let schema = self.schema;
        match schema.node(id) {
            Node::Null => {}
            Node::Boolean => drop(self.input.boolean()?),
            Node::Int(_) => drop(self.input.int()?),
            Node::Long(_) => drop(self.input.long()?),
            Node::Float => drop(self.input.take(4)?),
            Node::Double => drop(self.input.take(8)?),
            Node::Bytes(_) | Node::Text(_) | Node::Decimal { fixed: None, .. } => drop(self.input.bytes()?),
            Node::Fixed { size, .. } | Node::Decimal { fixed: Some((_, size)), .. } => drop(self.input.take(*size)?),
            Node::Enum { name, symbols, .. } => {
                self.symbol(&name.full, symbols)?;
            }
            Node::Array(items) => self.skip_blocks(*items, false)?,
            Node::Map(values) => self.skip_blocks(*values, true)?,
            Node::Union(branches) => {
                let branch = self.branch(branches)?;
                self.skip(*branch)?;
            }
            Node::Record { fields, .. } => {
                for field in fields {
                    self.skip(field.id).map_err(|error| error.in_field(field.name.clone()))?;
                }
            }
        }
        Ok(())
    }

    fn skip_blocks(&mut self, item: Id, keyed: bool) -> Result<()> {
        loop {
            let count = self.input.block(usize::from(keyed))?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                if keyed {
                    self.input.bytes()?;
                }
                self.skip(item)?;
            }
        }
    }
}
