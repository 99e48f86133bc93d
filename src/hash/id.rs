//! Content identities: BLAKE3 under a key per kind of object.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use thiserror::Error;

use super::{Canonical, DecodeError, Value, cbor};

/// The kinds of object that have an identity; the same bytes under two kinds have two ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The text of a `.meta` file.
    Source,
    /// A compiled plan.
    Plan,
    /// The files an experiment read: names, sizes, content hashes.
    Manifest,
    /// Executor class, dtype, numerics epoch and random generator.
    Numerics,
    /// What decides a result: plan, data, numerics.
    Input,
    /// The machine and program of one execution.
    Env,
    /// One measured series.
    Series,
    /// Digests of the training state along a run.
    Trace,
    /// Trained parameters.
    Weights,
    /// Everything a run computed: series, traces, weights, verdicts of claims.
    Result,
    /// One execution: input, result, environment, times.
    Run,
    /// The outcome of one replay.
    Verdict,
    /// Raw bytes, hashed by plain BLAKE3 so that `b3sum` agrees.
    Blob,
    /// What somebody said of a run: a tag, a remark.
    Note,
    /// One arm of a plan without its name; only its id is used.
    Arm,
    /// What decides one cell: arm, seed, data, numerics; only its id is used.
    Cell,
    /// A run that another program made and recorded.
    Imported,
}

impl Kind {
    /// Every kind, in the order of the format description.
    pub const ALL: [Kind; 17] = [
        Kind::Source,
        Kind::Plan,
        Kind::Manifest,
        Kind::Numerics,
        Kind::Input,
        Kind::Env,
        Kind::Series,
        Kind::Trace,
        Kind::Weights,
        Kind::Result,
        Kind::Run,
        Kind::Verdict,
        Kind::Blob,
        Kind::Note,
        Kind::Arm,
        Kind::Cell,
        Kind::Imported,
    ];

    /// The lower-case name used in the format and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Source => "source",
            Kind::Plan => "plan",
            Kind::Manifest => "manifest",
            Kind::Numerics => "numerics",
            Kind::Input => "input",
            Kind::Env => "env",
            Kind::Series => "series",
            Kind::Trace => "trace",
            Kind::Weights => "weights",
            Kind::Result => "result",
            Kind::Run => "run",
            Kind::Verdict => "verdict",
            Kind::Blob => "blob",
            Kind::Note => "note",
            Kind::Arm => "arm",
            Kind::Cell => "cell",
            Kind::Imported => "imported",
        }
    }

    /// The number of the kind in binary formats: its place in [`Kind::ALL`].
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind of that number.
    pub fn from_code(code: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(code)).copied()
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// A 256-bit content identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; 32]);

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a hash: 64 hexadecimal digits are wanted")]
pub struct IdError(pub String);

impl Id {
    /// The id of raw bytes of the given kind: `BLAKE3-derive-key("metadsl 2026 <kind>")`, plain BLAKE3 for blobs.
    pub fn of_bytes(kind: Kind, bytes: &[u8]) -> Id {
        Id(*Id::hasher(kind).update(bytes).finalize().as_bytes())
    }

    /// The id of a blob, computed on all threads. Not for code that holds a lock: a thread takes up other work while it waits.
    pub fn of_file(bytes: &[u8]) -> Id {
        // Below that, to share it takes longer than to do it.
        const SHARED: usize = 256 << 10;
        if bytes.len() < SHARED {
            return Id::of_bytes(Kind::Blob, bytes);
        }
        Id(*Id::hasher(Kind::Blob).update_rayon(bytes).finalize().as_bytes())
    }

    /// Hashes bytes of that kind piece by piece; finalised, it is what [`Id::of_bytes`] gives for all of them.
    pub fn hasher(kind: Kind) -> blake3::Hasher {
        // The keys are derived once: most objects are shorter than what that takes.
        static HASHERS: LazyLock<[blake3::Hasher; Kind::ALL.len()]> = LazyLock::new(|| {
            Kind::ALL.map(|kind| match kind {
                Kind::Blob => blake3::Hasher::new(),
                _ => blake3::Hasher::new_derive_key(&format!("metadsl 2026 {}", kind.name())),
            })
        });
        HASHERS[usize::from(kind.code())].clone()
    }

