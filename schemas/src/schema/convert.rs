//! From `apache_avro`'s schema to ours.

use apache_avro::Schema as Avro;
use apache_avro::schema::{Aliases, DecimalSchema, FixedSchema, InnerDecimalSchema, Name, RecordSchema, UuidSchema};

use super::{Field, Id, Logical, MAX_DEPTH, Named, Names, Node, Schema, SchemaError};

impl Schema {
    pub(crate) fn from_avro(avro: &Avro) -> Result<Self, SchemaError> {
        let mut build = Build { nodes: Vec::new(), names: Names::new() };
        let root = build.node(avro, "", 0)?;
        Ok(Self { nodes: build.nodes, root })
    }
}

struct Build {
    nodes: Vec<Node>,
    names: Names,
}

impl Build {
    fn push(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        Id(self.nodes.len() - 1)
    }

    /// Named types are entered before their parts: a part may name the whole.
    fn push_named(&mut self, name: &Named, node: Node) -> Id {
        let id = self.push(node);
        self.names.insert(name.full.clone(), id);
        id
    }

    fn replace(&mut self, id: Id, node: Node) {
        if let Some(slot) = self.nodes.get_mut(id.0) {
            *slot = node;
        }
    }

    fn fixed(&mut self, fixed: &FixedSchema, logical: Logical) -> Id {
        let name = named(&fixed.name, &fixed.aliases);
        self.push_named(&name.clone(), Node::Fixed { name, size: fixed.size, logical })
    }

    fn node(&mut self, avro: &Avro, at: &str, depth: usize) -> Result<Id, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(SchemaError::new(at, "nested too deep"));
        }
        let node = match avro {
            Avro::Null => Node::Null,
            Avro::Boolean => Node::Boolean,
            Avro::Int => Node::Int(Logical::None),
            Avro::Date => Node::Int(Logical::Date),
            Avro::TimeMillis => Node::Int(Logical::TimeMillis),
            Avro::Long => Node::Long(Logical::None),
            Avro::TimeMicros => Node::Long(Logical::TimeMicros),
            Avro::TimestampMillis => Node::Long(Logical::TimestampMillis),
            Avro::TimestampMicros => Node::Long(Logical::TimestampMicros),
            Avro::TimestampNanos => Node::Long(Logical::TimestampNanos),
            Avro::LocalTimestampMillis => Node::Long(Logical::LocalTimestampMillis),
            Avro::LocalTimestampMicros => Node::Long(Logical::LocalTimestampMicros),
            Avro::LocalTimestampNanos => Node::Long(Logical::LocalTimestampNanos),
            Avro::Float => Node::Float,
            Avro::Double => Node::Double,
            Avro::Bytes => Node::Bytes(Logical::None),
            Avro::BigDecimal => Node::Bytes(Logical::BigDecimal),
            Avro::String => Node::Text(Logical::None),
            Avro::Uuid(UuidSchema::String) => Node::Text(Logical::Uuid),
            Avro::Uuid(UuidSchema::Bytes) => Node::Bytes(Logical::Uuid),
            Avro::Uuid(UuidSchema::Fixed(fixed)) => return Ok(self.fixed(fixed, Logical::Uuid)),
            Avro::Duration(fixed) => return Ok(self.fixed(fixed, Logical::Duration)),
            Avro::Fixed(fixed) => return Ok(self.fixed(fixed, Logical::None)),
            Avro::Decimal(decimal) => return self.decimal(decimal, at),
            Avro::Array(array) => Node::Array(self.node(&array.items, &format!("{at}[]"), depth + 1)?),
            Avro::Map(map) => Node::Map(self.node(&map.types, &format!("{at}{{}}"), depth + 1)?),
            Avro::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.node(branch, at, depth + 1));
                Node::Union(branches.collect::<Result<_, _>>()?)
            }
            Avro::Enum(symbols) => {
                let name = named(&symbols.name, &symbols.aliases);
                let (default, symbols) = (symbols.default.clone(), symbols.symbols.clone());
                return Ok(self.push_named(&name.clone(), Node::Enum { name, symbols, default }));
            }
            Avro::Record(record) => return self.record(record, at, depth),
            Avro::Ref { name } => {
                let full = name.fullname(None);
                let missing = || SchemaError::new(at, format!("`{full}` is not defined"));
                return self.names.get(&full).copied().ok_or_else(missing);
            }
        };
        Ok(self.push(node))
    }

    fn decimal(&mut self, decimal: &DecimalSchema, at: &str) -> Result<Id, SchemaError> {
        let digits = |number: usize| u32::try_from(number).map_err(|_| SchemaError::new(at, "too many digits"));
        let (precision, scale) = (digits(decimal.precision)?, digits(decimal.scale)?);
        Ok(match &decimal.inner {
            InnerDecimalSchema::Bytes => self.push(Node::Decimal { precision, scale, fixed: None }),
            InnerDecimalSchema::Fixed(fixed) => {
                let name = named(&fixed.name, &fixed.aliases);
                let node = Node::Decimal { precision, scale, fixed: Some((name.clone(), fixed.size)) };
                self.push_named(&name, node)
            }
        })
    }

    fn record(&mut self, record: &RecordSchema, at: &str, depth: usize) -> Result<Id, SchemaError> {
        let name = named(&record.name, &record.aliases);
        let id = self.push_named(&name, Node::Null);
        let mut fields = Vec::new();
        for field in &record.fields {
            let at = if at.is_empty() { field.name.clone() } else { format!("{at}.{}", field.name) };
            fields.push(Field {
                name: field.name.clone(),
                aliases: field.aliases.clone(),
                default: field.default.clone(),
                id: self.node(&field.schema, &at, depth + 1)?,
            });
        }
        self.replace(id, Node::Record { name, fields });
        Ok(id)
    }
}

fn named(name: &Name, aliases: &Aliases) -> Named {
    let full = name.fullname(None);
    let aliases = aliases.iter().flatten().map(|alias| alias.fullname(name.namespace())).collect();
    Named { full, aliases }
}
