//! Opening, putting, sealing, naming.

use std::collections::BTreeMap;
use std::fs;

use metadsl::hash::{Bytes, Canonical, Id, Kind, Value};
use metadsl::ir::{Precision, Tensor};
use metadsl::ledger::*;
use tempfile::TempDir;

use super::fixture::{self, Fixture, files};

#[test]
fn the_nearest_ledger_upward_is_found() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(dir.path().join("a/ledger")).unwrap();
    assert_eq!(discover(&deep, None), deep.join("ledger"), "a directory without FORMAT is none");
    Store::open_or_create(dir.path().join("ledger")).unwrap();
    assert_eq!(discover(&deep, None), dir.path().join("ledger"));
    Store::open_or_create(dir.path().join("a/ledger")).unwrap();
    assert_eq!(discover(&deep, None), dir.path().join("a/ledger"));
    assert_eq!(discover(&deep, Some(&dir.path().join("x"))), dir.path().join("x"));
}

#[test]
fn what_is_no_ledger_of_this_format_does_not_open() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("deep/ledger");
    assert!(matches!(Store::open(&root), Err(LedgerError::NotALedger(_))));
    assert!(!root.exists(), "opening makes nothing");
    Store::open_or_create(&root).unwrap();
    Store::open(&root).unwrap();
    fs::write(root.join("FORMAT"), "metadsl ledger 2\n").unwrap();
    let error = Store::open_or_create(&root).unwrap_err();
    assert!(matches!(&error, LedgerError::Format { found, .. } if found == "metadsl ledger 2"), "{error}");
    fs::write(root.join("FORMAT"), b"\x1b[2J\xff".repeat(1000)).unwrap();
    assert!(!Store::open(&root).unwrap_err().to_string().contains('\x1b'), "its text cannot drive a terminal");
    fs::remove_file(root.join("FORMAT")).unwrap();
    assert!(matches!(Store::open_or_create(&root), Err(LedgerError::FormatLost(_))));
}

#[test]
fn empty_directories_may_get_lost_on_the_way() {
    let (fixture, runs) = Fixture::with_two_runs();
    fs::remove_dir(fixture.root().join("tmp")).unwrap();
    assert_eq!(fixture::ids(&Store::open(fixture.root()).unwrap()), runs);
    fixture::seal(&fixture.store, 3);
    let bare = TempDir::new().unwrap();
    fs::copy(fixture.root().join("FORMAT"), bare.path().join("FORMAT")).unwrap();
    let store = Store::open(bare.path()).unwrap();
    assert_eq!((fixture::ids(&store), store.verify().exit_code()), (vec![], 0));
    let run = fixture::seal(&store, 1);
    assert_eq!(fixture::ids(&store), [run]);
}

