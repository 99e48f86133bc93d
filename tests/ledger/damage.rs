//! Flips, cuts, swaps and strangers: nothing wrong passes, and nothing sound is lost with it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use metadsl::hash::{Id, Kind, Value, cbor};
use metadsl::ledger::*;

use super::fixture::{self, Fixture};

/// Damage of the ledger as verification sees it; a ledger that does not open is damage seen.
fn seen(fixture: &Fixture) -> bool {
    Store::open(fixture.root()).map_or(true, |store| store.verify().exit_code() != 0)
}

/// Writes over a file in place, which file systems do faster than anew.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

fn faults(fixture: &Fixture) -> Vec<Fault> {
    let mut faults: Vec<Fault> = fixture.store.verify().problems.into_iter().map(|p| p.fault).collect();
    faults.dedup();
    faults
}

#[test]
fn a_sound_ledger_verifies() {
    let (fixture, _) = Fixture::with_two_runs();
    let report = fixture.store.verify();
    assert_eq!((&report.problems[..], report.exit_code()), (&[][..], 0));
    // Of the 11 objects of a run, the second pack repeats those that both need; the third has the verdict alone.
    assert_eq!((report.runs, report.frames, report.objects), (2, 3, 11 + 11 + 1));
}

#[test]
fn every_flipped_bit_of_every_file_is_seen() {
    let (fixture, runs) = Fixture::with_two_runs();
    let mut flips = 0;
    for file in fixture.files() {
        let path = fixture.root().join(&file);
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            // Every bit of each byte, in turn from byte to byte, and its letter case.
            for mask in [1 << (at % 8), 0x20] {
                let mut flipped = sound.clone();
                flipped[at] ^= mask;
                overwrite(&path, &flipped);
                assert!(seen(&fixture), "{}: byte {at} ^ {mask:#x}", file.display());
                flips += 1;
            }
        }
        if file.starts_with("packs") {
            let report = fixture.fresh().verify();
            let problem = report.problems.iter().find(|p| p.file == file).expect("the problem names the file");
            let others = runs.iter().filter(|&&run| fixture.pack(run) != path);
            assert!(others.clone().all(|&run| fixture.fresh().get::<Run>(Kind::Run, run).is_ok()));
            assert_eq!(problem.runs.is_empty(), others.count() == 2, "a run's pack names the run: {problem}");
        }
        overwrite(&path, &sound);
    }
    assert!(!seen(&fixture));
    println!("bytes flipped: {flips}, unseen: 0");
}

#[test]
fn every_cut_of_every_file_is_seen() {
    let (fixture, _) = Fixture::with_two_runs();
    let mut cuts = 0;
    for file in fixture.files() {
        let path = fixture.root().join(&file);
        let sound = fs::read(&path).unwrap();
        for length in 0..sound.len() {
            overwrite(&path, &sound[..length]);
            assert!(seen(&fixture), "{} cut to {length} bytes", file.display());
            cuts += 1;
        }
        overwrite(&path, &[&sound[..], b"\n"].concat());
        assert!(seen(&fixture), "{} with a byte more", file.display());
        fs::remove_file(&path).unwrap();
        // A head is made again from its log; without it a cut log could not be told from a shorter one.
        assert!(seen(&fixture) || file.starts_with("heads"), "{} removed", file.display());
        fs::write(&path, &sound).unwrap();
    }
    assert!(!seen(&fixture));
    println!("truncations: {cuts}, unseen: 0");
}

