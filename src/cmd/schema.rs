//! `closestorm schema`: what editors and programs check scenarios and summaries with.

use super::console::print;
use super::exit::OK;
use crate::cli::{Schema, SchemaOf};
use crate::results;
use crate::scenario;

/// Prints a schema.
///
/// # Errors
/// Stdout cannot be written.
pub fn main(args: &Schema) -> anyhow::Result<u8> {
    print(&text(args.of))?;
    Ok(OK)
}

/// A schema as a file has it.
pub fn text(of: SchemaOf) -> String {
    let schema = match of {
        SchemaOf::Scenario => scenario::json_schema(),
        SchemaOf::Summary => results::schema::of_summary(),
    };
    format!("{schema:#}\n")
}
