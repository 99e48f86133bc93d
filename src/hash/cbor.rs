//! Deterministic CBOR (RFC 8949 section 4.2): every tree has one encoding, and nothing else decodes.
//!
//! Definite lengths, the shortest form of every integer and length, map keys in the bytewise order of their
//! encodings, reals always 64 bits wide, one NaN (`0x7ff8000000000000`), no tags, no other simple values.

use std::collections::BTreeMap;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use thiserror::Error;

use super::Value;

/// How deep lists and maps may nest; deeper encodings are refused, so that a hostile file cannot exhaust the stack.
pub const MAX_DEPTH: usize = 256;

/// The bits of the one NaN that is ever written.
pub const CANONICAL_NAN: u64 = 0x7ff8_0000_0000_0000;

/// Why bytes are not the encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CborError {
    /// The bytes end early, hold something that values do not have, or go on after the value.
    #[error("byte {at}: {reason}")]
    Malformed {
        /// The offset of the item.
        at: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Lists and maps nest deeper than [`MAX_DEPTH`].
    #[error("byte {at}: lists and maps nest deeper than {MAX_DEPTH}")]
    TooDeep {
        /// The offset of the item that is too deep.
        at: usize,
    },
    /// The bytes say something sensible in a way that [`encode`] does not.
    #[error("byte {at}: this is not the canonical encoding")]
    NotCanonical {
        /// The first byte that differs from the canonical encoding.
        at: usize,
    },
}

/// The one encoding of a value.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write(&mut encoder, value).expect("writing to memory cannot fail");
    encoder.into_writer()
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::Null => encoder.null()?.ok(),
        Value::Bool(b) => encoder.bool(*b)?.ok(),
        Value::Int(i) => encoder.i64(*i)?.ok(),
        Value::Real(x) if x.is_nan() => encoder.f64(f64::from_bits(CANONICAL_NAN))?.ok(),
        Value::Real(x) => encoder.f64(*x)?.ok(),
        Value::Bytes(bytes) => encoder.bytes(bytes)?.ok(),
        Value::Text(text) => encoder.str(text)?.ok(),
        Value::List(items) => {
            encoder.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(encoder, item))
        }
        Value::Map(map) => {
            encoder.map(map.len() as u64)?;
            // A text's encoding begins with its length, so bytewise order of encodings is length first.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| (key.len(), *key));
            entries.into_iter().try_for_each(|(key, item)| {
                encoder.str(key)?;
                write(encoder, item)
            })
        }
    }
}

/// Reads a value back; refuses every byte string that [`encode`] would not have written.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    let mut decoder = Decoder::new(bytes);
    let value = read(&mut decoder, 0)?;
    let end = decoder.position();
    if end != bytes.len() {
        return Err(CborError::Malformed { at: end, reason: "there are bytes after the value".to_owned() });
    }
    // What is not shortest, sorted, unique or the one NaN shows in the second encoding.
    let canonical = encode(&value);
    if canonical != bytes {
        let at = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CborError::NotCanonical { at });
    }
    Ok(value)
}

/// Whether bytes hold more items than that, keys included, told before any is built; bytes that are no CBOR hold those before
/// the mistake.
pub fn has_more_items(bytes: &[u8], limit: usize) -> bool {
    if bytes.len() <= limit {
        return false;
    }
    let mut decoder = Decoder::new(bytes);
    let (mut open, mut seen) = (1u64, 0);
    while open > 0 && seen <= limit {
        (open, seen) = (open - 1, seen + 1);
        let inside = match decoder.datatype() {
            Ok(Type::Array) => decoder.array().map(Option::unwrap_or_default),
            Ok(Type::Map) => decoder.map().map(|length| length.unwrap_or_default().saturating_mul(2)),
            _ => decoder.skip().map(|()| 0),
        };
        let Ok(inside) = inside else { return false };
        open = open.saturating_add(inside);
    }
    seen > limit
}

