//! What to do with each value of the writer, decided once.

use std::borrow::Cow;

use crate::Value;
use crate::json::avro_default;
use crate::schema::{Field, Id, Logical, Named, Node, Schema, SchemaError, short};

type Result<T> = std::result::Result<T, SchemaError>;

/// How the writer's values become the reader's.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) root: Step,
}

/// One value of the writer.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The value is the reader's as it is.
    Read(Id),
    /// `int` to `long`
    IntToLong,
    /// `int` or `long` to `double`
    IntegerToDouble,
    /// Milliseconds to microseconds
    MillisToMicros,
    /// Underlying integers of equal width, for a reader with a date
    Date,
    /// Underlying integers of equal width, for a reader with a timestamp
    Timestamp,
    /// Underlying integers of equal width, for a reader without a logical type
    PlainInt,
    PlainLong,
    TextToBytes,
    BytesToText,
    Decimal {
        fixed: Option<usize>,
        writer_scale: u32,
        reader_scale: u32,
    },
    /// By the writer's index: the reader's symbol, if it has one.
    Enum {
        name: String,
        symbols: Vec<(String, Option<String>)>,
    },
    Array(Box<Step>),
    Map(Box<Step>),
    Record {
        /// In the writer's order.
        moves: Vec<Move>,
        /// In the reader's order; the moves fill the rest.
        slots: Vec<(String, Value)>,
    },
    /// By the writer's branch; a branch without counterpart says why.
    Union(Vec<std::result::Result<Step, String>>),
}

/// One field of the writer.
#[derive(Debug, Clone)]
pub(super) enum Move {
    To { slot: usize, step: Step, name: String },
    Skip { id: Id, name: String },
}

impl Plan {
    pub(crate) fn new(writer: &Schema, reader: &Schema) -> Result<Self> {
        let root = Compile { writer, reader }.step(writer.root(), reader.root(), "")?;
        Ok(Self { root })
    }
}

struct Compile<'s> {
    writer: &'s Schema,
    reader: &'s Schema,
}