#[test]
fn putting_twice_is_putting_once() {
    let (fixture, runs) = Fixture::with_two_runs();
    let before: Vec<_> = fixture.files().into_iter().map(|f| fs::read(fixture.root().join(f)).unwrap()).collect();
    assert_eq!([1, 2].map(|n| fixture::seal(&fixture.store, n)), runs);
    let after: Vec<_> = fixture.files().into_iter().map(|f| fs::read(fixture.root().join(f)).unwrap()).collect();
    assert_eq!(after, before);
    assert_eq!(fixture::files(&fixture.root().join("tmp")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_damaged_object_is_neither_trusted_nor_overwritten() {
    let fixture = Fixture::empty();
    let id = fixture.store.put(Kind::Plan, &fixture::plan("a")).unwrap();
    fs::write(fixture.object(id), b"metadsl 1 plan\nx").unwrap();
    assert!(matches!(fixture.store.put(Kind::Plan, &fixture::plan("a")), Err(LedgerError::Damaged { .. })));
    assert_eq!(fs::read(fixture.object(id)).unwrap(), b"metadsl 1 plan\nx");
    fs::remove_file(fixture.object(id)).unwrap();
    assert_eq!(fixture.store.put(Kind::Plan, &fixture::plan("a")).unwrap(), id, "as the message advises");
}

#[test]
fn objects_come_back_as_they_were_put() {
    let fixture = Fixture::empty();
    let blob = b"raw\0bytes".to_vec();
    let id = fixture.store.put_blob(&blob).unwrap();
    assert_eq!(fixture.store.get_blob(id).unwrap(), blob);
    let bytes = fs::read(fixture.object(id)).unwrap();
    let payload = bytes.strip_prefix(b"metadsl 1 blob\n").unwrap();
    assert_eq!(blake3::hash(payload).to_string(), id.to_string(), "b3sum of what follows the first line is the id");
    let run = fixture::put_run(&fixture.store, 1);
    let sealed = fixture.store.seal(&run).unwrap();
    assert_eq!(fixture.store.get::<Run>(Kind::Run, sealed.run).unwrap(), run);
    assert_eq!(fixture.store.runs().unwrap().runs, [(sealed.run, run)]);
    let absent = Id::from_bytes([1; 32]);
    assert!(matches!(fixture.store.get::<Run>(Kind::Run, absent), Err(LedgerError::Missing { .. })));
}

#[test]
fn too_deep_an_object_is_refused() {
    let fixture = Fixture::empty();
    let deep = |n: usize| (0..n).fold(Value::Map(BTreeMap::new()), |inner, _| Value::List(vec![inner]));
    let id = fixture.store.put(Kind::Plan, &deep(255)).unwrap();
    assert_eq!(fixture.store.get::<Value>(Kind::Plan, id).unwrap(), deep(255));
    assert!(matches!(fixture.store.put(Kind::Plan, &deep(256)), Err(LedgerError::TooDeep { .. })));
}

#[test]
fn a_run_is_not_listed_before_all_of_it_is_there() {
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    let outcome: Outcome = fixture.store.get(Kind::Result, run.result).unwrap();
    let input: Input = fixture.store.get(Kind::Input, run.input).unwrap();
    let cell = &outcome.cells[0];
    let parts = [run.input, run.result, run.env, run.source.unwrap(), cell.series[0].id, cell.trace, cell.weights];
    for part in parts.into_iter().chain([input.plan, input.manifest, input.numerics]) {
        let bytes = fs::read(fixture.object(part)).unwrap();
        fs::remove_file(fixture.object(part)).unwrap();
        let error = fixture.store.seal(&run).unwrap_err();
        assert!(matches!(error, LedgerError::Missing { id, .. } if id == part), "{error}");
        assert_eq!(fixture::ids(&fixture.store), []);
        fs::write(fixture.object(part), bytes).unwrap();
    }
    let other = fixture::put_input(&fixture.store, "another", 1);
    let error = fixture.store.seal(&Run { input: other, ..run.clone() }).unwrap_err();
    assert!(matches!(error, LedgerError::InputMismatch { .. }));
    fixture.store.seal(&run).unwrap();
}

#[test]
fn a_writer_that_died_before_the_log_leaves_an_unlisted_run() {
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    let id = fixture.store.put(Kind::Run, &run).unwrap();
    assert_eq!(fixture::ids(&fixture.store), []);
    assert_eq!(fixture.store.verify().exit_code(), Fault::Unlisted.bit());
    assert_eq!(fixture.store.seal(&run).unwrap().run, id);
    assert_eq!(fixture.store.verify().exit_code(), 0);
}

#[test]
fn a_prefix_names_one_run() {
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    // Two runs that begin alike, found by trying start times.
    let mut seen = BTreeMap::new();
    let twins = (0..).find_map(|ms| {
        let run = Run { started_ms: ms, ..run.clone() };
        let prefix = Id::of(Kind::Run, &run).to_string()[..6].to_owned();
        seen.insert(prefix.clone(), ms).map(|other| (prefix, [other, ms]))
    });
    let (prefix, times) = twins.unwrap();
    let ids = times.map(|ms| fixture.store.seal(&Run { started_ms: ms, ..run.clone() }).unwrap().run);
    for id in ids {
        let hex = id.to_string();
        assert_eq!(fixture.store.resolve(&hex).unwrap(), id);
        assert_eq!(fixture.store.resolve(&hex[..40].to_uppercase()).unwrap(), id);
    }
    let error = fixture.store.resolve(&prefix).unwrap_err();
    assert!(matches!(&error, LedgerError::AmbiguousRun { candidates, .. } if candidates[..] == ids), "{error}");
    assert!(error.to_string().contains(&ids[0].to_string()[..12]));
    let unknown = if prefix == "000000" { "111111" } else { "000000" };
    assert!(matches!(fixture.store.resolve(unknown), Err(LedgerError::UnknownRun { .. })));
    for wrong in ["", "abcde", "abcdeg", "../../etc", &"a".repeat(65), "ééé"] {
        assert!(matches!(fixture.store.resolve(wrong), Err(LedgerError::Prefix(_))), "{wrong}");
    }
    assert!(matches!(fixture.store.resolve(&run.input.to_string()), Err(LedgerError::UnknownRun { .. })), "runs only");
}

#[test]
fn streams_are_united_by_copying() {
    let (fixture, runs) = Fixture::with_two_runs();
    let clone = Fixture::empty();
    let store = Store::open(clone.root()).unwrap().with_stream("clone").unwrap();
    let third = fixture::seal(&store, 3);
    for file in clone.files() {
        let target = fixture.root().join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(clone.root().join(&file), target).unwrap();
    }
    assert_eq!(fixture::ids(&fixture.store), [third, runs[0], runs[1]]);
    assert_eq!(fixture.store.verify().exit_code(), 0);
    for wrong in ["", "..", "a/b", "Main"] {
        let store = Store::open(fixture.root()).unwrap();
        assert!(matches!(store.with_stream(wrong), Err(LedgerError::StreamName(_))), "{wrong}");
    }
}

#[test]
fn verdicts_are_kept_in_order() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let [old, new] = [first, second].map(|id| fixture.store.get::<Run>(Kind::Run, id).unwrap().result);
    let verdict = Verdict::Inconclusive { reason: "a test".into() };
    let comparison = Comparison { old, new, verdict };
    let id = fixture.store.put_verdict(&comparison).unwrap();
    let verdicts = fixture.store.verdicts().unwrap();
    assert_eq!((verdicts.len(), &verdicts[1]), (2, &(id, comparison.clone())));
    let dangling = Comparison { new: Id::from_bytes([9; 32]), ..comparison };
    assert!(matches!(fixture.store.put_verdict(&dangling), Err(LedgerError::Missing { .. })));
}

#[cfg(unix)]
#[test]
fn a_read_only_ledger_is_readable() {
    use std::os::unix::fs::PermissionsExt;
    let (fixture, runs) = Fixture::with_two_runs();
    let before = files(fixture.dir.path());
    let mode = |mode| {
        for dir in ["", "objects", "log", "tmp"] {
            fs::set_permissions(fixture.root().join(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    fs::set_permissions(fixture.log(), fs::Permissions::from_mode(0o444)).unwrap();
    mode(0o555);
    let store = Store::open(fixture.root()).unwrap();
    assert_eq!(fixture::ids(&store), runs);
    assert_eq!(store.resolve(&runs[0].to_string()[..12]).unwrap(), runs[0]);
    assert_eq!(store.verdicts().unwrap().len(), 1);
    assert_eq!(store.verify().exit_code(), 0);
    // As root everything can be written, so what is looked at is that nothing was.
    assert_eq!(files(fixture.dir.path()), before);
    mode(0o755);
}

#[test]
fn series_and_weights_keep_every_bit() {
    let bits = [0x7ff8_0000_0000_beef, 0xfff0_0000_0000_0001, 0x8000_0000_0000_0000, 0x7ff0_0000_0000_0000, 1];
    let values = bits.map(f64::from_bits);
    let series = Series::new(vec![0, 1, 2, 3, 4], &values).unwrap();
    let back = Series::from_value(&series.to_value()).unwrap();
    assert_eq!(back.values().iter().map(|x| x.to_bits()).collect::<Vec<_>>(), bits);
    assert_eq!(series.bits.0[..8], [0xef, 0xbe, 0, 0, 0, 0, 0xf8, 0x7f]);
    assert!(Series::new(vec![0], &[]).is_err());

    let tensor = Tensor::new(vec![2, 1], vec![-0.0, 0.5]);
    for (precision, bytes) in [(Precision::F32, 8), (Precision::F64, 16)] {
        let weight = Weight::new("w", &tensor, precision);
        assert_eq!((weight.bits.0.len(), weight.values()), (bytes, vec![-0.0, 0.5]));
        assert!(weight.values()[0].is_sign_negative());
        assert_eq!(Weight::from_value(&weight.to_value()), Ok(weight.clone()));
        for dims in [vec![3], vec![usize::MAX >> 1, 16], vec![]] {
            assert!(Weight::from_value(&Weight { dims, ..weight.clone() }.to_value()).is_err());
        }
    }
    let ragged = Trace { steps: vec![1], digests: vec![] };
    assert!(Trace::from_value(&ragged.to_value()).is_err());
    assert!(Series::from_value(&Series { steps: vec![], bits: Bytes(vec![0]) }.to_value()).is_err());
}