#[test]
fn a_large_object_is_checked_to_the_last_byte() {
    let fixture = Fixture::empty();
    let blob = fixture::noise(80_000);
    let text = vec![b'a'; 100_000];
    for content in [&blob, &text] {
        let id = fixture.store.put_blob(content).unwrap();
        let path = fixture.object(id);
        let sound = fs::read(&path).unwrap();
        assert!(content == &blob || sound.len() < 1000, "what shrinks is kept small");
        let places = (0..100).chain((100..sound.len()).step_by(997)).chain(sound.len().saturating_sub(40)..sound.len());
        for at in places.filter(|&at| at < sound.len()) {
            let mut flipped = sound.clone();
            flipped[at] ^= 1 << (at % 8);
            overwrite(&path, &flipped);
            assert!(seen(&fixture), "byte {at}");
            overwrite(&path, &sound[..at]);
            assert!(seen(&fixture), "cut to {at} bytes");
        }
        let mut flipped = sound.clone();
        *flipped.last_mut().unwrap() ^= 1;
        overwrite(&path, &flipped);
        assert_eq!(fixture.store.verify_to(Depth::Structure).exit_code(), 0, "its bytes are not read");
        assert_eq!(fixture.store.verify_to(Depth::Sample(100)).exit_code(), Fault::Object.bit());
        assert!(matches!(fixture.fresh().get_blob(id), Err(LedgerError::Damaged { .. })));
        assert!(matches!(fixture.fresh().put_blob(content), Err(LedgerError::Damaged { .. })), "nor overwritten");
        let moved = fixture.store.repair(&fixture.store.verify()).unwrap();
        assert_eq!(fs::read(&moved[0]).unwrap(), flipped, "what is damaged is set aside and never deleted");
        assert!(!seen(&fixture));
        assert_eq!(fixture.store.put_blob(content).unwrap(), id);
        assert_eq!(fixture.fresh().get_blob(id).unwrap(), *content);
    }
}

#[test]
fn a_torn_tail_is_cut_and_the_run_can_be_sealed_again() {
    let fixture = Fixture::empty();
    let first = fixture::seal(&fixture.store, 1);
    let whole = fs::read(fixture.log()).unwrap().len();
    let run = fixture::put_run(&fixture.store, 2);
    let head = fs::read(fixture.root().join("heads/main")).unwrap();
    let second = fixture.store.seal(&run).unwrap().run;
    let bytes = fs::read(fixture.log()).unwrap();
    for length in whole + 1..bytes.len() {
        overwrite(&fixture.log(), &bytes[..length]);
        // The writer died within its frame, so before its head.
        overwrite(&fixture.root().join("heads/main"), &head);
        let store = fixture.fresh();
        assert_eq!(fixture::ids(&store), [first], "what is torn is not trusted");
        let report = store.verify();
        let wanted = Fault::TornTail.bit() | Fault::Unlisted.bit();
        assert_eq!(report.exit_code(), wanted, "{length}: {:?}", report.problems);
        let run = fixture::put_run(&store, 2);
        assert_eq!(store.seal(&run).unwrap(), Sealed { run: second, cut: (length - whole) as u64 });
        assert_eq!(fixture::ids(&store), [first, second]);
        assert_eq!(fs::read(fixture.log()).unwrap(), bytes);
        assert!(!seen(&fixture));
    }
    overwrite(&fixture.log(), &bytes[..whole + 9]);
    overwrite(&fixture.root().join("heads/main"), &head);
    fixture.store.repair(&fixture.store.verify()).unwrap();
    assert_eq!(fs::read(fixture.log()).unwrap(), bytes[..whole], "repair cuts a torn tail, too");
}

#[test]
fn a_log_that_was_rolled_back_is_not_written_on() {
    let (fixture, [first, _]) = Fixture::with_two_runs();
    let bytes = fs::read(fixture.log()).unwrap();
    let (frames, heads) = (fixture.store.frames().unwrap().len(), fixture.store.heads().unwrap());
    assert_eq!((frames as u64, heads.len()), (heads[0].frames, 1));
    // Cut at the end of the first frame: a sound log, but for its head.
    let end = 32 + 8 + u32::from_le_bytes(bytes[32..36].try_into().unwrap()) as usize + 32;
    overwrite(&fixture.log(), &bytes[..end]);
    let store = fixture.fresh();
    assert_eq!(fixture::ids(&store), [first]);
    assert_eq!(store.verify().exit_code(), Fault::Log.bit() | Fault::Unlisted.bit());
    let run = fixture::put_run(&store, 3);
    assert!(matches!(store.seal(&run), Err(LedgerError::RolledBack { .. })));
    assert_eq!(fs::read(fixture.log()).unwrap(), bytes[..end]);
    // As the message advises.
    fs::remove_file(fixture.root().join("heads/main")).unwrap();
    store.seal(&run).unwrap();
    assert_eq!(store.verify().exit_code(), Fault::Unlisted.bit());
}

