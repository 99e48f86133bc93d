//! The value tree that is encoded, hashed, shown and read back.

use std::collections::BTreeMap;

use thiserror::Error;

/// A tree of plain values with exactly one canonical encoding.
///
/// Floats are held as `f64`; in canonical form every NaN is the one quiet NaN `0x7ff8000000000000`.
/// Raw bit patterns (series, weights) travel as [`Value::Bytes`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An absent optional.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer; the encoding takes the shortest form.
    Int(i64),
    /// A real number, always 64 bits wide in the encoding.
    Real(f64),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// UTF-8 text.
    Text(String),
    /// An ordered list.
    List(Vec<Value>),
    /// A map from text keys; the encoding sorts keys by length, then bytes.
    Map(BTreeMap<String, Value>),
}

/// Why a value tree could not be read as a typed object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}{}{reason}", if path.is_empty() { "" } else { ": " })]
pub struct DecodeError {
    /// Where in the tree, as `field.field[3]`.
    pub path: String,
    /// What was expected.
    pub reason: String,
}

impl DecodeError {
    /// An error at the root of the tree being read.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { path: String::new(), reason: reason.into() }
    }

    /// The same error seen from one level further out.
    pub fn within(mut self, step: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

/// A type with one canonical value tree.
pub trait Canonical: Sized {
    /// The tree of this value; equal values give equal trees, different values different trees.
    fn to_value(&self) -> Value;
    /// Reads the tree back; refuses whatever [`Canonical::to_value`] would not have written.
    fn from_value(value: &Value) -> Result<Self, DecodeError>;
}

macro_rules! expected {
    ($what:expr, $value:expr) => {
        DecodeError::new(format!("expected {}, found {}", $what, $value.kind_name()))
    };
}

impl Value {
    /// How many lists and maps lie within each other; 0 for a plain value.
    pub fn depth(&self) -> usize {
        match self {
            Value::List(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Value::Map(map) => 1 + map.values().map(Value::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The word a person reads for this kind of value.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Int(_) => "an integer",
            Value::Real(_) => "a real number",
            Value::Bytes(_) => "bytes",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl Canonical for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::Bool(b) => Ok(*b),
            other => Err(expected!("a truth value", other)),
        }
    }
}

macro_rules! canonical_int {
    ($($t:ty),*) => {$(
        impl Canonical for $t {
            fn to_value(&self) -> Value {
                Value::Int(i64::try_from(*self).expect("plan integers stay below 2^63"))
            }
            fn from_value(value: &Value) -> Result<Self, DecodeError> {
                match value {
                    Value::Int(i) => <$t>::try_from(*i).map_err(|_| DecodeError::new(format!("{i} is out of range"))),
                    other => Err(expected!("an integer", other)),
                }
            }
        }
    )*};
}
canonical_int!(i64, u64, u32, usize);

impl Canonical for f64 {
    fn to_value(&self) -> Value {
        Value::Real(*self)
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::Real(x) => Ok(*x),
            other => Err(expected!("a real number", other)),
        }
    }
}

impl Canonical for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::Text(s) => Ok(s.clone()),
            other => Err(expected!("text", other)),
        }
    }
}

/// Raw bytes as a field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl Canonical for Bytes {
    fn to_value(&self) -> Value {
        Value::Bytes(self.0.clone())
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::Bytes(bytes) => Ok(Bytes(bytes.clone())),
            other => Err(expected!("bytes", other)),
        }
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn to_value(&self) -> Value {
        Value::List(self.iter().map(T::to_value).collect())
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(i, item)| T::from_value(item).map_err(|e| e.within(&format!("[{i}]"))))
                .collect(),
            other => Err(expected!("a list", other)),
        }
    }
}

/// `None` is [`Value::Null`]; the inner type must never encode to null itself.
impl<T: Canonical> Canonical for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl<T: Canonical> Canonical for Box<T> {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        T::from_value(value).map(Box::new)
    }
}

impl Canonical for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        Ok(value.clone())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Trees of every kind of value, reals of every bit pattern, and texts that look like the views' own marks.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["\\PC{0,8}", "(hex|text):[0-9a-f\\n\"]{0,6}", any::<String>()];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-300..300i64).prop_map(Value::Int),
            any::<u64>().prop_map(|bits| Value::Real(f64::from_bits(bits))),
            (-300..300i32).prop_map(|x| Value::Real(f64::from(x) / 8.0)),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            text.clone().prop_map(Value::Text),
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                prop::collection::btree_map(text.clone(), inner, 0..6).prop_map(Value::Map),
            ]
        })
    }

    #[test]
    fn an_error_names_its_place() {
        let value = Value::List(vec![Value::Int(1), Value::Bool(true)]);
        let error = <Vec<u64>>::from_value(&value).unwrap_err().within("steps");
        assert_eq!(error.to_string(), "steps[1]: expected an integer, found a truth value");
        assert_eq!(u32::from_value(&Value::Int(-1)).unwrap_err().reason, "-1 is out of range");
    }

    #[test]
    fn depth_counts_lists_and_maps() {
        let map = Value::Map(BTreeMap::from([("a".to_owned(), Value::List(vec![Value::Null]))]));
        assert_eq!((Value::Null.depth(), Value::List(vec![]).depth(), map.depth()), (0, 1, 2));
    }
}