    /// The id of a canonical object.
    pub fn of<T: Canonical>(kind: Kind, object: &T) -> Id {
        Id::of_bytes(kind, &cbor::encode(&object.to_value()))
    }

    /// An id from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Id {
        Id(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.short())
    }
}

impl FromStr for Id {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Id, IdError> {
        let wrong = || IdError(text.to_owned());
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Id(bytes))
    }
}

impl Canonical for Id {
    fn to_value(&self) -> Value {
        Value::Bytes(self.0.to_vec())
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        match value {
            Value::Bytes(b) => {
                let bytes = b.as_slice().try_into().map_err(|_| DecodeError::new("an id has 32 bytes"))?;
                Ok(Id(bytes))
            }
            other => Err(DecodeError::new(format!("expected an id, found {}", other.kind_name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_ids_of_every_kind() {
        let golden = [
            "eab6310c327962e2367e839dffd650da32ba1b61b75e09c034dcae5c787e7473",
            "7467880cc28514b38780cacc1e040e77967fd47f1359219002e527d48fe9d98b",
            "0552c17f99c48037ccc57be9f2a728dea03f2a9247e2aa065c495d62d4ab4d1d",
            "f000f71e955889482e9769a7c7398d72a6db793e8d5a9f6140c6fedfeeffc536",
            "be40a129b22d4b2b492ddbb487cfa70937f6c31632bc95adb0f99686cca9ec5b",
            "fe243f7c598011b04d0e47f0a8bdf09c287bef336cf287db306dac9ed67b98a5",
            "8b79c18e8414d98ab17e990316c0cb28116cc7a427ae800f5e5b3373713f5c97",
            "067473b5b4e5044bae2aa3949ec85c2ad07447bf754223e84f38d9af8e94acdc",
            "6c0645e39a37cc84c05dd515b7d39f4419d03b3f7385f2b65212340b11fea2a3",
            "d6dcec3f98f62251f3693919f2a929b5e5865d7db1927b5226a3d912b8a35118",
            "1b55c631a8462b934a3b5dede70e22b814235455b37858b9b4bc887bba37ff4a",
            "7fff754cc78e8121fc9e6b33a62148959d454d9e56ead4889388e53f146b66ff",
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            "f2f3521082c77cf164b0ba01192f2e9260b9efc80a2025e049593751c15ca9bc",
            "ab34250c44da8b4b079a199e55d82a5dfdea1cbd31f28ea06e76184b1628cbd5",
            "226f430d5adca5fd04278c4747f818863bcc435c10978c3e675d9279efa4e46f",
            "e25df72b66b66cde1b92483d0fa50b9911bfcb4f4a30f45d3e319d189c10f4dd",
        ];
        let found = Kind::ALL.map(|kind| Id::of_bytes(kind, b"abc").to_string());
        assert_eq!(found, golden);
    }

    #[test]
    fn a_blob_is_plain_blake3() {
        // The first test vector of the BLAKE3 paper's reference implementation.
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Id::of_bytes(Kind::Blob, b"").to_string(), empty);
    }

    #[test]
    fn all_threads_find_the_id_of_one() {
        let bytes: Vec<u8> = (0..3_000_001u32).map(|i| (i % 241) as u8).collect();
        for len in [0, 1, 1 << 18, (1 << 18) - 1, 1 << 20, bytes.len()] {
            assert_eq!(Id::of_file(&bytes[..len]), Id::of_bytes(Kind::Blob, &bytes[..len]), "{len} bytes");
        }
    }

    #[test]
    fn the_same_tree_has_one_id_per_kind() {
        let ids: std::collections::BTreeSet<Id> =
            Kind::ALL.into_iter().map(|kind| Id::of(kind, &Value::Null)).collect();
        assert_eq!(ids.len(), Kind::ALL.len());
    }

    #[test]
    fn kinds_and_ids_read_what_they_print() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(Kind::from_name("Plan"), None);
        let id = Id::of_bytes(Kind::Blob, b"abc");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(Id::from_value(&id.to_value()), Ok(id));
        for wrong in ["", "64", &id.to_string().to_uppercase(), &format!("{id}0"), &"é".repeat(32), &"+1".repeat(32)] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
        assert!(Id::from_value(&Value::Bytes(vec![0; 31])).is_err());
    }
}
