//! RON and JSON views of a value tree, for people and other programs. They are never hashed.
//!
//! Every kind of value has its own form in RON: `None`, `true`, `3`, `3.0`, `inf`, `NaN`, `"text"`, `[..]`, `{"key": ..}`.
//! Bytes are the text `"hex:00ff"`; a text that begins with `hex:` or `text:` itself is shown behind `text:`, so
//! reading a view gives back the very tree that was shown. JSON has the same forms, with `"NaN"`, `"inf"` and `"-inf"`
//! for the reals it lacks; it is a way out only.

use std::collections::BTreeMap;
use std::fmt;

use ron::ser::PrettyConfig;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cbor::{CANONICAL_NAN, MAX_DEPTH};
use super::{DecodeError, Value};

const HEX: &str = "hex:";
const TEXT: &str = "text:";

/// The value as RON, indented by four spaces.
pub fn to_ron(value: &Value) -> String {
    let options = ron::Options::default().without_recursion_limit();
    options.to_string_pretty(value, PrettyConfig::default()).expect("writing to memory cannot fail")
}

/// Reads a value from RON, as deep as [`MAX_DEPTH`].
pub fn from_ron(text: &str) -> Result<Value, DecodeError> {
    // The reader of RON counts two levels where a tree has one.
    let options = ron::Options::default().with_recursion_limit(2 * MAX_DEPTH);
    options.from_str(text).map_err(|e| DecodeError::new(format!("line {}: {}", e.span.start.line, e.code)))
}

/// The value as JSON. Not a way back: what is not finite becomes text.
pub fn to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::Real(x) => match serde_json::Number::from_f64(*x) {
            Some(number) => Json::Number(number),
            None => Json::String(x.to_string()),
        },
        Value::Bytes(bytes) => Json::String(hex_text(bytes)),
        Value::Text(text) => Json::String(marked_text(text)),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(key, item)| (key.clone(), to_json(item))).collect()),
    }
}

fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().fold(HEX.to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn marked_text(text: &str) -> String {
    let mark = if text.starts_with(HEX) || text.starts_with(TEXT) { TEXT } else { "" };
    format!("{mark}{text}")
}

fn read_text(text: &str) -> Result<Value, String> {
    match (text.strip_prefix(HEX), text.strip_prefix(TEXT)) {
        (Some(digits), _) => read_hex(digits)
            .map(Value::Bytes)
            .ok_or_else(|| format!("`{text}`: after `{HEX}` stand pairs of the digits 0-9 and a-f; text that begins so is written `{TEXT}{text}`")),
        (None, Some(rest)) => Ok(Value::Text(rest.to_owned())),
        (None, None) => Ok(Value::Text(text.to_owned())),
    }
}

fn read_hex(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(nibble(*high)? << 4 | nibble(*low)?) } else { None }).collect()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_none(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(i) => serializer.serialize_i64(*i),
            Value::Real(x) if x.is_nan() => serializer.serialize_f64(f64::from_bits(CANONICAL_NAN)),
            Value::Real(x) => serializer.serialize_f64(*x),
            Value::Bytes(bytes) => serializer.serialize_str(&hex_text(bytes)),
            Value::Text(text) => serializer.serialize_str(&marked_text(text)),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, item)| map.serialize_entry(key, item))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("None, a truth value, a number, a text, a list `[..]` or a map `{\"key\": ..}`")
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, i: i64) -> Result<Value, E> {
        Ok(Value::Int(i))
    }

    fn visit_u64<E: serde::de::Error>(self, u: u64) -> Result<Value, E> {
        i64::try_from(u).map(Value::Int).map_err(|_| E::custom(format!("{u} is beyond the largest integer, 2^63 - 1")))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Real(x))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        read_text(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` stands here twice")));
            }
            map.insert(key, access.next_value()?);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::cbor;
    use crate::hash::value::tests::any_value;

    fn one(key: &str, value: Value) -> Value {
        Value::Map(BTreeMap::from([(key.to_owned(), value)]))
    }

    #[test]
    fn ron_is_readable() {
        let value = Value::List(vec![
            one("rate", Value::Real(1.0)),
            Value::Bytes(vec![0, 255]),
            Value::Text("hex:".into()),
            Value::Real(f64::NEG_INFINITY),
            Value::Real(f64::NAN),
            Value::Null,
        ]);
        let ron = to_ron(&value);
        let wanted = r#"[ { "rate": 1.0, }, "hex:00ff", "text:hex:", -inf, NaN, None, ]"#;
        assert_eq!(ron.split_whitespace().collect::<Vec<_>>().join(" "), wanted);
    }

    #[test]
    fn json_says_what_it_can() {
        let value =
            Value::List(vec![Value::Real(f64::NAN), Value::Real(-0.5), Value::Bytes(vec![7]), one("a", Value::Null)]);
        assert_eq!(to_json(&value).to_string(), r#"["NaN",-0.5,"hex:07",{"a":null}]"#);
        assert_eq!(to_json(&Value::Real(f64::NEG_INFINITY)), serde_json::json!("-inf"));
    }

    #[test]
    fn reading_refuses_what_has_no_meaning() {
        for (ron, wanted) in [
            (r#""hex:0""#, "pairs of the digits"),
            (r#""hex:0G""#, "pairs of the digits"),
            (r#""hex:+1""#, "pairs of the digits"),
            (r#"{"a": 1, "a": 2}"#, "twice"),
            ("18446744073709551615", "beyond the largest integer"),
            ("()", "Expected None"),
            ("Mean", "Expected None"),
            ("[1,", "line 1"),
            ("[\n1\n2]", "line 3"),
        ] {
            let error = from_ron(ron).expect_err(ron).to_string();
            assert!(error.contains(wanted), "{ron}: {error}");
        }
        assert!(from_ron(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn the_deepest_value_can_be_shown() {
        let nested = |depth: usize| (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        let deep = nested(MAX_DEPTH);
        assert_eq!(from_ron(&to_ron(&deep)), Ok(deep));
        assert!(from_ron(&to_ron(&nested(MAX_DEPTH + 1))).is_err());
    }

    proptest! {
        #[test]
        fn ron_loses_nothing(value in any_value()) {
            let back = from_ron(&to_ron(&value)).unwrap();
            // Encodings are compared, since a NaN does not equal itself.
            prop_assert_eq!(cbor::encode(&back), cbor::encode(&value));
        }

        #[test]
        fn json_always_prints(value in any_value()) {
            let text = to_json(&value).to_string();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}
