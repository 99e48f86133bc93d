//! Flips, cuts, swaps and strangers: nothing wrong passes, and nothing sound is lost with it.

use std::fs;
use std::io::Write;
use std::path::Path;

use metadsl::hash::{Id, Kind};
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
    assert_eq!((report.runs, report.frames, report.objects), (2, 3, fixture.files().len() - 2));
}

#[test]
fn every_flipped_bit_of_every_file_is_seen() {
    let (fixture, runs) = Fixture::with_two_runs();
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
            }
        }
        if file.starts_with("objects") {
            let report = fixture.store.verify();
            let problem = report.problems.iter().find(|p| p.file == file).expect("the problem names the file");
            let named = problem.runs.iter().any(|run| runs.contains(run));
            let is_verdict = sound.starts_with(b"metadsl 1 verdict");
            assert!(named || is_verdict, "{}: {problem}", file.display());
        }
        overwrite(&path, &sound);
    }
    assert!(!seen(&fixture));
}

#[test]
fn every_cut_of_every_file_is_seen() {
    let (fixture, _) = Fixture::with_two_runs();
    for file in fixture.files() {
        let path = fixture.root().join(&file);
        let sound = fs::read(&path).unwrap();
        for length in 0..sound.len() {
            overwrite(&path, &sound[..length]);
            assert!(seen(&fixture), "{} cut to {length} bytes", file.display());
        }
        overwrite(&path, &[&sound[..], b"\n"].concat());
        assert!(seen(&fixture), "{} with a byte more", file.display());
        fs::remove_file(&path).unwrap();
        assert!(seen(&fixture), "{} removed", file.display());
        fs::write(&path, &sound).unwrap();
    }
    assert!(!seen(&fixture));
}

#[test]
fn a_torn_tail_is_cut_and_the_run_can_be_sealed_again() {
    let fixture = Fixture::empty();
    let first = fixture::seal(&fixture.store, 1);
    let whole = fs::read(fixture.log()).unwrap().len();
    let run = fixture::put_run(&fixture.store, 2);
    let second = fixture.store.seal(&run).unwrap().run;
    let bytes = fs::read(fixture.log()).unwrap();
    for length in whole + 1..bytes.len() {
        overwrite(&fixture.log(), &bytes[..length]);
        assert_eq!(fixture::ids(&fixture.store), [first], "what is torn is not trusted");
        let report = fixture.store.verify();
        assert_eq!(
            report.exit_code(),
            Fault::TornTail.bit() | Fault::Unlisted.bit(),
            "{length}: {:?}",
            report.problems
        );
        let sealed = fixture.store.seal(&run).unwrap();
        assert_eq!(sealed, Sealed { run: second, cut: (length - whole) as u64 });
        assert_eq!(fixture::ids(&fixture.store), [first, second]);
        assert_eq!(fs::read(fixture.log()).unwrap(), bytes);
        assert!(!seen(&fixture));
    }
}

#[test]
fn sealing_goes_on_after_damage_in_the_log_and_cuts_nothing() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let mut bytes = fs::read(fixture.log()).unwrap();
    bytes[2] ^= 1;
    fs::write(fixture.log(), &bytes).unwrap();
    assert_eq!(fixture::ids(&fixture.store), [second]);
    let third = fixture::seal(&fixture.store, 3);
    assert_eq!(fixture::ids(&fixture.store), [second, third]);
    assert!(fs::read(fixture.log()).unwrap().starts_with(&bytes));
    assert_eq!(fixture.store.runs().unwrap().problems.len(), 1);
    assert_eq!(fixture.store.verify().exit_code(), Fault::Log.bit() | Fault::Unlisted.bit());
    let report = fixture.store.verify();
    assert!(report.problems.iter().any(|p| p.fault == Fault::Unlisted && p.runs == [first]));
}

#[test]
fn a_damaged_run_hides_no_other() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    fs::write(fixture.object(first), b"metadsl 1 run\n").unwrap();
    let listing = fixture.store.runs().unwrap();
    assert_eq!(listing.runs.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [second]);
    assert_eq!(listing.problems.iter().map(|p| p.runs.clone()).collect::<Vec<_>>(), [vec![first]]);
    assert_eq!(fixture.store.resolve(&first.to_string()).unwrap(), first, "a damaged run can still be named");
    assert!(matches!(fixture.store.get::<Run>(Kind::Run, first), Err(LedgerError::Damaged { .. })));
}

#[test]
fn objects_under_anothers_name_or_kind_are_seen() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let (a, b) = (fs::read(fixture.object(first)).unwrap(), fs::read(fixture.object(second)).unwrap());
    fs::write(fixture.object(first), &b).unwrap();
    fs::write(fixture.object(second), &a).unwrap();
    assert_eq!(faults(&fixture), [Fault::Object]);
    assert!(matches!(fixture.store.get::<Run>(Kind::Run, first), Err(LedgerError::Damaged { .. })));
    fs::write(fixture.object(second), &b).unwrap();

    let swapped = String::from_utf8_lossy(&a[..14]).replace("run", "env").into_bytes();
    fs::write(fixture.object(first), [&swapped[..], &a[14..]].concat()).unwrap();
    let report = fixture.store.verify();
    assert!(report.problems[0].what.contains("a run object that calls itself env"), "{}", report.problems[0]);
    fs::write(fixture.object(first), &a).unwrap();

    assert!(matches!(fixture.store.get::<Env>(Kind::Env, first), Err(LedgerError::Damaged { .. })));
    assert!(!seen(&fixture));
}

