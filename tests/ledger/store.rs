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
    fs::write(root.join("FORMAT"), "metadsl ledger 3\n").unwrap();
    let error = Store::open_or_create(&root).unwrap_err();
    assert!(matches!(&error, LedgerError::Format { found, .. } if found == "metadsl ledger 3"), "{error}");
    fs::write(root.join("FORMAT"), b"\x1b[2J\xff".repeat(1000)).unwrap();
    assert!(!Store::open(&root).unwrap_err().to_string().contains('\x1b'), "its text cannot drive a terminal");
    fs::remove_file(root.join("FORMAT")).unwrap();
    fs::create_dir(root.join("packs")).unwrap();
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
fn objects_come_back_as_they_were_put() {
    let fixture = Fixture::empty();
    for blob in [b"raw\0bytes".to_vec(), vec![7; 1 << 17], fixture::noise(1 << 17)] {
        let id = fixture.store.put_blob(&blob).unwrap();
        assert_eq!(fixture.store.get_blob(id).unwrap(), blob);
        assert_eq!(blake3::hash(&blob).to_string(), id.to_string(), "b3sum of the bytes is the id");
    }
    let run = fixture::put_run(&fixture.store, 1);
    let sealed = fixture.store.seal(&run).unwrap();
    for store in [&fixture.store, &fixture.fresh()] {
        assert_eq!(store.get::<Run>(Kind::Run, sealed.run).unwrap(), run);
        assert_eq!(store.runs().unwrap().runs, [(sealed.run, run.clone())]);
    }
    let absent = Id::from_bytes([1; 32]);
    assert!(matches!(fixture.store.get::<Run>(Kind::Run, absent), Err(LedgerError::Missing { .. })));
    assert!(matches!(fixture.store.get::<Env>(Kind::Env, sealed.run), Err(LedgerError::Damaged { .. })));
}

#[test]
fn large_blobs_are_cut_where_their_content_says() {
    let fixture = Fixture::empty();
    let first = fixture::noise(24 << 20);
    // The same with some bytes put in near the beginning: all chunks but the first ones are the same.
    let second = [&first[..1000], b"in between", &first[1000..]].concat();
    let ids = [&first, &second].map(|bytes| fixture.store.put_stream(&bytes[..]).unwrap());
    let stored = fixture.files().iter().map(|f| fs::metadata(fixture.root().join(f)).unwrap().len()).sum::<u64>();
    assert!(stored < (24 << 20) + (9 << 20), "two blobs of 24 MiB that share most take {stored} bytes");
    for (id, bytes) in ids.into_iter().zip([first, second]) {
        assert_eq!(id, Id::of_bytes(Kind::Blob, &bytes));
        let mut copy = Vec::new();
        fixture.fresh().copy_blob(id, &mut copy).unwrap();
        assert!(copy == bytes);
    }
    assert_eq!(fixture.store.verify().exit_code(), 0);
    let chunk = fixture.files().into_iter().filter(|f| f.starts_with("objects"));
    let largest = chunk.max_by_key(|f| fs::metadata(fixture.root().join(f)).unwrap().len()).unwrap();
    fs::remove_file(fixture.root().join(largest)).unwrap();
    assert_eq!(fixture.store.verify().exit_code(), Fault::Missing.bit());
    assert!(fixture.fresh().get_blob(ids[0]).is_err() || fixture.fresh().get_blob(ids[1]).is_err());
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
    let whole = Fixture::empty();
    let run = fixture::put_run(&whole.store, 1);
    let outcome: Outcome = whole.store.get(Kind::Result, run.result).unwrap();
    let cell = &outcome.cells[0];
    let series: Series = whole.store.get(Kind::Series, cell.series[0].id).unwrap();
    // All of it but one object, in turn.
    let fixture = Fixture::empty();
    assert!(matches!(fixture.store.seal(&run), Err(LedgerError::Missing { id, .. }) if id == run.result));
    fixture.store.put(Kind::Result, &outcome).unwrap();
    assert!(matches!(fixture.store.seal(&run), Err(LedgerError::Missing { .. })));
    fixture.store.put(Kind::Series, &series).unwrap();
    assert!(matches!(fixture.store.seal(&run), Err(LedgerError::Missing { .. })));
    assert_eq!(fixture::ids(&fixture.store), []);
    assert_eq!(fixture.fresh().verify().exit_code(), 0);
    let other = fixture::put_input(&whole.store, "another", 1);
    let error = whole.store.seal(&Run { input: other, ..run.clone() }).unwrap_err();
    assert!(matches!(error, LedgerError::InputMismatch { .. }));
    whole.store.seal(&run).unwrap();
}

