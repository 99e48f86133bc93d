//! Every decoder on many thousand deterministic mutants: none panics, none takes memory for what is only announced, and what
//! still decodes is what the encoder would write.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "a test says what it counted")]

#[path = "common/bundles.rs"]
mod bundles;
#[path = "ledger/fixture.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod fixture;
#[path = "ledger/shelf.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod shelf;

use metadsl::exec::Numerics;
use metadsl::hash::{Canonical, DecodeError, Id, Kind, Value, cbor};
use metadsl::ledger::*;
use metadsl::plan::Plan;
use metadsl::query::{self, Index};
use metadsl::train::Snapshot;

use fixture::Fixture;
use shelf::Shelf;

/// The most memory that this program may ever have had, in KiB.
const MEMORY: u64 = 256 << 10;

/// An endless stream of mutants, the same every time.
struct Mutants(blake3::OutputReader);

impl Mutants {
    fn new(name: &str) -> Mutants {
        Mutants(blake3::Hasher::new().update(name.as_bytes()).finalize_xof())
    }

    fn below(&mut self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % limit.max(1) as u64) as usize
    }

    /// The bytes with one to three changes of the kinds that damage, truncation and malice make.
    fn next(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut mutant = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(mutant.len());
            let end = (at + self.below(16)).min(mutant.len());
            match self.below(8) {
                0 if !mutant.is_empty() => mutant[at] ^= 1 << self.below(8),
                1 if !mutant.is_empty() => {
                    mutant[at] = [0, 0x18, 0x3b, 0x5b, 0x7f, 0x80, 0x9b, 0xbb, 0xf9, 0xfb, 0xff][self.below(11)]
                }
                2 => drop(mutant.drain(at..end)),
                3 => {
                    let part = mutant[at..end].to_vec();
                    drop(mutant.splice(at..at, part));
                }
                4 => mutant.truncate(at),
                // A list, a map, a text, bytes of 2^60 entries.
                5 => drop(mutant.splice(at..at, [[0x9b, 0xbb, 0x7b, 0x5b][self.below(4)], 0x10, 0, 0, 0, 0, 0, 0, 0])),
                6 => drop(mutant.splice(at..at, vec![[0x81, 0xa1, 0][self.below(3)]; self.below(600)])),
                _ => {
                    let word = u64::MAX >> self.below(64);
                    let bytes = word.to_le_bytes();
                    drop(mutant.splice(at..end, bytes));
                }
            }
        }
        mutant
    }
}

/// Asserts the cap. The peak is that of the whole program, so that no test hides another's.
fn check_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |line: &str| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok();
    let peak = status.lines().find_map(kib);
    let Some(peak) = peak else {
        println!("skipped: this system does not tell how much memory a program had");
        return;
    };
    assert!(peak < MEMORY, "{peak} KiB");
}

/// The objects of a small ledger: kinds and payloads.
fn objects() -> Vec<(Kind, Vec<u8>)> {
    let (fixture, runs) = Fixture::with_two_runs();
    let mut bundle = Vec::new();
    fixture.fresh().bundle(&runs, &mut bundle).unwrap();
    let sections = bundles::sections(&bundle).into_iter();
    sections.filter_map(|(code, payload)| Some((Kind::from_code(code)?, payload.to_vec()))).collect()
}

/// Reads a value as every record there is; what is read is written the same again.
fn read_as_anything(value: &Value) -> usize {
    fn read<T: Canonical>(value: &Value) -> usize {
        let read: Result<T, DecodeError> = T::from_value(value);
        if let Ok(read) = &read {
            assert_eq!(cbor::encode(&read.to_value()), cbor::encode(value), "a record has one encoding");
        }
        usize::from(read.is_ok())
    }
    read::<Run>(value)
        + read::<Input>(value)
        + read::<Manifest>(value)
        + read::<Numerics>(value)
        + read::<Env>(value)
        + read::<Series>(value)
        + read::<Trace>(value)
        + read::<Weights>(value)
        + read::<Outcome>(value)
        + read::<Comparison>(value)
        + read::<Note>(value)
        + read::<Imported>(value)
        + read::<Entry>(value)
        + read::<Evidence>(value)
        + read::<About>(value)
        + read::<Row>(value)
        + read::<Head>(value)
        + read::<Plan>(value)
        + read::<Snapshot>(value)
}

