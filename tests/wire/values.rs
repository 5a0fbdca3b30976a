//! Hessian values: every recording decodes to what its index says, and is written in the same bytes as Java writes it.

use rollcall_core::hessian::Value;
use serde_json::Value as Json;

use crate::golden::{Recording, cuts, recordings, units};

fn vectors() -> Vec<Recording> {
    recordings("hessian", "vectors")
        .into_iter()
        .filter(|recording| recording.facts["dialect"] == "v3")
        .collect()
}

#[test]
fn every_recorded_value_is_what_its_index_says() {
    for vector in vectors()
        .iter()
        .filter(|vector| vector.facts["value"].is_object())
    {
        let value =
            Value::decode(&vector.bytes).unwrap_or_else(|error| panic!("{}: {error}", vector.id()));

        let mut walk = Walk {
            id: vector.id(),
            next_reference: 0,
        };
        walk.compare(&value, &vector.facts["value"]);
    }
}

#[test]
fn every_value_that_java_writes_so_is_written_so() {
    for vector in vectors()
        .iter()
        .filter(|vector| vector.facts["value"].is_object() && is_as_java_writes(vector))
    {
        let mut out = Vec::new();
        Value::decode(&vector.bytes).unwrap().encode(&mut out);

        assert!(
            out == vector.bytes,
            "{}: {:02x?}",
            vector.id(),
            &out[..out.len().min(64)]
        );
    }
}

fn is_as_java_writes(vector: &Recording) -> bool {
    let is_from_java = vector.facts["encoder"]
        .as_str()
        .unwrap_or("")
        .starts_with("com.alipay.sofa:hessian");
    is_from_java || vector.facts["java336"]["reencode"] == "same"
}

#[test]
fn bad_values_are_refused() {
    for bad in vectors()
        .iter()
        .filter(|vector| vector.must_fail() || vector.facts["refdec_error"].is_string())
    {
        assert!(Value::decode(&bad.bytes).is_err(), "{}", bad.id());
    }
}

#[test]
fn every_truncation_is_an_error() {
    for vector in vectors()
        .iter()
        .filter(|vector| vector.facts["value"].is_object())
    {
        for len in cuts(&vector.bytes) {
            assert!(
                Value::decode(&vector.bytes[..len]).is_err(),
                "{} {len}",
                vector.id()
            );
        }
    }
}

/// Compares a value with its description, whose ids count the lists, maps and objects in the order of their beginnings.
pub(crate) struct Walk<'a> {
    pub(crate) id: &'a str,
    pub(crate) next_reference: u64,
}

impl Walk<'_> {
    pub(crate) fn compare(&mut self, value: &Value<'_>, expected: &Json) {
        let same = match (expected["t"].as_str().unwrap(), value) {
            ("null", Value::Null) => true,
            ("bool", Value::Bool(value)) => expected["v"] == *value,
            ("int", Value::Int(value)) => expected["v"] == *value,
            ("long", Value::Long(value)) => expected["v"].as_str() == Some(&value.to_string()),
            ("date", Value::Date(ms)) => expected["ms"].as_str() == Some(&ms.to_string()),
            ("double", Value::Double(value)) => {
                expected["bits"] == format!("{:016x}", value.to_bits())
            }
            ("string", Value::Text(text)) => {
                let units_read: Vec<u16> = text.utf16().collect();
                match expected["v"].as_str() {
                    Some(whole) => units_read == units(whole),
                    None => {
                        expected["len"] == units_read.len()
                            && units_read
                                .starts_with(&units(expected["head"].as_str().unwrap_or("")))
                    }
                }
            }
            ("binary", Value::Binary(bytes)) => match expected["hex"].as_str() {
                Some(hex) => *hex == hex_of(bytes),
                None => expected["len"] == bytes.len(),
            },
            ("ref", Value::Reference(index)) => expected["id"] == *index,
            ("list", Value::List { type_name, items }) => {
                self.begin(expected);
                self.items(items, expected);
                is_name(*type_name, &expected["type"])
            }
            ("map", Value::Map { type_name, entries }) => {
                self.begin(expected);
                let pairs = expected["entries"].as_array().unwrap();
                for ((key, value), pair) in entries.iter().zip(pairs) {
                    self.compare(key, &pair[0]);
                    self.compare(value, &pair[1]);
                }
                is_name(*type_name, &expected["type"]) && entries.len() == pairs.len()
            }
            ("object", Value::Object { class, fields }) => {
                self.begin(expected);
                let pairs = expected["fields"].as_array().unwrap();
                for ((name, value), pair) in class.fields().zip(fields).zip(pairs) {
                    assert_eq!(
                        name.to_str().unwrap(),
                        pair[0].as_str().unwrap(),
                        "{}",
                        self.id
                    );
                    self.compare(value, &pair[1]);
                }
                is_name(Some(class.name()), &expected["class"]) && fields.len() == pairs.len()
            }
            _ => false,
        };
        assert!(same, "{}: {value:?} instead of {expected}", self.id);
    }

    fn begin(&mut self, expected: &Json) {
        assert_eq!(expected["id"], self.next_reference, "{}", self.id);
        self.next_reference += 1;
    }

    fn items(&mut self, items: &[Value<'_>], expected: &Json) {
        if let Some(all) = expected["items"].as_array() {
            assert_eq!(items.len(), all.len(), "{}", self.id);
            return items
                .iter()
                .zip(all)
                .for_each(|(item, expected)| self.compare(item, expected));
        }
        assert_eq!(expected["len"], items.len(), "{}", self.id);
        self.compare(&items[0], &expected["first"]);
        // What lies between is not described; only a last value without an id of its own can be compared.
        if expected["last"]["t"] != "list" {
            self.compare(items.last().unwrap(), &expected["last"]);
        }
    }
}

fn is_name(name: Option<&[u8]>, expected: &Json) -> bool {
    name.map(|name| std::str::from_utf8(name).unwrap()) == expected.as_str()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
