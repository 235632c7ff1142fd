//! Whether the contracts are compatible with every version that was ever released, in both directions.
//!
//! Two judges: `apache_avro`'s resolution rules, whose "partial" counts as a break, and a walk of our own over what those
//! rules let pass although it changes the meaning: logical types, precision and scale, namespaces, strings that become
//! bytes. The walk names each break by its path; the rules have the last word where the walk found nothing.

mod diff;
mod expand;
mod release;
mod walk;

use std::fmt;
use std::path::PathBuf;

use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

pub use self::diff::{Change, Difference, differences};
pub use self::release::{Released, release, released_versions};
use crate::catalog::{Contract, catalog};
use crate::schema::{Schema, SchemaError};

/// Who cannot read whose records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The current contract cannot read records of the released version.
    Backward,
    /// Readers of the released version cannot read records of the current contract.
    Forward,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backward => "its records can no longer be read",
            Self::Forward => "its readers cannot read the new records",
        })
    }
}

/// An incompatible change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Break {
    /// The contract.
    pub full_name: String,
    /// The released version that it breaks with.
    pub version: u32,
    /// Who is broken.
    pub direction: Direction,
    /// The place in the schema, as in `$.fills[].last_px`.
    pub path: String,
    /// What changed.
    pub reason: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { full_name, version, direction, path, reason } = self;
        write!(f, "{full_name} against v{version}: {path}: {reason} ({direction})")
    }
}

/// What is worth knowing and breaks nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The contract.
    pub full_name: String,
    /// What there is to know.
    pub text: String,
}

/// The result of [`check`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Contracts and released versions that were compared.
    pub compared: usize,
    /// Incompatible changes; empty if all is well.
    pub breaks: Vec<Break>,
    /// Contracts that differ from their latest release, or have none.
    pub notes: Vec<Note>,
}

/// Released versions that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CompatError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A released version is missing between others, or a file does not belong there.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A schema is unusable.
    #[error("{name}: {source}")]
    Schema {
        /// The contract or the file.
        name: String,
        /// What is wrong with it.
        source: SchemaError,
    },
}

/// Compares every contract with every version under `released`, which is laid out as `<full name>/v<n>.avsc`.
///
/// # Errors
/// A released version cannot be read, or is no schema.
pub fn check(released: &std::path::Path) -> Result<Report, CompatError> {
    let mut report = Report::default();
    let mut folders = release::folders(released)?;
    for contract in catalog() {
        folders.retain(|folder| folder != contract.full_name);
        let versions = released_versions(released, contract.full_name)?;
        check_contract(contract, &versions, &mut report)?;
    }
    for full_name in folders {
        let versions = released_versions(released, &full_name)?;
        report.breaks.extend(versions.iter().map(|version| Break {
            full_name: full_name.clone(),
            version: version.version,
            direction: Direction::Backward,
            path: "$".to_owned(),
            reason: "the contract was removed or renamed".to_owned(),
        }));
    }
    report.breaks.sort();
    Ok(report)
}

fn check_contract(contract: &Contract, versions: &[Released], report: &mut Report) -> Result<(), CompatError> {
    for released in versions {
        report.compared += 1;
        report.breaks.extend(compare(contract.full_name, contract.schema, released.version, &released.schema)?);
    }
    let text = match versions.last() {
        None => "has no released version".to_owned(),
        Some(latest) if !release::same_text(&latest.schema, contract.schema) => {
            format!("differs from v{} and is not released", latest.version)
        }
        Some(_) => return Ok(()),
    };
    report.notes.push(Note { full_name: contract.full_name.to_owned(), text });
    Ok(())
}

/// Compares a current schema with a released one, in both directions.
///
/// # Errors
/// One of them is no schema.
pub fn compare(full_name: &str, current: &str, version: u32, released: &str) -> Result<Vec<Break>, CompatError> {
    let (current, current_avro) = parse(full_name, current)?;
    let (old, old_avro) = parse(&format!("{full_name} v{version}"), released)?;
    let mut breaks = Vec::new();
    for (direction, writer, reader, avro_writer, avro_reader) in [
        (Direction::Backward, &old, &current, &old_avro, &current_avro),
        (Direction::Forward, &current, &old, &current_avro, &old_avro),
    ] {
        let mut found = walk::walk(writer, reader);
        if found.is_empty() {
            found.extend(rules(avro_writer, avro_reader).map(|reason| ("$".to_owned(), reason)));
        }
        let full_name = full_name.to_owned();
        breaks.extend(found.into_iter().map(|(path, reason)| Break {
            full_name: full_name.clone(),
            version,
            direction,
            path,
            reason,
        }));
    }
    Ok(breaks)
}

fn parse(name: &str, json: &str) -> Result<(Schema, apache_avro::Schema), CompatError> {
    let error = |source| CompatError::Schema { name: name.to_owned(), source };
    let avro =
        apache_avro::Schema::parse_str(json).map_err(|source| error(SchemaError::new("", source.to_string())))?;
    let schema = Schema::from_avro(&avro).map_err(error)?;
    Ok((schema, expand::expand(&avro)))
}

/// What Avro's own rules say against it.
fn rules(writer: &apache_avro::Schema, reader: &apache_avro::Schema) -> Option<String> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => Some("only some of the records could be read".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
