//! `record!` and `variants!`: a type and its canonical form, stated in one place.
//!
//! The key of every field and the tag of every variant is the Rust name, so a rename changes identities; the
//! golden ids in `tests/` make such a change visible.

/// Defines a struct whose canonical form is a map from field name to field value.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl $crate::hash::Canonical for $name {
            fn to_value(&self) -> $crate::hash::Value {
                let mut map = std::collections::BTreeMap::new();
                $(map.insert(stringify!($field).to_owned(), $crate::hash::Canonical::to_value(&self.$field));)*
                $crate::hash::Value::Map(map)
            }
            fn from_value(value: &$crate::hash::Value) -> Result<Self, $crate::hash::DecodeError> {
                let $crate::hash::Value::Map(map) = value else {
                    return Err($crate::hash::DecodeError::new(format!(
                        "expected {}, found {}", stringify!($name), value.kind_name()
                    )));
                };
                const FIELDS: &[&str] = &[$(stringify!($field)),*];
                if let Some(extra) = map.keys().find(|k| !FIELDS.contains(&k.as_str())) {
                    return Err($crate::hash::DecodeError::new(format!(
                        "{} has no field `{extra}`", stringify!($name)
                    )));
                }
                Ok(Self {
                    $($field: {
                        let field = map.get(stringify!($field)).ok_or_else(|| $crate::hash::DecodeError::new(
                            format!("{} lacks the field `{}`", stringify!($name), stringify!($field))
                        ))?;
                        $crate::hash::Canonical::from_value(field).map_err(|e| e.within(stringify!($field)))?
                    }),*
                })
            }
        }
    };
}

/// Defines an enum whose canonical form is the variant's name, or a one-entry map from it to the fields. The
/// documentation of a variant explains its fields.
macro_rules! variants {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$vmeta:meta])* $variant:ident $({ $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? })?),* $(,)?
    }) => {
        $(#[$meta])*
        pub enum $name { $($(#[$vmeta])* $variant $({ $($(#[$fmeta])* #[allow(missing_docs)] $field: $ty),* })?),* }

        impl $crate::hash::Canonical for $name {
            fn to_value(&self) -> $crate::hash::Value {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        #[allow(unused_mut)]
                        let mut map = std::collections::BTreeMap::<String, $crate::hash::Value>::new();
                        $($(map.insert(stringify!($field).to_owned(), $crate::hash::Canonical::to_value($field));)*)?
                        let tag = stringify!($variant).to_owned();
                        if map.is_empty() {
                            $crate::hash::Value::Text(tag)
                        } else {
                            $crate::hash::Value::Map(std::collections::BTreeMap::from([(tag, $crate::hash::Value::Map(map))]))
                        }
                    })*
                }
            }
            fn from_value(value: &$crate::hash::Value) -> Result<Self, $crate::hash::DecodeError> {
                let empty = std::collections::BTreeMap::new();
                let (tag, map) = match value {
                    $crate::hash::Value::Text(tag) => (tag.as_str(), &empty),
                    $crate::hash::Value::Map(outer) => match outer.iter().next() {
                        Some((tag, $crate::hash::Value::Map(map))) if outer.len() == 1 && !map.is_empty() => (tag.as_str(), map),
                        _ => return Err($crate::hash::DecodeError::new(
                            format!("expected one variant of {}", stringify!($name))
                        )),
                    },
                    other => return Err($crate::hash::DecodeError::new(
                        format!("expected {}, found {}", stringify!($name), other.kind_name())
                    )),
                };
                match tag {
                    $(stringify!($variant) => {
                        const FIELDS: &[&str] = &[$($(stringify!($field)),*)?];
                        if let Some(extra) = map.keys().find(|k| !FIELDS.contains(&k.as_str())) {
                            return Err($crate::hash::DecodeError::new(format!(
                                "{}::{} has no field `{extra}`", stringify!($name), tag
                            )));
                        }
                        Ok(Self::$variant $({
                            $($field: {
                                let field = map.get(stringify!($field)).ok_or_else(|| $crate::hash::DecodeError::new(
                                    format!("{} lacks the field `{}`", stringify!($variant), stringify!($field))
                                ))?;
                                $crate::hash::Canonical::from_value(field).map_err(|e| e.within(stringify!($field)))?
                            }),*
                        })?)
                    })*
                    other => Err($crate::hash::DecodeError::new(
                        format!("{} has no variant `{other}`", stringify!($name))
                    )),
                }
            }
        }
    };
}

pub(crate) use {record, variants};