#[test]
fn two_forks_of_a_stream_cannot_both_be_the_log() {
    let (fixture, _) = Fixture::with_two_runs();
    let (log, head) = (fixture.log(), fixture.root().join("heads/main"));
    let before = [fs::read(&log).unwrap(), fs::read(&head).unwrap()];
    fixture::seal(&fixture.fresh(), 3);
    let ours = fs::read(&head).unwrap();
    overwrite(&log, &before[0]);
    overwrite(&head, &before[1]);
    fixture::seal(&fixture.fresh(), 4);
    overwrite(&head, &ours);
    assert_eq!(fixture.fresh().verify().exit_code(), Fault::Log.bit() | Fault::Unlisted.bit());
}

#[test]
fn a_segment_that_is_missing_or_moved_is_seen() {
    let fixture = Fixture::empty();
    let store = fixture.fresh().with_segments_of(2);
    let runs: Vec<Id> = (1..=7).map(|n| fixture::seal(&store, n)).collect();
    let segment = |first: u64| fixture.root().join(format!("log/main/{first:012}"));
    assert_eq!(fixture::ids(&store), runs);
    assert_eq!(store.verify().exit_code(), 0);
    for first in [0, 2, 4, 6] {
        let bytes = fs::read(segment(first)).unwrap();
        fs::remove_file(segment(first)).unwrap();
        let report = store.verify();
        assert_ne!(report.exit_code() & Fault::Log.bit(), 0, "{first}: {:?}", report.problems);
        let left = runs.iter().enumerate().filter(|(i, _)| *i as u64 / 2 * 2 != first).map(|(_, id)| *id);
        assert_eq!(fixture::ids(&store), left.collect::<Vec<_>>());
        fs::write(segment(first), &bytes[..bytes.len() - 1]).unwrap();
        assert_ne!(store.verify().exit_code(), 0);
        fs::write(segment(first), bytes).unwrap();
    }
    let (a, b) = (fs::read(segment(2)).unwrap(), fs::read(segment(4)).unwrap());
    fs::write(segment(2), &b).unwrap();
    fs::write(segment(4), &a).unwrap();
    assert_ne!(store.verify().exit_code() & Fault::Log.bit(), 0);
}

#[test]
fn sealing_goes_on_after_damage_in_the_log_and_cuts_nothing() {
    let (fixture, [_, second]) = Fixture::with_two_runs();
    let mut bytes = fs::read(fixture.log()).unwrap();
    bytes[34] ^= 1;
    fs::write(fixture.log(), &bytes).unwrap();
    assert_eq!(fixture::ids(&fixture.store), [second]);
    let third = fixture::seal(&fixture.store, 3);
    assert_eq!(fixture::ids(&fixture.store), [second, third]);
    assert!(fs::read(fixture.log()).unwrap().starts_with(&bytes));
    assert_eq!(fixture.store.runs().unwrap().problems.len(), 1);
    assert_eq!(fixture.store.verify().exit_code(), Fault::Log.bit() | Fault::Unlisted.bit());
}

#[test]
fn a_damaged_run_hides_no_other() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let pack = fixture.pack(first);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[40] ^= 1;
    for removed in [false, true] {
        if removed {
            fs::remove_file(&pack).unwrap();
        } else {
            fs::write(&pack, &bytes).unwrap();
        }
        let store = fixture.fresh();
        let listing = store.runs().unwrap();
        assert_eq!(listing.runs.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [second]);
        assert_eq!(listing.problems.iter().map(|p| p.runs.clone()).collect::<Vec<_>>(), [vec![first]]);
        assert_eq!(store.resolve(&first.to_string()).unwrap(), first, "a damaged run can still be named");
        let error = store.get::<Run>(Kind::Run, first).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. } | LedgerError::MissingPack(_)), "{error}");
        let report = store.verify();
        assert!(report.problems.iter().any(|p| p.runs == [first]), "{:?}", report.problems);
    }
}

