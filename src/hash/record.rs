//! `record!` and `variants!`: a type and its canonical form, stated in one place.
//!
//! The key of every field and the tag of every variant is the Rust name, so a rename changes identities; the
//! golden ids in `tests/` make such a change visible. A field declared with `= initial` is left out of the form while it has
//! that value: what is added to a type later changes no identity of what does not use it, and old forms still read.

/// Puts a field into a map, unless it has its initial value.
macro_rules! put {
    ($map:ident, $field:ident, $value:expr, $ty:ty) => {
        $map.insert(stringify!($field).to_owned(), $crate::hash::Canonical::to_value($value));
    };
    ($map:ident, $field:ident, $value:expr, $ty:ty, $initial:expr) => {
        let initial: $ty = $initial;
        if *$value != initial {
            $crate::hash::put!($map, $field, $value, $ty);
        }
    };
}

/// Reads a field from a map. An initial value is never spelled out, so that every value has one form.
macro_rules! take {
    ($map:ident, $owner:ident, $field:ident, $ty:ty) => {{
        let field = $map.get(stringify!($field)).ok_or_else(|| {
            $crate::hash::DecodeError::new(format!("{} lacks the field `{}`", stringify!($owner), stringify!($field)))
        })?;
        <$ty as $crate::hash::Canonical>::from_value(field).map_err(|e| e.within(stringify!($field)))?
    }};
    ($map:ident, $owner:ident, $field:ident, $ty:ty, $initial:expr) => {{
        let initial: $ty = $initial;
        match $map.get(stringify!($field)) {
            None => initial,
            Some(field) => {
                let value =
                    <$ty as $crate::hash::Canonical>::from_value(field).map_err(|e| e.within(stringify!($field)))?;
                if value == initial {
                    return Err($crate::hash::DecodeError::new(format!(
                        "{} spells out the initial value of `{}`",
                        stringify!($owner),
                        stringify!($field)
                    )));
                }
                value
            }
        }
    }};
}

