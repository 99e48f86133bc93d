//! Collecting garbage while somebody writes: at every call of the one the other comes in, and nothing that anybody was promised
//! is gone.

use std::sync::{Arc, Mutex};

use metadsl::hash::{Bytes, Id, Kind};
use metadsl::ledger::*;

use super::fixture;
use super::memory::Memory;
use super::turns::take_turns;

/// The run that is taken off the listings.
const BURIED: u64 = 1;

/// A disk with garbage: a large object of nobody, a file that a dead writer left, a run that was buried. A second run
/// is wanted.
fn begun() -> Memory {
    let disk = Memory::new();
    let store = Store::create_on(Arc::new(disk.clone()), "/ledger").unwrap().with_stream("main").unwrap();
    let buried = fixture::seal(&store, BURIED);
    fixture::seal(&store, 2);
    store.put_blob(&large()).unwrap();
    store.bury(buried).unwrap();
    let mut left = disk.create_new("/ledger/tmp/0123456789abcdef".as_ref()).unwrap();
    left.append(b"half").unwrap();
    disk
}

/// An object that the disk already holds as garbage.
fn large() -> Vec<u8> {
    fixture::noise(70_000)
}

fn on_large(store: &Store, n: u64) -> Run {
    let blob = Id::of_bytes(Kind::Blob, &large());
    fixture::put_run_on(store, n, Manifest { files: vec![ManifestFile { name: "digits".into(), blob, bytes: 70_000 }] })
}

/// What a writer does in its life: a run with a journal, of a large object that lies about; another one between putting that
/// and sealing; a verdict on a run that was read long before; a note. Gives the runs that were sealed.
fn write(store: &Store) -> Vec<Id> {
    let result = |id| store.get::<Run>(Kind::Run, id).map(|run| run.result);
    let old = store.run_ids().unwrap().first().and_then(|&id| result(id).ok());
    if let Some(old) = old {
        store.get::<Outcome>(Kind::Result, old).unwrap();
    }
    store.put_blob(&large()).unwrap();
    let between = store.seal(&fixture::put_run(store, 3)).unwrap().run;
    let run = on_large(store, 4);
    let about = About {
        experiment: run.experiment.clone(),
        input: run.input,
        source: run.source,
        files: vec![],
        started_ms: 1,
        keep_weights: None,
    };
    let live = store.begin(&about, || {}).unwrap();
    live.row(Row { cell: 0, measure: 0, step: 1, bits: Bytes(vec![0; 8]) });
    live.save(0, &run);
    let sealed = store.seal(&run).unwrap().run;
    assert!(live.close().unwrap().is_none());
    if let Some(old) = old {
        // The old run may be gone by now; then the verdict is refused, and not recorded about nothing.
        let verdict = Comparison { old, new: run.result, verdict: Verdict::Identical, left_out: vec![] };
        assert!(matches!(
            store.put_verdict(&verdict),
            Ok(_) | Err(LedgerError::Missing { .. } | LedgerError::MissingPack(_))
        ));
    }
    store.annotate(&Note { about: sealed, key: "tag".into(), text: "x".into(), at_ms: 1 }).unwrap();
    vec![between, sealed]
}

/// Collects and throws away whatever can be, unless a writer is at work.
fn collect(store: &Store) {
    for empty in [false, true] {
        assert!(matches!(store.gc(true, empty), Ok(_) | Err(LedgerError::Busy(_))));
    }
}

/// All that must hold when both are done.
fn check(disk: &Memory, sealed: &[Id], wanted: usize, what: &str) {
    let store = Store::open_on(Arc::new(disk.clone()), "/ledger").unwrap().with_stream("main").unwrap();
    assert_eq!(store.verify().problems, [], "{what}");
    let listed = fixture::ids(&store);
    assert!(sealed.iter().all(|run| listed.contains(run)), "{what}");
    assert_eq!(listed.len(), wanted, "{what}");
    assert!(
        sealed.is_empty() || store.get_blob(Id::of_bytes(Kind::Blob, &large())).is_ok_and(|b| b == large()),
        "{what}"
    );
    // What the first `gc` left the next one finds, and takes nothing else.
    store.gc(true, true).unwrap();
    assert_eq!((store.verify().problems, fixture::ids(&store)), (vec![], listed), "{what}");
    assert!(sealed.is_empty() || store.get_blob(Id::of_bytes(Kind::Blob, &large())).is_ok(), "{what}");
}

#[test]
fn collecting_at_every_call_of_a_writer() {
    let mut calls = 0;
    for buries in [false, true] {
        for at in 0.. {
            let disk = begun();
            let sealed = Mutex::new(Vec::new());
            let came = take_turns(
                &disk,
                at,
                |store| *sealed.lock().unwrap() = write(&store),
                move |store| {
                    let wanted = store.run_ids().unwrap();
                    if buries {
                        store.bury(wanted[0]).unwrap();
                    }
                    collect(&store);
                },
            );
            let sealed = sealed.into_inner().unwrap();
            check(
                &disk,
                &sealed,
                if came && buries { 2 } else { 3 },
                &format!("call {at} of the writer, buries: {buries}"),
            );
            calls += 1;
            if !came {
                break;
            }
        }
    }
    println!("calls of a writer at which garbage was collected: {calls}, runs lost: 0");
    assert!(calls > 200, "{calls}");
}

#[test]
fn writing_at_every_call_of_a_collection() {
    let mut calls = 0;
    for at in 0.. {
        let disk = begun();
        let sealed = Arc::new(Mutex::new(Vec::new()));
        let ours = sealed.clone();
        let came = take_turns(&disk, at, |store| collect(&store), move |store| *ours.lock().unwrap() = write(&store));
        let sealed = std::mem::take(&mut *sealed.lock().unwrap());
        check(&disk, &sealed, if came { 3 } else { 1 }, &format!("call {at} of the collection"));
        calls += 1;
        if !came {
            break;
        }
    }
    println!("calls of a collection at which somebody wrote: {calls}, runs lost: 0");
    assert!(calls > 50, "{calls}");
}

#[test]
fn collecting_at_every_call_of_who_writes_no_run() {
    let mut calls = 0;
    for at in 0.. {
        let disk = begun();
        let work = |store: Store| {
            store.bury(store.run_ids().unwrap()[0]).unwrap();
            store.trust(&public_key(&[1; 32]), true).unwrap();
        };
        let came = take_turns(&disk, at, work, |store| collect(&store));
        check(&disk, &[], 0, &format!("call {at} of the burial"));
        calls += 1;
        if !came {
            break;
        }
    }
    println!("calls of a burial at which garbage was collected: {calls}, runs lost: 0");
}