#[test]
fn values_and_records() {
    let mut mutants = Mutants::new("values");
    let (mut tried, mut decoded, mut read) = (0, 0, 0);
    for (kind, payload) in objects().iter().filter(|(kind, _)| *kind != Kind::Blob) {
        let value = cbor::decode(payload).unwrap();
        assert!(*kind == Kind::Plan || *kind == Kind::Source || read_as_anything(&value) > 0, "{kind:?}");
        for _ in 0..1500 {
            let mutant = mutants.next(payload);
            tried += 1;
            if let Ok(value) = cbor::decode(&mutant) {
                assert_eq!(cbor::encode(&value), mutant, "what decodes is what the encoder writes");
                decoded += 1;
                read += read_as_anything(&value);
            }
        }
    }
    println!("mutants of CBOR: {tried}, decoded: {decoded}, read as records: {read}, panics: 0");
    assert!(tried > 10_000 && decoded > 100);
    check_memory();
}

#[test]
fn bundles_under_a_right_hash() {
    let (fixture, runs) = Fixture::with_two_runs();
    let mut sound = Vec::new();
    fixture.fresh().bundle(&runs, &mut sound).unwrap();
    let mut mutants = Mutants::new("bundles");
    let (mut accepted, tried) = (0, 10_000);
    for _ in 0..tried {
        let body = mutants.next(&sound[..sound.len() - 32]);
        let mutant = [&body[..], &blake3::derive_key("metadsl 2026 bundle", &body)].concat();
        match verify_bundle(&mutant[..], mutant.len() as u64) {
            // Only whole sections that nothing refers to can come or go.
            Ok(bundled) => accepted += usize::from(bundled.runs.iter().all(|run| runs.contains(run))),
            Err(what) => assert!(!what.is_empty()),
        }
    }
    println!("mutants of a bundle: {tried}, accepted with the very runs: {accepted}, panics: 0");
    check_memory();
}

#[test]
fn texts_and_indexes() {
    let head = Head { stream: "main".into(), frames: 3, root: Id::from_bytes([7; 32]) };
    let checkpoint = sign(&head, &[1; 32]);
    let questions = [
        "plan.train.steps < 15 and (status = ok or not tag = \"a b\") order by last(slow.gap) desc limit 20",
        "run = 4f1c9a or origin ~ mlflow",
    ];
    let mut index = Index::default();
    for i in 0..4u8 {
        let fields = vec![
            ("a".to_owned(), query::Entry::Number(f64::from(i))),
            ("b".to_owned(), query::Entry::Text("x".into())),
        ];
        index.push(Id::of_bytes(Kind::Blob, &[i]), fields);
    }
    let index = index.to_bytes();
    let mut mutants = Mutants::new("texts");
    let (mut signed, mut parsed, mut indexes) = (0, 0, 0);
    for _ in 0..5000 {
        let text = String::from_utf8_lossy(&mutants.next(checkpoint.as_bytes())).into_owned();
        let read = read_checkpoints(&text);
        assert!(read.as_ref().map_or(true, |all| all.iter().all(|one| one.head == head)), "{text}");
        signed += usize::from(read.is_ok());
        for question in questions {
            let text = String::from_utf8_lossy(&mutants.next(question.as_bytes())).into_owned();
            parsed += usize::from(query::parse(&text).is_ok());
        }
        let body = mutants.next(&index[..index.len() - 32]);
        let bytes = [&body[..], Id::of_bytes(Kind::Blob, &body).as_bytes()].concat();
        if let Some(read) = Index::from_bytes(&bytes) {
            assert_eq!(read.to_bytes(), bytes, "an index has one encoding");
            indexes += 1;
        }
    }
    println!(
        "mutants of texts and indexes: 20000; checkpoints read {signed}, queries {parsed}, indexes {indexes}, panics: 0"
    );
    check_memory();
}

