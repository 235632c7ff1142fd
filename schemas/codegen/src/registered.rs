//! The schema that is registered: one self-contained JSON a record.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::error::{CodegenError, Place};
use crate::model::{Definition, Definitions};

/// The JSON of a definition with every named type spelled out at its first use, without this project's own properties.
pub(crate) fn registered(definition: &Definition, definitions: &Definitions) -> Result<Json, CodegenError> {
    let mut walk = Walk { definitions, defined: BTreeSet::new(), open: Vec::new() };
    walk.definition(definition)
}

struct Walk<'a> {
    definitions: &'a Definitions,
    defined: BTreeSet<&'a str>,
    open: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn definition(&mut self, definition: &'a Definition) -> Result<Json, CodegenError> {
        let name = definition.full_name.as_str();
        if self.open.contains(&name) {
            let reason = format!("`{name}` contains itself: recursive records are not supported");
            return Err(Place::root(&definition.file).error(reason));
        }
        if !self.defined.insert(name) {
            return Ok(Json::String(name.to_owned()));
        }
        self.open.push(name);
        let mut out = Map::new();
        for (key, value) in definition.json.as_object().into_iter().flatten() {
            match key.as_str() {
                "rust" | "event" => {}
                "fields" => {
                    let fields = value.as_array().into_iter().flatten().map(|field| self.field(field));
                    out.insert(key.clone(), Json::Array(fields.collect::<Result<_, _>>()?));
                }
                _ => {
                    out.insert(key.clone(), value.clone());
                }
            }
        }
        self.open.pop();
        Ok(Json::Object(out))
    }

    fn field(&mut self, field: &Json) -> Result<Json, CodegenError> {
        let mut out = Map::new();
        for (key, value) in field.as_object().into_iter().flatten() {
            let value = if key == "type" { self.ty(value)? } else { value.clone() };
            out.insert(key.clone(), value);
        }
        Ok(Json::Object(out))
    }

    fn ty(&mut self, ty: &Json) -> Result<Json, CodegenError> {
        match ty {
            Json::String(name) => match self.definitions.get(name) {
                Some(definition) => self.definition(definition),
                None => Ok(ty.clone()),
            },
            Json::Array(branches) => {
                Ok(Json::Array(branches.iter().map(|branch| self.ty(branch)).collect::<Result<_, _>>()?))
            }
            Json::Object(object) => {
                let mut out = Map::new();
                for (key, value) in object {
                    match key.as_str() {
                        "rust" => {}
                        "type" | "items" | "values" => {
                            out.insert(key.clone(), self.ty(value)?);
                        }
                        _ => {
                            out.insert(key.clone(), value.clone());
                        }
                    }
                }
                Ok(Json::Object(out))
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => Ok(ty.clone()),
        }
    }
}
