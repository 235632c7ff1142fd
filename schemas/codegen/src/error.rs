//! Why a contract cannot be turned into Rust.

use std::path::{Path, PathBuf};

/// A contract that breaks a rule of this generator, or a file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodegenError {
    /// A file or directory could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A contract breaks a rule.
    #[error("{}: {at}: {reason}", path.display())]
    Contract {
        /// The file.
        path: PathBuf,
        /// The place inside the file, as a JSON path (`$.fields[3].type`).
        at: String,
        /// The rule.
        reason: String,
    },
}

/// A place inside a contract's file: it makes errors and walks down.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    file: &'a Path,
    at: String,
}

impl<'a> Place<'a> {
    pub(crate) fn root(file: &'a Path) -> Self {
        Self { file, at: "$".to_owned() }
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        Self { file: self.file, at: format!("{}.{key}", self.at) }
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self { file: self.file, at: format!("{}[{index}]", self.at) }
    }

    /// The place of a field, by name as well as by number: reviewers search for names.
    pub(crate) fn field(&self, index: usize, name: &str) -> Self {
        Self { file: self.file, at: format!("{}.fields[{index}]({name})", self.at) }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> CodegenError {
        CodegenError::Contract { path: self.file.to_owned(), at: self.at.clone(), reason: reason.into() }
    }
}
