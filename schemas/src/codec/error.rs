//! Why bytes, a value or a JSON text are not the record asked for, and where in it.

use std::borrow::Cow;
use std::fmt;

use crate::schema::SchemaError;

/// A fault in bytes, in a value or in JSON, with the path of the field.
///
/// Boxed: the decoders return it by value on every field, and a fault is rare.
#[derive(Debug, Clone, PartialEq)]
pub struct CodecError(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    /// Innermost step first: it grows while the error returns.
    path: Vec<Step>,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(Cow<'static, str>),
    Index(usize),
    Key(String),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end inside a value.
    #[error("the bytes end {missing} short")]
    Truncated {
        /// Bytes that are missing at least.
        missing: usize,
    },
    /// Bytes are left after the record.
    #[error("{0} bytes are left after the record")]
    Trailing(usize),
    /// A variable-length integer of more than 64 bits.
    #[error("the integer has more than 64 bits")]
    IntegerTooLong,
    /// An integer outside 32 bits.
    #[error("{0} does not fit 32 bits")]
    IntRange(i64),
    /// A negative or impossible length or count.
    #[error("{0} is no length that these bytes can hold")]
    Length(i64),
    /// A string that is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// A boolean that is neither 0 nor 1.
    #[error("byte {0} is no boolean")]
    Boolean(u8),
    /// A union branch that the schema lacks.
    #[error("the union has no branch {0}")]
    Branch(i64),
    /// An enum index that the schema lacks.
    #[error("{name} has no symbol {index}")]
    SymbolIndex {
        /// The enum.
        name: String,
        /// The index.
        index: i64,
    },
    /// A symbol that the enum lacks, and the enum has no default.
    #[error("`{symbol}` is no symbol of {name}")]
    Symbol {
        /// The enum.
        name: String,
        /// The symbol.
        symbol: String,
    },
    /// A double that is infinite or not a number.
    #[error("not a finite number")]
    NotFinite,
    /// A decimal that the field's type refuses.
    #[error("{0}")]
    Decimal(String),
    /// Values nested deeper than any contract.
    #[error("nested too deep")]
    TooDeep,
    /// More values than the bytes can account for.
    #[error("more values than the bytes account for")]
    TooMany,
    /// A field without default is absent.
    #[error("missing")]
    Missing,
    /// A field that the record does not have.
    #[error("unknown field")]
    Unknown,
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What the schema asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The writer's branch has no counterpart in the contract.
    #[error("{0}")]
    Unresolved(String),
    /// A schema is unusable.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl CodecError {
    /// A fault of the value itself; callers add the path.
    #[cold]
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self(Box::new(Inner { path: Vec::new(), fault }))
    }

    /// The same fault, seen from the record around it.
    #[cold]
    #[must_use]
    pub fn in_field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.0.path.push(Step::Field(name.into()));
        self
    }

    /// The same fault, seen from the array around it.
    #[cold]
    #[must_use]
    pub fn in_item(mut self, index: usize) -> Self {
        self.0.path.push(Step::Index(index));
        self
    }

    /// The same fault, seen from the map around it.
    #[cold]
    #[must_use]
    pub fn in_key(mut self, key: &str) -> Self {
        self.0.path.push(Step::Key(key.chars().take(64).collect()));
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// The field, as in `fills[3].last_px`; empty if it is the record itself.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            match step {
                Step::Field(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Key(key) => path.push_str(&format!("[{key:?}]")),
            }
        }
        path
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.path.is_empty() { self.0.fault.fmt(f) } else { write!(f, "{}: {}", self.path(), self.0.fault) }
    }
}

impl std::error::Error for CodecError {}

impl From<Fault> for CodecError {
    fn from(fault: Fault) -> Self {
        Self::new(fault)
    }
}

impl From<SchemaError> for CodecError {
    fn from(error: SchemaError) -> Self {
        Self::new(Fault::Schema(error))
    }
}
