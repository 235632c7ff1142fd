//! The folder of released versions: `<full name>/v<n>.avsc`, written once and never changed.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::CompatError;
use crate::catalog::Contract;

/// A released version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// From 1, without gaps.
    pub version: u32,
    /// The schema as it was registered.
    pub schema: String,
}

/// The released versions of a contract, oldest first; none if there is no folder.
///
/// # Errors
/// The folder cannot be read, a version is missing, or a file is not named `v<n>.avsc`.
pub fn released_versions(released: &Path, full_name: &str) -> Result<Vec<Released>, CompatError> {
    let dir = released.join(full_name);
    let mut versions = Vec::new();
    for path in entries(&dir)? {
        let version = number(&path).ok_or_else(|| CompatError::Folder {
            path: path.clone(),
            reason: "a released version is named v<n>.avsc".to_owned(),
        })?;
        let schema = fs::read_to_string(&path).map_err(|source| CompatError::Io { path, source })?;
        versions.push(Released { version, schema });
    }
    versions.sort_by_key(|released| released.version);
    if let Some((missing, _)) = (1..).zip(&versions).find(|(expected, found)| *expected != found.version) {
        return Err(CompatError::Folder { path: dir, reason: format!("v{missing}.avsc is missing") });
    }
    Ok(versions)
}

/// Writes the contract as its next version, unless it is the latest already. Returns the version written.
///
/// It does not ask whether the contract is compatible: [`check`](super::check) first.
///
/// # Errors
/// The folder cannot be read or written.
pub fn release(released: &Path, contract: &Contract) -> Result<Option<u32>, CompatError> {
    let versions = released_versions(released, contract.full_name)?;
    if versions.last().is_some_and(|latest| same_text(&latest.schema, contract.schema)) {
        return Ok(None);
    }
    let version = versions.last().map_or(1, |latest| latest.version.saturating_add(1));
    let dir = released.join(contract.full_name);
    let path = dir.join(format!("v{version}.avsc"));
    let io = |source| CompatError::Io { path: path.clone(), source };
    fs::create_dir_all(&dir).map_err(io)?;
    // Readable, because it is reviewed; the JSON is what counts.
    let json: Json = serde_json::from_str(contract.schema).map_err(|error| io(error.into()))?;
    let text = serde_json::to_string_pretty(&json).map_err(|error| io(error.into()))?;
    // A released version is never overwritten, even by two releases at once.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(io)?;
    Ok(Some(version))
}

/// Whether two schemas are the same JSON, documentation and all.
pub(super) fn same_text(a: &str, b: &str) -> bool {
    match (serde_json::from_str::<Json>(a), serde_json::from_str::<Json>(b)) {
        (Ok(a), Ok(b)) => a == b,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}

/// Names of the folders, which are full names of contracts.
pub(super) fn folders(released: &Path) -> Result<Vec<String>, CompatError> {
    let paths = entries(released)?.into_iter().filter(|path| path.is_dir());
    Ok(paths.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, CompatError> {
    let io = |source| CompatError::Io { path: dir.to_owned(), source };
    let mut paths = match fs::read_dir(dir) {
        Ok(entries) => {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(io)?
        }
        Err(source) if source.kind() == ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(io(source)),
    };
    paths.sort();
    Ok(paths)
}

fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix('v')?.strip_suffix(".avsc")?.parse().ok()
}
