//! Bundles, checkpoints and garbage: what leaves the ledger proves itself, and nothing needed is thrown away.

use std::fs;
use std::path::Path;
use std::process::Command;

use metadsl::hash::{Canonical, Id, Kind, cbor};
use metadsl::ledger::*;

use super::bundles::{EVIDENCE, forged};
use super::fixture::{self, Fixture};

pub fn bundle(fixture: &Fixture, runs: &[Id]) -> Vec<u8> {
    let mut bytes = Vec::new();
    fixture.fresh().bundle(runs, &mut bytes).unwrap();
    bytes
}

pub fn check(bytes: &[u8]) -> Result<Bundled, String> {
    verify_bundle(bytes, bytes.len() as u64)
}

#[test]
fn a_bundle_proves_its_runs_without_a_ledger() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let blob = fixture.store.put_blob(&fixture::noise(70_000)).unwrap();
    let file = ManifestFile { name: "digits".into(), blob, bytes: 70_000 };
    let third = fixture::put_run_on(&fixture.store, 3, Manifest { files: vec![file] });
    let third = fixture.store.seal(&third).unwrap().run;
    for (runs, objects) in [(vec![first], 10), (vec![first, second], 15), (vec![third], 11)] {
        let found = check(&bundle(&fixture, &runs)).unwrap();
        let mut wanted = runs;
        wanted.sort();
        assert_eq!((&found.runs, found.heads.len()), (&wanted, 1));
        assert!(found.objects >= objects, "{} objects", found.objects);
        assert_eq!(fixture.store.since(&found.heads[0]).unwrap(), None);
    }
    assert!(fixture.store.bundle(&[Id::from_bytes([3; 32])], std::io::sink()).is_err());
}

#[test]
fn every_flipped_byte_and_every_cut_of_a_bundle_is_seen() {
    let (fixture, [first, _]) = Fixture::with_two_runs();
    let sound = bundle(&fixture, &[first]);
    for at in 0..sound.len() {
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(check(&flipped).is_err(), "byte {at}");
        assert!(check(&sound[..at]).is_err(), "cut to {at} bytes");
    }
    assert!(check(&[&sound[..], b"\n"].concat()).is_err());
    println!("bytes of a bundle flipped: {0}, cuts: {0}, unseen: 0", sound.len());
}

#[test]
fn hostile_bundles_are_refused_without_harm() {
    let (fixture, [first, _]) = Fixture::with_two_runs();
    let run: Run = fixture.store.get(Kind::Run, first).unwrap();
    let evidence = fixture.store.evidence(&[first]).unwrap().remove(0);
    let run_bytes = cbor::encode(&run.to_value());
    let proof = cbor::encode(&evidence.to_value());
    let moved = Evidence { number: evidence.number + 1, ..evidence.clone() };
    let deep = [vec![0x81; 100_000], vec![0]].concat();
    for (what, bytes) in [
        ("a run without its parts", forged(&[(Kind::Run.code(), &run_bytes), (EVIDENCE, &proof)])),
        ("a proof without its run", forged(&[(EVIDENCE, &proof)])),
        ("a frame that is not where it says", forged(&[(EVIDENCE, &cbor::encode(&moved.to_value()))])),
        ("nesting", forged(&[(Kind::Plan.code(), &deep)])),
        ("another kind", forged(&[(Kind::Env.code(), &run_bytes)])),
        ("no kind", forged(&[(77, b"x")])),
        ("CBOR that is not canonical", forged(&[(Kind::Source.code(), &[0x78, 0x01, b'a'])])),
        ("an announced length of 2^60", {
            let mut bytes = forged(&[(Kind::Blob.code(), b"x")]);
            bytes[18..26].copy_from_slice(&(1u64 << 60).to_le_bytes());
            bytes
        }),
    ] {
        assert!(check(&bytes).is_err(), "{what}");
        // Nor does a file that claims to be long make anyone wait or set memory aside.
        assert!(verify_bundle(&bytes[..], 1 << 60).is_err(), "{what}");
    }
    // Nothing but blobs, many of them: they are skimmed.
    let blobs: Vec<(u8, &[u8])> = vec![(Kind::Blob.code(), b"tiny"); 10_000];
    assert_eq!(check(&forged(&blobs)).map(|found| found.objects), Ok(1));
    // A result that answers another input.
    let other = fixture::put_input(&fixture.store, "another", 9);
    let swapped = cbor::encode(&Run { input: other, ..run }.to_value());
    assert!(check(&forged(&[(Kind::Run.code(), &swapped), (EVIDENCE, &proof)])).is_err());
}

/// Whether the script can run here; says so where it cannot.
pub fn can_run_the_script() -> bool {
    let python = Command::new("python3").args(["-c", "import blake3"]).output();
    let can = python.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: python3 with the package blake3 is not here (pip install blake3)");
    }
    can
}

/// What the script says of a bundle; it is sound to it where it is to the program.
pub fn of_one_mind(bytes: &[u8], what: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("ledger/verify_bundle.py");
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("a.bundle");
    fs::write(&file, bytes).unwrap();
    let output = Command::new("python3").arg(&script).arg(&file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.success(), check(bytes).is_ok(), "{what}: {said}{:?}", check(bytes));
    said
}