#[test]
fn a_writer_that_died_before_the_log_leaves_an_unlisted_pack() {
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    let id = fixture.store.seal(&run).unwrap().run;
    for gone in [fixture.log(), fixture.root().join("heads/main")] {
        fs::remove_file(gone).unwrap();
    }
    let store = fixture.fresh();
    assert_eq!(fixture::ids(&store), []);
    assert_eq!(store.verify().exit_code(), Fault::Unlisted.bit());
    assert_eq!(store.seal(&fixture::put_run(&store, 1)).unwrap().run, id);
    assert_eq!(store.verify().exit_code(), 0);
}

#[test]
fn a_buried_run_is_not_listed_and_notes_are() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let note = Note { about: second, key: "tag".into(), text: "baseline".into(), at_ms: 5 };
    let id = fixture.store.annotate(&note).unwrap();
    assert_eq!(fixture.fresh().notes().unwrap(), [(id, note)]);
    fixture.store.bury(first).unwrap();
    assert_eq!(fixture::ids(&fixture.fresh()), [second]);
    assert_eq!(fixture.fresh().verify().exit_code(), 0);
    assert!(matches!(fixture.fresh().resolve(&first.to_string()), Err(LedgerError::UnknownRun { .. })));
}

#[test]
fn a_cell_is_found_by_its_key() {
    let (fixture, [first, second]) = Fixture::with_two_runs();
    let cell_of = |run| {
        let run: Run = fixture.store.get(Kind::Run, run).unwrap();
        fixture.store.get::<Outcome>(Kind::Result, run.result).unwrap().cells.remove(0)
    };
    for run in [first, second] {
        let cell = cell_of(run);
        assert_eq!(fixture.fresh().cell(cell.key).unwrap(), Some((run, cell)));
    }
    let unknown = Id::from_bytes([3; 32]);
    assert_eq!(fixture.store.cell(unknown).unwrap(), None);
    // Many with one look, one of them twice; what was sealed last counts.
    let run: Run = fixture.store.get(Kind::Run, second).unwrap();
    let later = fixture.store.seal(&Run { finished_ms: 9_000, ..run }).unwrap().run;
    let keys = [cell_of(first).key, unknown, cell_of(second).key, cell_of(first).key];
    let found = fixture.fresh().cells(&keys).unwrap().into_iter().map(|found| found.map(|(run, _)| run));
    assert_eq!(found.collect::<Vec<_>>(), [Some(first), None, Some(later), Some(first)]);
    fixture.store.bury(first).unwrap();
    assert_eq!(fixture.fresh().cell(cell_of(first).key).unwrap(), None);
}

#[test]
fn a_copy_of_a_ledger_writes_a_stream_of_its_own() {
    let dir = TempDir::new().unwrap();
    let open = |name: &str| Store::open_or_create(dir.path().join(name)).unwrap();
    let store = open("a/ledger");
    let first = fixture::seal(&store, 1);
    assert_eq!(store.stream().unwrap(), open("a/ledger").stream().unwrap(), "the same as long as it lies there");
    for file in files(&dir.path().join("a")) {
        let target = dir.path().join("b").join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(dir.path().join("a").join(&file), target).unwrap();
    }
    let copy = open("b/ledger");
    assert_ne!(store.stream().unwrap(), copy.stream().unwrap());
    let second = fixture::seal(&copy, 2);
    let listed: std::collections::BTreeSet<Id> = fixture::ids(&copy).into_iter().collect();
    assert_eq!(listed, [first, second].into());
    assert_eq!(copy.verify().exit_code(), 0);
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
    let comparison = Comparison { old, new, verdict, left_out: vec![] };
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
        for dir in ["", "packs", "log", "log/main", "heads", "tmp"] {
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
