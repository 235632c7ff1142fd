//! Generates Rust types and a direct Avro codec from the contracts.
//!
//! One `.avsc` file holds one record, enum or fixed; it lies in the folder of its context, and other files name it by its full
//! name. What a contract may use is deliberately small (see `schemas/README.md`): everything else is an error that names
//! the file and the place in it.
//!
//! Properties of this project, which other tools ignore and the registered schema lacks:
//! - `"rust": "Price"` on a decimal: the field's type is `fillstream_domain::Price`;
//! - `"rust": "Side"` on an enum: no enum is generated, `fillstream_domain::Side` stands for it.
//!
//! Both are checked by the compiler: precision and scale, and the symbols in their order, must agree.
#![forbid(unsafe_code)]

mod catalog;
mod default;
mod emit;
mod error;
mod model;
mod parse;
mod registered;

use std::fs;
use std::path::Path;

pub use crate::error::CodegenError;

/// Generates `out` from the contracts under `contracts`.
///
/// `prefix` is the first part of every full name; `released` is the folder of released versions, absent for contracts
/// that are never released (those of tests).
///
/// # Errors
/// A file that cannot be read, a contract that breaks a rule, an output that cannot be written.
pub fn generate(contracts: &Path, released: Option<&Path>, prefix: &str, out: &Path) -> Result<(), CodegenError> {
    let definitions = parse::load(contracts, prefix)?;
    let mut code = emit::contexts(&definitions)?;
    code.push_str(&catalog::catalog(&definitions, released)?);
    fs::write(out, code).map_err(|source| CodegenError::Io { path: out.to_owned(), source })
}