#[test]
fn logs_heads_and_journals_in_place() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let about = About {
        experiment: "small".into(),
        input: fixture.store.get::<Run>(Kind::Run, first).unwrap().input,
        source: None,
        files: vec![],
        started_ms: 1,
        keep_weights: None,
    };
    let live = fixture.fresh().begin_apart(&about).unwrap();
    for step in 0..20 {
        live.row(Row { cell: 0, measure: 0, step, bits: metadsl::hash::Bytes(vec![7; 8]) });
    }
    let folder = fixture.root().join("active").join(live.name());
    let name = live.name().to_owned();
    let mut mutants = Mutants::new("files");
    let (mut tried, mut seen) = (0, 0);
    for file in [
        fixture.log(),
        fixture.root().join("heads/main"),
        folder.join("journal"),
        folder.join("about"),
        folder.join("pack"),
    ] {
        let sound = std::fs::read(&file).unwrap();
        for _ in 0..200 {
            let mutant = mutants.next(&sound);
            std::fs::write(&file, &mutant).unwrap();
            let store = fixture.fresh();
            let report = store.verify();
            assert!(store.rows(&name).is_ok_and(|rows| rows.len() <= 20));
            // None of these may panic or give what was never written.
            let listed = fixture::ids(&store);
            assert!(listed.iter().all(|id| [first, second].contains(id)));
            let _ = (store.unfinished(), store.look_at(&name), store.heads());
            tried += 1;
            seen += usize::from(report.exit_code() != 0);
        }
        std::fs::write(&file, &sound).unwrap();
    }
    assert_eq!(fixture.fresh().verify().exit_code(), 0);
    println!("mutants of logs, heads and journals: {tried}, told by verify: {seen}, panics: 0");
    check_memory();
}

#[test]
fn packs_under_their_right_names() {
    let (source, _) = Fixture::with_two_runs();
    let shelf = Shelf::default();
    source.fresh().push(&shelf, None).unwrap();
    let packs = shelf.names("packs");
    let sound = shelf.files.borrow()[&packs[0]].clone();
    let length = u64::from_le_bytes(sound[15..23].try_into().unwrap()) as usize;
    let body = zstd::bulk::decompress(&sound[23..], length).unwrap();
    let mut mutants = Mutants::new("packs");
    let (mut taken, tried) = (0, 600);
    for n in 0..tried {
        // Half of them hurt the file, half what it holds, under a right length.
        let pack = if n % 2 == 0 {
            mutants.next(&sound)
        } else {
            let body = mutants.next(&body);
            [&sound[..15], &(body.len() as u64).to_le_bytes(), &zstd::bulk::compress(&body, 1).unwrap()].concat()
        };
        let name = Id::of_bytes(Kind::Blob, &pack);
        let Entry::Run { id, input, cells, .. } = source.store.frames().unwrap().remove(0).entry else {
            panic!("a run")
        };
        shelf.files.borrow_mut().insert(format!("packs/{name}"), pack);
        let frame = shelf::segment(&Entry::Run { id, pack: name, input, cells });
        shelf.files.borrow_mut().insert("log/main/000000000000".to_owned(), frame);
        let target = Fixture::empty();
        let store = target.fresh().with_stream("other").unwrap();
        let moved = store.pull(&shelf).unwrap();
        drop(store);
        // What is taken is whole.
        assert_eq!(target.fresh().verify().exit_code() & !Fault::Unlisted.bit(), 0, "mutant {n}");
        taken += moved[0].frames;
    }
    println!("mutants of packs under their right names: {tried}, taken and whole: {taken}, panics: 0");
    check_memory();
}
