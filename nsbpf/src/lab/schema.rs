//! The JSON Schema of the lab language, for editors that complete and check labs.
//!
//! It is made of [`spec`](super::spec), and of the kinds of plain values in [`kind`]:
//! what a name or an address looks like. It accepts a little more than the parser does,
//! which knows also what goes with what: a bridge that is named must be there.

pub(super) mod kind;
pub(super) mod rule;

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::spec::LabSpec;

/// The JSON Schema of a lab, of draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<LabSpec>()
        .to_value();
    one_line_each(&mut schema);
    schema
}

/// Joins the lines of the doc comments that are descriptions.
fn one_line_each(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            members.values_mut().for_each(one_line_each);
        }
        Value::Array(items) => items.iter_mut().for_each(one_line_each),
        _ => {}
    }
}

/// A lab that shows the shape of one.
pub(super) fn small_lab() -> Value {
    let interface = json!({ "bridge": "br0", "addresses": ["10.0.0.1/24"] });
    json!({
        "name": "quickstart",
        "bridges": { "br0": {} },
        "namespaces": { "vnet0": { "interfaces": { "eth0": interface } } },
    })
}

/// A mapping whose keys are of the kind `K` and whose values are `V`; nothing stands
/// for an empty one.
pub(super) struct Mapping<K, V>(PhantomData<(K, V)>);

impl<K: JsonSchema, V: JsonSchema> JsonSchema for Mapping<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{} by {}", V::schema_name(), K::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["object", "null"],
            "propertyNames": generator.subschema_for::<K>(),
            "additionalProperties": generator.subschema_for::<V>(),
        })
    }
}

/// A namespace is somebody else's in one way at most.
pub(super) fn found_in_one_way(schema: &mut Schema) {
    not_both(schema, &[("netns", "pid"), ("netns", "container"), ("pid", "container")]);
}

/// An expectation is by tcp or by udp.
pub(super) fn by_one_way(schema: &mut Schema) {
    not_both(schema, &[("tcp", "udp")]);
}

/// An interface has a bridge or a peer. One without may be the peer of another.
pub(super) fn attached_once(schema: &mut Schema) {
    not_both(schema, &[("bridge", "peer")]);
}

/// A rule has a limit, and may have a burst, where its action is `limit`.
pub(super) fn limited_by_a_limit(schema: &mut Schema) {
    let said = json!({ "not": { "type": "null" } });
    let is_limit = json!({ "properties": { "action": { "const": "limit" } } });
    let has_limit = json!({ "required": ["limit"], "properties": { "limit": said } });
    let nothing = json!({ "type": "null" });
    let has_none = json!({ "properties": { "limit": nothing, "burst": nothing } });
    schema.insert("if".to_owned(), is_limit);
    schema.insert("then".to_owned(), has_limit);
    schema.insert("else".to_owned(), has_none);
}

/// Refuses both keys of a pair; one with nothing behind it is not said.
fn not_both(schema: &mut Schema, pairs: &[(&str, &str)]) {
    let said = json!({ "not": { "type": "null" } });
    let refused: Vec<Value> = pairs
        .iter()
        .map(|(one, other)| {
            let both = json!({
                "required": [one, other],
                "properties": { *one: said, *other: said },
            });
            json!({ "not": both })
        })
        .collect();
    schema.insert("allOf".to_owned(), Value::Array(refused));
}