#[test]
fn files_under_anothers_name_or_kind_are_seen() {
    let (fixture, runs) = Fixture::with_two_runs();
    let packs = runs.map(|run| fixture.pack(run));
    let bytes = [0, 1].map(|i| fs::read(&packs[i]).unwrap());
    fs::write(&packs[0], &bytes[1]).unwrap();
    fs::write(&packs[1], &bytes[0]).unwrap();
    // The verdict on the runs misses their results, too.
    assert_eq!(faults(&fixture), [Fault::Missing, Fault::Object]);
    assert!(matches!(fixture.fresh().get::<Run>(Kind::Run, runs[0]), Err(LedgerError::Damaged { .. })));
    fs::write(&packs[0], &bytes[0]).unwrap();
    fs::write(&packs[1], &bytes[1]).unwrap();
    assert!(!seen(&fixture));

    let [a, b] = [80_000, 90_000].map(|length| fixture.store.put_blob(&fixture::noise(length)).unwrap());
    let bytes = [a, b].map(|id| fs::read(fixture.object(id)).unwrap());
    fs::write(fixture.object(a), &bytes[1]).unwrap();
    fs::write(fixture.object(b), &bytes[0]).unwrap();
    assert_eq!(faults(&fixture), [Fault::Object]);
    fs::write(fixture.object(b), &bytes[1]).unwrap();
    // The same payload under another kind, with a right hash of the file: the kind chooses the key of the id.
    let start = b"metadsl object 1 blob raw\n".len();
    let renamed = fixture::object_file("plan raw", &bytes[0][start..bytes[0].len() - 32]);
    fs::write(fixture.object(a), renamed).unwrap();
    let report = fixture.fresh().verify();
    assert!(report.problems[0].what.contains("a blob object that calls itself plan"), "{}", report.problems[0]);
}

#[test]
fn a_list_of_chunks_is_what_its_name_says() {
    let fixture = Fixture::empty();
    let large = fixture::noise(6 << 20);
    let whole = fixture.store.put_blob(&large).unwrap();
    let sound = fs::read(fixture.object(whole)).unwrap();
    let part = fixture.store.put_blob(&large[..70_000]).unwrap();
    let chunks = |bytes: u64| {
        let chunk = BTreeMap::from([
            ("blob".to_owned(), Value::Bytes(part.as_bytes().to_vec())),
            ("bytes".to_owned(), Value::Int(bytes as i64)),
        ]);
        cbor::encode(&Value::List(vec![Value::Map(chunk)]))
    };
    for (list, fault) in [
        (cbor::encode(&Value::List(vec![])), Fault::Object),
        (chunks(70_000), Fault::Object),
        (chunks(70_001), Fault::Malformed),
        (b"?".to_vec(), Fault::Malformed),
    ] {
        fs::write(fixture.object(whole), fixture::object_file("blob chunks", &list)).unwrap();
        assert_eq!(faults(&fixture), [fault], "{list:?}");
        assert!(fixture.fresh().get_blob(whole).is_err());
    }
    // A chunk that two objects share is damaged: both are named, and it.
    fs::write(fixture.object(whole), sound).unwrap();
    let other = fixture.store.put_blob(&[&large[..], b"more"].concat()).unwrap();
    assert!(!seen(&fixture));
    let length = |path: &Path| fs::metadata(fixture.root().join(path)).unwrap().len();
    let objects: Vec<_> = fixture.files().into_iter().filter(|file| file.starts_with("objects")).collect();
    let shared = objects.into_iter().max_by_key(|file| length(file)).unwrap();
    let mut flipped = fs::read(fixture.root().join(&shared)).unwrap();
    flipped[100] ^= 1;
    fs::write(fixture.root().join(&shared), flipped).unwrap();
    let files: Vec<_> = fixture.store.verify().problems.into_iter().map(|p| fixture.root().join(p.file)).collect();
    let mut wanted = vec![fixture.root().join(&shared), fixture.object(whole), fixture.object(other)];
    wanted.sort();
    assert_eq!(files, wanted);
}