impl Compile<'_> {
    /// The reader's schema is a contract, which is never recursive: so this ends.
    fn step(&self, writer: Id, reader: Id, at: &str) -> Result<Step> {
        if let Node::Union(branches) = self.writer.node(writer) {
            return self.writer_union(branches, reader, at);
        }
        if let Node::Union(branches) = self.reader.node(reader) {
            return self.reader_union(writer, branches, at);
        }
        let (from, to) = (self.writer.node(writer), self.reader.node(reader));
        Ok(match (from, to) {
            (Node::Null, Node::Null) | (Node::Boolean, Node::Boolean) => Step::Read(writer),
            (Node::Float | Node::Double, Node::Double) => Step::Read(writer),
            (Node::Int(Logical::None) | Node::Long(Logical::None), Node::Double) => Step::IntegerToDouble,
            (Node::Int(Logical::None), Node::Long(Logical::None)) => Step::IntToLong,
            (Node::Int(a), Node::Int(b)) if a == b => Step::Read(writer),
            (Node::Int(Logical::None), Node::Int(Logical::Date)) => Step::Date,
            (Node::Int(_), Node::Int(Logical::None)) => Step::PlainInt,
            (Node::Long(a), Node::Long(b)) if a == b => Step::Read(writer),
            (Node::Long(Logical::None), Node::Long(Logical::TimestampMicros)) => Step::Timestamp,
            (Node::Long(Logical::TimestampMillis), Node::Long(Logical::TimestampMicros)) => Step::MillisToMicros,
            (Node::Long(_), Node::Long(Logical::None)) => Step::PlainLong,
            (Node::Text(_), Node::Text(_)) => Step::Read(writer),
            (Node::Bytes(a), Node::Bytes(b)) if a == b => Step::Read(writer),
            (Node::Text(_), Node::Bytes(Logical::None)) => Step::TextToBytes,
            (Node::Bytes(Logical::None), Node::Text(_)) => Step::BytesToText,
            (Node::Fixed { name: n, size: s, logical: a }, Node::Fixed { name: m, size: t, logical: b })
                if s == t && a == b && matches(n, m) =>
            {
                Step::Read(writer)
            }
            (Node::Decimal { scale, fixed, .. }, Node::Decimal { scale: reader_scale, .. }) => Step::Decimal {
                fixed: fixed.as_ref().map(|(_, size)| *size),
                writer_scale: *scale,
                reader_scale: *reader_scale,
            },
            (Node::Enum { name: n, symbols, .. }, Node::Enum { name: m, symbols: known, default }) if matches(n, m) => {
                enumeration(m, symbols, known, default.as_ref(), at)?
            }
            (Node::Array(a), Node::Array(b)) => Step::Array(Box::new(self.step(*a, *b, &format!("{at}[]"))?)),
            (Node::Map(a), Node::Map(b)) => Step::Map(Box::new(self.step(*a, *b, &format!("{at}{{}}"))?)),
            (Node::Record { name: n, fields }, Node::Record { name: m, fields: ours }) if matches(n, m) => {
                self.record(fields, ours, at)?
            }
            (from, to) => {
                let reason = format!("the writer's {} cannot be read as {}", from.describe(), to.describe());
                return Err(SchemaError::new(at, reason));
            }
        })
    }

    /// The writer's branch is known only with the data: each is planned, and one must do.
    fn writer_union(&self, branches: &[Id], reader: Id, at: &str) -> Result<Step> {
        let plans = branches.iter().map(|branch| self.step(*branch, reader, at)).collect::<Vec<_>>();
        if plans.iter().all(std::result::Result::is_err) {
            let reason = "no branch of the writer's union can be read";
            return Err(plans.into_iter().find_map(std::result::Result::err).unwrap_or(SchemaError::new(at, reason)));
        }
        Ok(Step::Union(plans.into_iter().map(|plan| plan.map_err(|error| error.to_string())).collect()))
    }

    /// The first branch of the same type, otherwise the first that can be had by promotion.
    fn reader_union(&self, writer: Id, branches: &[Id], at: &str) -> Result<Step> {
        let plans = branches.iter().map(|branch| self.step(writer, *branch, at)).collect::<Vec<_>>();
        if let Some(exact) = plans.iter().flatten().find(|step| step.is_exact()) {
            return Ok(exact.clone());
        }
        let mut failure = SchemaError::new(at, "the reader's union has no branch");
        for plan in plans {
            match plan {
                Ok(step) => return Ok(step),
                // The branch beside null is the one whose reason helps.
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn record(&self, writer: &[Field], reader: &[Field], at: &str) -> Result<Step> {
        let within = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        let mut slots = Vec::with_capacity(reader.len());
        let mut moves: Vec<Move> =
            writer.iter().map(|field| Move::Skip { id: field.id, name: field.name.clone() }).collect();
        for (slot, field) in reader.iter().enumerate() {
            let at = within(&field.name);
            // A field of the same name wins over one that an alias names.
            let by_alias = || writer.iter().position(|theirs| field.aliases.contains(&theirs.name));
            let found = writer.iter().position(|theirs| theirs.name == field.name).or_else(by_alias);
            let placeholder = match (found, &field.default) {
                (Some(index), _) => {
                    if let (Some(place), Some(theirs)) = (moves.get_mut(index), writer.get(index)) {
                        *place =
                            Move::To { slot, step: self.step(theirs.id, field.id, &at)?, name: field.name.clone() };
                    }
                    Value::Null
                }
                (None, Some(default)) => avro_default(self.reader, field.id, default, &at)?,
                (None, None) => {
                    return Err(SchemaError::new(at, "the writer lacks the field, and it has no default"));
                }
            };
            slots.push((field.name.clone(), placeholder));
        }
        Ok(Step::Record { moves, slots })
    }
}

impl Step {
    /// Whether no promotion is involved.
    fn is_exact(&self) -> bool {
        match self {
            Self::Read(_)
            | Self::Decimal { .. }
            | Self::Enum { .. }
            | Self::Array(_)
            | Self::Map(_)
            | Self::Record { .. } => true,
            Self::IntToLong
            | Self::IntegerToDouble
            | Self::MillisToMicros
            | Self::Date
            | Self::Timestamp
            | Self::PlainInt
            | Self::PlainLong
            | Self::TextToBytes
            | Self::BytesToText
            | Self::Union(_) => false,
        }
    }
}

fn enumeration(name: &Named, theirs: &[String], ours: &[String], default: Option<&String>, at: &str) -> Result<Step> {
    let ours_for = |symbol: &String| ours.iter().find(|known| *known == symbol).or(default).cloned();
    let symbols: Vec<_> = theirs.iter().map(|symbol| (symbol.clone(), ours_for(symbol))).collect();
    if symbols.iter().all(|(_, ours)| ours.is_none()) {
        return Err(SchemaError::new(at, format!("none of the writer's symbols is one of {}", name.full)));
    }
    Ok(Step::Enum { name: name.full.clone(), symbols })
}

/// Avro compares names without namespaces, and takes the reader's aliases.
fn matches(writer: &Named, reader: &Named) -> bool {
    writer.short() == reader.short()
        || reader.aliases.iter().any(|alias| *alias == writer.full || short(alias) == writer.short())
}

/// The name of a field of a record's value.
pub(super) fn owned(name: &str) -> Cow<'static, str> {
    Cow::Owned(name.to_owned())
}