#[test]
fn a_reference_of_the_wrong_kind_or_to_nothing_is_seen() {
    let (fixture, [first, _]) = Fixture::with_two_runs();
    let run: Run = fixture.store.get(Kind::Run, first).unwrap();
    // Neither is listed, so the store lets them be put; verification follows them all the same.
    let wrong = fixture.store.put(Kind::Run, &Run { env: run.input, ..run.clone() }).unwrap();
    let dangling = fixture.store.put(Kind::Run, &Run { env: Id::from_bytes([7; 32]), ..run }).unwrap();
    let report = fixture.store.verify();
    let about = |fault| report.problems.iter().find(|p| p.fault == fault).unwrap();
    assert!(about(Fault::Malformed).what.contains("input object is referred to as a env"));
    assert!(about(Fault::Malformed).runs.contains(&wrong));
    assert_eq!(about(Fault::Missing).runs, [dangling]);
    assert_eq!(report.exit_code(), Fault::Malformed.bit() | Fault::Missing.bit() | Fault::Unlisted.bit());
}

#[test]
fn payloads_that_are_not_their_kind_are_seen() {
    let fixture = Fixture::empty();
    let ragged = "steps take 8 bytes";
    fixture.store.put(Kind::Series, &Series { steps: vec![1], bits: Default::default() }).unwrap();
    fixture.store.put(Kind::Env, &"no environment".to_owned()).unwrap();
    let report = fixture.store.verify();
    assert_eq!(report.exit_code(), Fault::Malformed.bit());
    assert!(report.problems.iter().any(|p| p.what.contains(ragged)), "{:?}", report.problems);
}

#[test]
fn data_may_be_missing_but_not_wrong() {
    let (fixture, mut runs) = Fixture::with_two_runs();
    let id = fixture.store.put_blob(b"1,2,3\n").unwrap();
    assert_eq!(id, fixture::manifest().files[0].blob);
    assert!(!seen(&fixture));
    fs::write(fixture.object(id), b"metadsl 1 blob\n1,2,4\n").unwrap();
    let report = fixture.store.verify();
    runs.sort();
    assert_eq!((report.exit_code(), &report.problems[0].runs[..]), (Fault::Object.bit(), &runs[..]));
    fs::remove_file(fixture.object(id)).unwrap();
    assert!(!seen(&fixture));
}

#[test]
fn strangers_in_the_ledger_are_named() {
    let (fixture, _) = Fixture::with_two_runs();
    for name in ["objects/zz", "objects/AB", "objects/ab0", "log/Main", "log/main.bak"] {
        fs::write(fixture.root().join(name), b"?").unwrap();
        let report = fixture.store.verify();
        assert_eq!(report.exit_code(), Fault::Stray.bit(), "{name}");
        assert_eq!(report.problems[0].file.to_str(), Some(name));
        fs::remove_file(fixture.root().join(name)).unwrap();
    }
    let shard = fixture.files().into_iter().find(|f| f.starts_with("objects")).unwrap().parent().unwrap().to_owned();
    fs::write(fixture.root().join(shard).join("short"), b"?").unwrap();
    assert_eq!(faults(&fixture), [Fault::Stray]);
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let (fixture, [first, _]) = Fixture::with_two_runs();
    let outside = fixture.dir.path().join("outside");

    // A link to the very bytes is still no object of this ledger.
    fs::rename(fixture.object(first), &outside).unwrap();
    symlink(&outside, fixture.object(first)).unwrap();
    assert!(matches!(fixture.store.get::<Run>(Kind::Run, first), Err(LedgerError::NotPlain { .. })));
    let report = fixture.store.verify();
    assert_eq!(report.exit_code(), Fault::Stray.bit());
    assert_eq!(report.problems[0].runs, [first]);
    fs::remove_file(fixture.object(first)).unwrap();
    fs::rename(&outside, fixture.object(first)).unwrap();

    // A log that leads outside is not appended to.
    fs::rename(fixture.log(), &outside).unwrap();
    symlink(&outside, fixture.log()).unwrap();
    let before = fs::read(&outside).unwrap();
    let run = fixture::put_run(&fixture.store, 3);
    assert!(matches!(fixture.store.seal(&run), Err(LedgerError::NotPlain { .. })));
    assert_eq!(fs::read(&outside).unwrap(), before);

    // Nor is anything put through a directory that leads outside.
    let id = Id::of(Kind::Source, &"elsewhere".to_owned());
    let shard = fixture.object(id).parent().unwrap().to_owned();
    let dir = fixture.dir.path().join("dir");
    fs::create_dir(&dir).unwrap();
    let _ = fs::remove_dir_all(&shard);
    symlink(&dir, &shard).unwrap();
    assert!(matches!(fixture.store.put(Kind::Source, &"elsewhere".to_owned()), Err(LedgerError::NotPlain { .. })));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}
