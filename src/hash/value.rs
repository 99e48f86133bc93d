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
#[error("{path}: {reason}")]
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
