//! Whether bytes are a record of a schema, without making anything of them.

use super::decode::Walk;
use super::{Id, Node, Schema};
use crate::codec::CodecError;

impl Schema {
    /// Accepts what [`Schema::decode_value`] decodes, and refuses everything else with the same error.
    ///
    /// # Errors
    /// The bytes are no record of this schema; the error names the field.
    pub fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        let mut walk = Walk::new(self, bytes);
        walk.check(self.root)?;
        walk.finish()
    }
}

impl Walk<'_, '_> {
    fn check(&mut self, id: Id) -> Result<(), CodecError> {
        self.enter()?;
        self.check_inside(id)?;
        self.leave();
        Ok(())
    }

    fn check_inside(&mut self, id: Id) -> Result<(), CodecError> {
        let schema = self.schema;
        match schema.node(id) {
            Node::Null => {}
            Node::Boolean => drop(self.input.boolean()?),
            Node::Int(_) => drop(self.input.int()?),
            Node::Long(_) => drop(self.input.long()?),
            Node::Float => drop(self.input.float()?),
            Node::Double => drop(self.input.double()?),
            Node::Bytes(_) => drop(self.input.bytes()?),
            Node::Text(_) => drop(self.input.text()?),
            Node::Fixed { size, .. } => drop(self.input.take(*size)?),
            Node::Decimal { fixed, .. } => drop(self.unscaled(fixed.as_ref().map(|(_, size)| *size))?),
            Node::Enum { name, symbols, .. } => drop(self.symbol(&name.full, symbols)?),
            Node::Array(items) => self.check_array(*items)?,
            Node::Map(values) => self.check_map(*values)?,
            Node::Union(branches) => {
                let branch = self.branch(branches)?;
                self.check(*branch)?;
            }
            Node::Record { fields, .. } => {
                for field in fields {
                    self.check(field.id).map_err(|error| error.in_field(field.name.clone()))?;
                }
            }
        }
        Ok(())
    }

    fn check_array(&mut self, item: Id) -> Result<(), CodecError> {
        let mut index = 0_usize;
        loop {
            let count = self.input.block(0)?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                self.check(item).map_err(|error| error.in_item(index))?;
                index += 1;
            }
        }
    }

    fn check_map(&mut self, value: Id) -> Result<(), CodecError> {
        loop {
            let count = self.input.block(1)?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let key = self.input.text()?;
                self.check(value).map_err(|error| error.in_key(key))?;
            }
        }
    }
}
