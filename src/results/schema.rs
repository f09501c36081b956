//! The JSON Schema of `summary.json` (draft 2020-12), made of the types that are written.

use super::record::Summary;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// No key but those of the types, so that a misspelt one is found.
#[derive(Clone)]
struct NoOtherKeys;

impl Transform for NoOtherKeys {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if schema.get("properties").is_some() {
            schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    }
}

/// The schema of what this version writes.
pub fn of_summary() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(NoOtherKeys);
    SchemaGenerator::new(settings).into_root_schema_for::<Summary>().to_value()
}