fn read(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CborError> {
    let at = decoder.position();
    if depth > MAX_DEPTH {
        return Err(CborError::TooDeep { at });
    }
    let malformed = |e: minicbor::decode::Error| CborError::Malformed { at, reason: e.to_string() };
    let unknown = || CborError::Malformed { at, reason: "values have no item of this type".to_owned() };
    match decoder.datatype().map_err(malformed)? {
        Type::Null => decoder.null().map(|()| Value::Null).map_err(malformed),
        Type::Bool => decoder.bool().map(Value::Bool).map_err(malformed),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
            decoder.i64().map(Value::Int).map_err(malformed)
        }
        Type::F64 => decoder.f64().map(Value::Real).map_err(malformed),
        Type::Bytes => decoder.bytes().map(|b| Value::Bytes(b.to_vec())).map_err(malformed),
        Type::String => decoder.str().map(|s| Value::Text(s.to_owned())).map_err(malformed),
        Type::Array => {
            let len = decoder.array().map_err(malformed)?.ok_or_else(unknown)?;
            // Nothing is set aside for `len` items: each must first be there.
            let mut items = Vec::new();
            for _ in 0..len {
                items.push(read(decoder, depth + 1)?);
            }
            Ok(Value::List(items))
        }
        Type::Map => {
            let len = decoder.map().map_err(malformed)?.ok_or_else(unknown)?;
            let mut map = BTreeMap::new();
            for _ in 0..len {
                let key = decoder.str().map_err(malformed)?.to_owned();
                map.insert(key, read(decoder, depth + 1)?);
            }
            Ok(Value::Map(map))
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::value::tests::any_value;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn golden_vectors() {
        // Those with an RFC 8949 appendix A counterpart agree with it.
        let text = |s: &str| Value::Text(s.to_owned());
        for (value, wanted) in [
            (Value::Null, "f6"),
            (Value::Bool(false), "f4"),
            (Value::Bool(true), "f5"),
            (Value::Int(0), "00"),
            (Value::Int(23), "17"),
            (Value::Int(24), "1818"),
            (Value::Int(255), "18ff"),
            (Value::Int(256), "190100"),
            (Value::Int(1_000_000), "1a000f4240"),
            (Value::Int(1_000_000_000_000), "1b000000e8d4a51000"),
            (Value::Int(i64::MAX), "1b7fffffffffffffff"),
            (Value::Int(-1), "20"),
            (Value::Int(-100), "3863"),
            (Value::Int(-1000), "3903e7"),
            (Value::Int(i64::MIN), "3b7fffffffffffffff"),
            (Value::Real(0.0), "fb0000000000000000"),
            (Value::Real(-0.0), "fb8000000000000000"),
            (Value::Real(1.1), "fb3ff199999999999a"),
            (Value::Real(f64::INFINITY), "fb7ff0000000000000"),
            (Value::Real(f64::NAN), "fb7ff8000000000000"),
            (Value::Real(f64::from_bits(0xfff8_0000_0000_beef)), "fb7ff8000000000000"),
            (Value::Bytes(vec![]), "40"),
            (Value::Bytes(vec![1, 2, 3, 4]), "4401020304"),
            (text(""), "60"),
            (text("IETF"), "6449455446"),
            (text("\u{fc}"), "62c3bc"),
            (Value::List(vec![]), "80"),
            (Value::List(vec![Value::Int(1), Value::List(vec![Value::Int(2)])]), "82018102"),
            (map(&[]), "a0"),
            (map(&[("aa", Value::Int(1)), ("b", Value::Int(2)), ("a", Value::Int(3))]), "a361610361620262616101"),
        ] {
            assert_eq!(hex(&encode(&value)), wanted, "{value:?}");
        }
    }

    #[test]
    fn items_are_counted_before_they_are_built() {
        let list = Value::List(vec![Value::List(vec![Value::Int(1); 10]), Value::Null, Value::Text("abc".into())]);
        let map =
            Value::Map(BTreeMap::from([("a".to_owned(), list.clone()), ("b".to_owned(), Value::Bytes(vec![0; 9]))]));
        for (value, items) in [(list, 14), (map, 18), (Value::List(vec![Value::Null; 3]), 4)] {
            let bytes = encode(&value);
            assert!(has_more_items(&bytes, items - 1) && !has_more_items(&bytes, items), "{value:?}");
        }
        // An announced length alone is no item.
        assert!(!has_more_items(&[0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0], 3));
    }

    #[test]
    fn refuses_what_it_would_not_write() {
        let nested = |depth: usize| [vec![0x81; depth], vec![0x00]].concat();
        assert!(decode(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(decode(&nested(MAX_DEPTH + 1)), Err(CborError::TooDeep { .. })));
        assert!(matches!(decode(&nested(1_000_000)), Err(CborError::TooDeep { .. })));
        for (bytes, why) in [
            (&[0x18, 0x17][..], "an integer that fits one byte in two"),
            (&[0x19, 0x00, 0xff], "an integer that fits two bytes in three"),
            (&[0x58, 0x01, 0x00], "a length that fits one byte in two"),
            (&[0xa2, 0x61, 0x62, 0x01, 0x61, 0x61, 0x02], "keys out of order"),
            (&[0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02], "a key twice"),
            (&[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1], "another NaN"),
            (&[0xfb, 0xff, 0xf8, 0, 0, 0, 0, 0, 0], "a negative NaN"),
        ] {
            assert!(matches!(decode(bytes), Err(CborError::NotCanonical { .. })), "{why}: {:?}", decode(bytes));
        }
        for (bytes, why) in [
            (&[][..], "nothing"),
            (&[0x00, 0x00], "two values"),
            (&[0x9f, 0x00, 0xff], "an indefinite list"),
            (&[0xbf, 0x61, 0x61, 0x00, 0xff], "an indefinite map"),
            (&[0x5f, 0x41, 0x00, 0xff], "indefinite bytes"),
            (&[0x7f, 0x61, 0x61, 0xff], "indefinite text"),
            (&[0xf9, 0x3c, 0x00], "a 16-bit float"),
            (&[0xfa, 0x3f, 0x80, 0, 0], "a 32-bit float"),
            (&[0xf7], "undefined"),
            (&[0xe0], "a simple value"),
            (&[0xc0, 0x00], "a tag"),
            (&[0xff], "a lone break"),
            (&[0xa1, 0x01, 0x02], "a key that is no text"),
            (&[0x62, 0xff, 0xfe], "text that is no UTF-8"),
            (&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "an integer beyond 64 bits with sign"),
            (&[0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0], "2^60 items, none there"),
            (&[0xbb, 0x10, 0, 0, 0, 0, 0, 0, 0], "2^60 entries, none there"),
            (&[0x5b, 0x10, 0, 0, 0, 0, 0, 0, 0], "2^60 bytes, none there"),
            (&[0x7b, 0x10, 0, 0, 0, 0, 0, 0, 0], "2^60 letters, none there"),
        ] {
            assert!(matches!(decode(bytes), Err(CborError::Malformed { .. })), "{why}: {:?}", decode(bytes));
        }
    }

    proptest! {
        #[test]
        fn round_trips(value in any_value()) {
            let bytes = encode(&value);
            prop_assert_eq!(encode(&decode(&bytes).unwrap()), bytes);
        }

        #[test]
        fn every_decodable_byte_string_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = decode(&bytes) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }

        #[test]
        fn a_cut_encoding_does_not_decode(value in any_value(), part in 0.0..1.0f64) {
            let bytes = encode(&value);
            let cut = (bytes.len() as f64 * part) as usize;
            prop_assert!(decode(&bytes[..cut]).is_err());
        }
    }
}
