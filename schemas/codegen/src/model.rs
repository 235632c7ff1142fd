//! The contracts as this generator sees them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;

/// Every definition by full name.
pub(crate) type Definitions = BTreeMap<String, Definition>;

/// One `.avsc` file.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) full_name: String,
    pub(crate) context: String,
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) file: PathBuf,
    /// The file's JSON, from which the registered schema is made.
    pub(crate) json: Json,
    pub(crate) body: Body,
}

/// What a file defines.
#[derive(Debug)]
pub(crate) enum Body {
    Record(Vec<Field>),
    Enum {
        symbols: Vec<String>,
        /// The enum of `fillstream_domain` that stands for it.
        rust: Option<String>,
    },
    Fixed(usize),
}

/// A field of a record.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) ty: Type,
    /// The Rust expression of its default.
    pub(crate) default: Option<Default>,
}

/// A field's default, checked against its type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Default {
    Null,
    Boolean(bool),
    Integer(i64),
    /// The text of a finite double.
    Double(String),
    Text(String),
    Bytes(Vec<u8>),
    Symbol(String),
    /// An array or map without items.
    Empty,
    /// A default of the first branch of a union.
    Some(Box<Default>),
}

/// A field's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Int,
    Long,
    Double,
    Text,
    Bytes,
    TimestampMicros,
    Date,
    Decimal {
        precision: u32,
        scale: u32,
        rust: String,
    },
    /// Another file's definition, by full name.
    Named(String),
    Optional {
        some: Box<Type>,
        /// The branch that is `null`: 0 or 1.
        null: u8,
    },
    Array(Box<Type>),
    Map(Box<Type>),
}
