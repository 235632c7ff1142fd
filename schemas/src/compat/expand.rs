//! Schemas without references.
//!
//! `SchemaCompatibility` compares a reference with nothing but a reference: moving the first use of a named type, as a new
//! field before it does, would look like a break.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::UnionSchema;

/// The schema with each reference replaced by what it names. Recursive types keep their references.
pub(super) fn expand(schema: &Schema) -> Schema {
    let mut expanded = schema.clone();
    walk(&mut expanded, &mut BTreeMap::new());
    expanded
}

fn walk(schema: &mut Schema, known: &mut BTreeMap<String, Schema>) {
    if let Schema::Ref { name } = schema {
        if let Some(definition) = known.get(&name.fullname(None)) {
            *schema = definition.clone();
        }
        return;
    }
    match schema {
        Schema::Array(array) => walk(&mut array.items, known),
        Schema::Map(map) => walk(&mut map.types, known),
        Schema::Union(union) => {
            let mut branches = union.variants().to_vec();
            branches.iter_mut().for_each(|branch| walk(branch, known));
            if let Ok(expanded) = UnionSchema::new(branches) {
                *union = expanded;
            }
        }
        Schema::Record(record) => record.fields.iter_mut().for_each(|field| walk(&mut field.schema, known)),
        Schema::Null
        | Schema::Boolean
        | Schema::Int
        | Schema::Long
        | Schema::Float
        | Schema::Double
        | Schema::Bytes
        | Schema::String
        | Schema::Enum(_)
        | Schema::Fixed(_)
        | Schema::Decimal(_)
        | Schema::BigDecimal
        | Schema::Uuid(_)
        | Schema::Date
        | Schema::TimeMillis
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos
        | Schema::Duration(_)
        | Schema::Ref { .. } => {}
    }
    if let Some(name) = schema.name() {
        known.insert(name.fullname(None), schema.clone());
    }
}