#[test]
fn the_script_agrees_with_the_program() {
    if !can_run_the_script() {
        return;
    }
    let (fixture, runs) = Fixture::with_two_runs();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("ledger/verify_bundle.py");
    let lines = fs::read_to_string(&script).unwrap().lines().count();
    assert!(lines <= 200, "the script has {lines} lines");
    let sound = bundle(&fixture, &runs);
    let said = of_one_mind(&sound, "a sound bundle");
    assert!(runs.iter().all(|run| said.contains(&run.to_string())), "{said}");
    for at in (0..sound.len()).step_by(sound.len() / 12) {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        of_one_mind(&flipped, "a flipped byte");
        // The same flip under a right hash of the file: the objects' own hashes must show it.
        let body = flipped.len() - 32;
        let hash = blake3::derive_key("metadsl 2026 bundle", &flipped[..body]);
        flipped[body..].copy_from_slice(&hash);
        of_one_mind(&flipped, &format!("byte {at} flipped under a right hash"));
    }
}

#[test]
fn a_checkpoint_tells_what_was_changed_since() {
    let (fixture, _) = Fixture::with_two_runs();
    let secret = [5; 32];
    let text = sign(&fixture.store.heads().unwrap()[0], &secret);
    fixture::seal(&fixture.store, 3);
    let kept = read_checkpoints(&text).unwrap().remove(0);
    assert_eq!(kept.key, public_key(&secret));
    assert_eq!(fixture.store.since(&kept.head).unwrap(), None);
    // Between the two lies a proof that a third party can check.
    let log = fixture.store.frames().unwrap();
    let leaves: Vec<Id> = log.iter().map(|listed| leaf(&cbor::encode(&listed.entry.to_value()))).collect();
    let proof = consistency(&leaves, kept.head.frames as usize);
    assert!(verify_consistency(kept.head.frames, kept.head.root, leaves.len() as u64, root(&leaves), &proof));
    // A ledger of which a consistent other history was written in the meantime.
    let other = Fixture::empty();
    for n in 11..15 {
        fixture::seal(&other.store, n);
    }
    assert_eq!(other.store.verify().exit_code(), 0, "by itself it is sound");
    assert!(other.store.since(&kept.head).unwrap().unwrap().contains("not those that were written"));
    let foreign = Head { stream: "elsewhere".into(), ..kept.head };
    assert!(other.store.since(&foreign).unwrap().is_some());
}

#[test]
fn garbage_is_what_nothing_needs() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    assert_eq!(fixture.fresh().gc(true, false).unwrap().files, Vec::<std::path::PathBuf>::new());
    // A blob of a run, one of nobody, a pack that no frame names, a file that a dead writer left.
    let [kept, lost] = [70_000, 5 << 20].map(fixture::noise);
    let store = fixture.fresh();
    let blob = store.put_blob(&kept).unwrap();
    let file = ManifestFile { name: "digits".into(), blob, bytes: 70_000 };
    let third = fixture::put_run_on(&store, 3, Manifest { files: vec![file] });
    store.seal(&third).unwrap();
    store.put_blob(&lost).unwrap();
    assert!(matches!(fixture.fresh().gc(true, false), Err(LedgerError::Busy(_))), "a writer is at work");
    drop(store);
    fs::write(fixture.root().join("tmp/0123456789abcdef"), b"half").unwrap();
    fixture.store.bury(first).unwrap();
    let before = fixture.files();
    let dry = fixture.fresh().gc(false, false).unwrap();
    assert_eq!(fixture.files(), before, "a dry run changes nothing");
    assert!(dry.files.iter().any(|f| f.starts_with("tmp")) && dry.files.iter().any(|f| f.starts_with("objects")));
    // The verdict on the two runs needs the result of the first one, so its pack stays.
    assert!(!dry.files.iter().any(|f| f.starts_with("packs")), "{:?}", dry.files);
    let done = fixture.fresh().gc(true, false).unwrap();
    assert_eq!((&done.files, done.moved), (&dry.files, true));
    assert_eq!(fixture::files(&fixture.root().join("trash")).len(), dry.files.len(), "set aside, not deleted");
    assert_eq!(fixture.fresh().verify().problems, []);
    assert_eq!(fixture.fresh().get_blob(blob).unwrap(), kept);
    assert_eq!(fixture::ids(&fixture.fresh()).len(), 2);
    assert_eq!(fixture.fresh().gc(false, true).unwrap().deleted, dry.files.len());

    let lone = Fixture::empty();
    let run = fixture::seal(&lone.store, 1);
    lone.store.bury(run).unwrap();
    assert_eq!(lone.fresh().gc(true, false).unwrap().files.len(), 1, "the pack of a buried run");
    assert_eq!(lone.fresh().verify().problems, []);
    assert!(fixture.fresh().get::<Run>(Kind::Run, second).is_ok());
}

#[test]
fn what_damage_hides_is_not_garbage() {
    let (fixture, [first, _]) = Fixture::with_two_runs();
    let mut bytes = fs::read(fixture.log()).unwrap();
    bytes[40] ^= 1;
    fs::write(fixture.log(), &bytes).unwrap();
    assert!(matches!(fixture.fresh().gc(true, false), Err(LedgerError::Damaged { .. })));
    bytes[40] ^= 1;
    fs::write(fixture.log(), &bytes).unwrap();
    assert!(fixture.pack(first).exists());
}