/// Defines a struct whose canonical form is a map from field name to field value. `checked by f` after it names a
/// function `fn(&Self) -> Result<(), DecodeError>` that refuses field values which do not belong together.
macro_rules! record {
    (
        $(#[$meta:meta])* pub struct $name:ident {
            $($(#[$fmeta:meta])* pub $field:ident : $ty:ty $(= $initial:expr)?),* $(,)?
        }
        $(checked by $check:path)?
    ) => {
        $(#[$meta])*
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl $crate::hash::Canonical for $name {
            fn to_value(&self) -> $crate::hash::Value {
                let mut map = std::collections::BTreeMap::new();
                $($crate::hash::put!(map, $field, &self.$field, $ty $(, $initial)?);)*
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
                let object = Self {
                    $($field: $crate::hash::take!(map, $name, $field, $ty $(, $initial)?)),*
                };
                $($check(&object)?;)?
                Ok(object)
            }
        }
    };
}

/// Defines an enum whose canonical form is the variant's name, or a one-entry map from it to the fields. The
/// documentation of a variant explains its fields.
macro_rules! variants {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$vmeta:meta])* $variant:ident $({
            $($(#[$fmeta:meta])* $field:ident : $ty:ty $(= $initial:expr)?),* $(,)?
        })?),* $(,)?
    }) => {
        $(#[$meta])*
        pub enum $name { $($(#[$vmeta])* $variant $({ $($(#[$fmeta])* #[allow(missing_docs)] $field: $ty),* })?),* }

        impl $crate::hash::Canonical for $name {
            fn to_value(&self) -> $crate::hash::Value {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        #[allow(unused_mut)]
                        let mut map = std::collections::BTreeMap::<String, $crate::hash::Value>::new();
                        $($($crate::hash::put!(map, $field, $field, $ty $(, $initial)?);)*)?
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
                            $($field: $crate::hash::take!(map, $variant, $field, $ty $(, $initial)?)),*
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

pub(crate) use {put, record, take, variants};

#[cfg(test)]
mod tests {
    use crate::hash::{Canonical, DecodeError, Id, Kind, from_ron, to_ron};

    record! {
        #[derive(Debug, Clone, PartialEq)]
        pub struct Point {
            pub x: f64,
            pub name: Option<String>,
            pub law: Law,
        }
        checked by Point::named_if_left
    }

    impl Point {
        fn named_if_left(&self) -> Result<(), DecodeError> {
            let fine = self.x >= 0.0 || self.name.is_some();
            fine.then_some(()).ok_or_else(|| DecodeError::new("a point on the left has a name"))
        }
    }

    variants! {
        #[derive(Debug, Clone, PartialEq)]
        pub enum Law {
            Unit,
            Normal { mean: f64, nested: Vec<Law> },
        }
    }

    record! {
        #[derive(Debug, Clone, PartialEq)]
        pub struct Later {
            pub x: f64,
            pub names: Vec<String> = vec![],
            pub rule: Rule = Rule::Plain { power: 1.0 },
        }
    }

    variants! {
        #[derive(Debug, Clone, PartialEq)]
        pub enum Rule {
            Plain { power: f64 = 1.0 },
        }
    }

    #[test]
    fn fields_with_an_initial_value_are_left_out_while_they_have_it() {
        let ron = |text: &str| from_ron(text).unwrap();
        let old = Later { x: 2.0, names: vec![], rule: Rule::Plain { power: 1.0 } };
        assert_eq!(old.to_value(), ron(r#"{"x": 2.0}"#));
        let new = Later { x: 2.0, names: vec!["a".into()], rule: Rule::Plain { power: 2.0 } };
        assert_eq!(new.to_value(), ron(r#"{"x": 2.0, "names": ["a"], "rule": {"Plain": {"power": 2.0}}}"#));
        assert_eq!(Rule::Plain { power: 1.0 }.to_value(), ron(r#""Plain""#));
        for later in [old, new] {
            assert_eq!(Later::from_value(&later.to_value()), Ok(later));
        }
        let twice = Later::from_value(&ron(r#"{"x": 2.0, "names": []}"#)).unwrap_err().to_string();
        assert_eq!(twice, "Later spells out the initial value of `names`");
    }

    fn point() -> Point {
        let nested = vec![Law::Unit, Law::Normal { mean: -0.0, nested: vec![] }];
        Point { x: 1.5, name: None, law: Law::Normal { mean: 2.0, nested } }
    }

    #[test]
    fn round_trips_through_value_and_ron() {
        let value = point().to_value();
        assert_eq!(Point::from_value(&value), Ok(point()));
        assert_eq!(Point::from_value(&from_ron(&to_ron(&value)).unwrap()), Ok(point()));
    }

    #[test]
    fn the_identity_of_a_record_is_fixed() {
        let id = Id::of(Kind::Plan, &point()).to_string();
        assert_eq!(id, "7c8a34bf07b6d4956ce9ca13c26bf38a4c483a9bbae915edf561d1b05b8ac75c");
    }

    #[test]
    fn refuses_what_is_not_the_record() {
        let ron = |text: &str| Point::from_value(&from_ron(text).unwrap()).unwrap_err().to_string();
        for (text, wanted) in [
            (r#"{"x": 1.0, "name": None, "law": "Unit", "y": 2}"#, "Point has no field `y`"),
            (r#"{"x": 1.0, "law": "Unit"}"#, "Point lacks the field `name`"),
            (r#"{"x": 1, "name": None, "law": "Unit"}"#, "x: expected a real number, found an integer"),
            (r#"[]"#, "expected Point, found a list"),
            (r#"{"x": 1.0, "name": None, "law": "Uniform"}"#, "law: Law has no variant `Uniform`"),
            (r#"{"x": 1.0, "name": None, "law": "Normal"}"#, "law: Normal lacks the field `mean`"),
            (r#"{"x": 1.0, "name": None, "law": {"Unit": {}}}"#, "law: expected one variant of Law"),
            (r#"{"x": 1.0, "name": None, "law": {"Unit": {"a": 1}}}"#, "law: Law::Unit has no field `a`"),
            (
                r#"{"x": 1.0, "name": None, "law": {"Unit": {"a": 1}, "V": {"a": 1}}}"#,
                "law: expected one variant of Law",
            ),
            (r#"{"x": 1.0, "name": None, "law": 3}"#, "law: expected Law, found an integer"),
            (
                r#"{"x": 1.0, "name": None, "law": {"Normal": {"mean": 1.0, "nested": [{"Normal": {"mean": 1.0}}]}}}"#,
                "law.nested[0]: Normal lacks the field `nested`",
            ),
            (r#"{"x": -1.0, "name": None, "law": "Unit"}"#, "a point on the left has a name"),
        ] {
            assert_eq!(ron(text), wanted);
        }
    }
}