#[test]
fn a_reference_of_the_wrong_kind_is_seen() {
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    // The store itself refuses to seal such a run.
    let wrong = Run { env: run.input, ..run.clone() };
    assert!(matches!(fixture.store.seal(&wrong), Err(LedgerError::Damaged { .. })));
    let dangling = Run { env: Id::from_bytes([7; 32]), ..run };
    assert!(matches!(fixture.store.seal(&dangling), Err(LedgerError::Missing { .. })));
    assert_eq!(fixture::ids(&fixture.store), []);
}

#[test]
fn data_may_be_missing_but_not_wrong() {
    let fixture = Fixture::empty();
    let content = fixture::noise(70_000);
    let blob = fixture.store.put_blob(&content).unwrap();
    let file = ManifestFile { name: "digits".into(), blob, bytes: 70_000 };
    let run = fixture::put_run_on(&fixture.store, 1, Manifest { files: vec![file] });
    let run = fixture.store.seal(&run).unwrap().run;
    assert!(!seen(&fixture));
    let mut flipped = fs::read(fixture.object(blob)).unwrap();
    flipped[100] ^= 1;
    fs::write(fixture.object(blob), flipped).unwrap();
    let report = fixture.fresh().verify();
    assert_eq!((report.exit_code(), &report.problems[0].runs[..]), (Fault::Object.bit(), &[run][..]));
    fs::remove_file(fixture.object(blob)).unwrap();
    assert!(!seen(&fixture));
}

#[test]
fn strangers_in_the_ledger_are_named() {
    let (fixture, _) = Fixture::with_two_runs();
    fs::create_dir_all(fixture.root().join("objects/ab")).unwrap();
    for name in ["objects/zz", "objects/AB", "objects/ab/short", "log/Main", "log/main/1", "packs/x", "heads/Main"] {
        fs::write(fixture.root().join(name), b"?").unwrap();
        let report = fixture.store.verify();
        assert_eq!(report.exit_code(), Fault::Stray.bit(), "{name}");
        assert_eq!(report.problems[0].file.to_str(), Some(name));
        fs::remove_file(fixture.root().join(name)).unwrap();
    }
    assert!(!seen(&fixture));
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let (fixture, [first, _]) = Fixture::with_two_runs();
    let outside = fixture.dir.path().join("outside");

    // A link to the very bytes is still no pack of this ledger.
    let pack = fixture.pack(first);
    fs::rename(&pack, &outside).unwrap();
    symlink(&outside, &pack).unwrap();
    assert!(matches!(fixture.fresh().get::<Run>(Kind::Run, first), Err(LedgerError::NotPlain { .. })));
    let report = fixture.fresh().verify();
    // The verdict on the run misses its result, too.
    assert_eq!(report.exit_code(), Fault::Stray.bit() | Fault::Missing.bit());
    let problem = report.problems.iter().find(|p| p.fault == Fault::Stray).unwrap();
    assert_eq!(problem.runs, [first]);
    fs::remove_file(&pack).unwrap();
    fs::rename(&outside, &pack).unwrap();

    // A log that leads outside is not appended to.
    fs::rename(fixture.log(), &outside).unwrap();
    symlink(&outside, fixture.log()).unwrap();
    let before = fs::read(&outside).unwrap();
    let run = fixture::put_run(&fixture.store, 3);
    assert!(matches!(fixture.store.seal(&run), Err(LedgerError::NotPlain { .. })));
    assert_eq!(fs::read(&outside).unwrap(), before);

    // Nor is anything put through a directory that leads outside.
    let content = fixture::noise(100_000);
    let shard = fixture.object(Id::of_bytes(Kind::Blob, &content)).parent().unwrap().to_owned();
    let dir = fixture.dir.path().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::create_dir_all(shard.parent().unwrap()).unwrap();
    symlink(&dir, &shard).unwrap();
    assert!(matches!(fixture.store.put_blob(&content), Err(LedgerError::NotPlain { .. })));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}
