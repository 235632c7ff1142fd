//! The list of all records, with the version each stands at.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use crate::error::CodegenError;
use crate::model::{Body, Definitions};
use crate::registered::registered;

/// The static `CATALOG`, ordered by full name.
pub(crate) fn catalog(definitions: &Definitions, released: Option<&Path>) -> Result<String, CodegenError> {
    let mut out = String::from("/// Every record, ordered by full name.\npub static CATALOG: &[g::Contract] = &[\n");
    for definition in definitions.values().filter(|definition| matches!(definition.body, Body::Record(_))) {
        let schema = registered(definition, definitions)?;
        let (version, is_released) = match released {
            Some(dir) => version(&dir.join(&definition.full_name), &schema)?,
            None => (1, false),
        };
        let _ = writeln!(
            out,
            "g::Contract {{ full_name: {:?}, context: {:?}, version: {version}, released: {is_released}, \
             schema: <{}::{} as g::AvroRecord>::SCHEMA, schema_of: <{}::{} as g::AvroRecord>::schema }},",
            definition.full_name,
            definition.context,
            definition.context,
            definition.name,
            definition.context,
            definition.name,
        );
    }
    out.push_str("];\n");
    Ok(out)
}

/// The version that `schema` is, or will be when it is released, and whether it is.
fn version(dir: &Path, schema: &Json) -> Result<(u32, bool), CodegenError> {
    let latest = match fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(|entry| released_number(&entry.ok()?.path())).max(),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(CodegenError::Io { path: dir.to_owned(), source }),
    };
    let Some(latest) = latest else { return Ok((1, false)) };
    let path = dir.join(format!("v{latest}.avsc"));
    let text = fs::read_to_string(&path).map_err(|source| CodegenError::Io { path: path.clone(), source })?;
    let json: Json = serde_json::from_str(&text).map_err(|source| CodegenError::Json { path, source })?;
    Ok(if json == *schema { (latest, true) } else { (latest.saturating_add(1), false) })
}

/// The number of `v<n>.avsc`.
fn released_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix('v')?.strip_suffix(".avsc")?.parse().ok()
}
