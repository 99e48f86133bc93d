//! Power failures and failing disks at every operation of sealing: what was acknowledged is there, what was not is never
//! half there, and whoever comes next can go on.

use std::io::ErrorKind;
use std::sync::Arc;

use metadsl::hash::Id;
use metadsl::ledger::*;

use super::fixture;
use super::memory::{Fault, Leaves, Memory};

/// What an unfinished write may leave: a torn tail, a pack that no log names.
const HARMLESS: u8 = 16 | 32;

fn open(disk: &Memory) -> Result<Store, LedgerError> {
    Store::create_on(Arc::new(disk.clone()), "/ledger")?.with_stream("main")
}

/// Seals runs until something fails; gives those that were acknowledged.
fn write(disk: &Memory, runs: std::ops::Range<u64>) -> Vec<Id> {
    let Ok(store) = open(disk) else { return Vec::new() };
    let store = store.with_segments_of(2);
    let large = fixture::noise(70_000);
    let mut sealed = Vec::new();
    for n in runs {
        // Every other run needs a large object.
        if n % 2 == 1 && store.put_blob(&large).is_err() {
            break;
        }
        let blob = Id::of_bytes(metadsl::hash::Kind::Blob, &large);
        let data = Manifest { files: vec![ManifestFile { name: "digits".into(), blob, bytes: 70_000 }] };
        match store.seal(&fixture::put_run_on(&store, n, data)) {
            Ok(done) => sealed.push(done.run),
            Err(_) => break,
        }
    }
    sealed
}

/// All that must hold of a ledger after a failure.
fn check(disk: &Memory, acknowledged: &[Id], what: &str) {
    let Ok(store) = open(disk) else { panic!("{what}: the ledger does not open: {:?}", open(disk).err()) };
    let listed = fixture::ids(&store);
    for id in acknowledged {
        assert!(listed.contains(id), "{what}: {id:?} was acknowledged");
    }
    let listing = store.runs().unwrap();
    assert!(listing.problems.is_empty(), "{what}: {:?}", listing.problems);
    let report = store.verify();
    assert_eq!(report.exit_code() & !HARMLESS, 0, "{what}: {:?}", report.problems);
    // Whoever comes next completes what was begun, and nothing is left of the failure.
    let again = write(disk, 0..4);
    assert_eq!(again.len(), 4, "{what}");
    let store = open(disk).unwrap();
    let report = store.verify();
    assert_eq!(report.exit_code(), 0, "{what}: {:?}", report.problems);
    assert!(acknowledged.iter().chain(&again).all(|id| fixture::ids(&store).contains(id)), "{what}");
}

/// A disk with two sealed runs, and those.
fn begun() -> (Memory, Vec<Id>) {
    let disk = Memory::new();
    let sealed = write(&disk, 0..2);
    assert_eq!(sealed.len(), 2);
    (disk, sealed)
}

#[test]
fn power_may_fail_after_any_operation_and_leave_any_state() {
    let mut states = 0;
    for (disk, before) in [(Memory::new(), vec![]), begun()] {
        for at in 0.. {
            let failing = disk.failing(at, Fault::Power);
            let mut acknowledged = before.clone();
            acknowledged.extend(write(&failing, 2..4));
            for contents in 0..6 {
                for names in 0..3 {
                    let after = failing.after_power_failure(Leaves { contents, names });
                    check(&after, &acknowledged, &format!("operation {at}, contents {contents}, names {names}"));
                    states += 1;
                }
            }
            if !failing.struck() {
                break;
            }
        }
    }
    println!("states after a power failure: {states}, runs lost: 0");
    assert!(states > 1000);
}

#[test]
fn power_may_fail_again_during_recovery() {
    let (disk, sealed) = begun();
    let mut states = 0;
    for first in (0..).step_by(3) {
        let failing = disk.failing(first, Fault::Power);
        let mut acknowledged = sealed.clone();
        acknowledged.extend(write(&failing, 2..4));
        let once = failing.after_power_failure(Leaves { contents: 2, names: 1 });
        for second in (0..).step_by(5) {
            let failing = once.failing(second, Fault::Power);
            let mut acknowledged = acknowledged.clone();
            acknowledged.extend(write(&failing, 0..4));
            let twice = failing.after_power_failure(Leaves { contents: 5, names: 2 });
            check(&twice, &acknowledged, &format!("operations {first} and {second}"));
            states += 1;
            if !failing.struck() {
                break;
            }
        }
        if !failing.struck() {
            break;
        }
    }
    println!("states after two power failures: {states}, runs lost: 0");
}

#[test]
fn an_operation_that_fails_once_is_a_failure_and_nothing_is_lost() {
    let (disk, sealed) = begun();
    let kinds = [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::Other];
    let faults = kinds.map(Fault::Once).into_iter().chain([Fault::Short]);
    let mut tried = 0;
    for fault in faults {
        for at in 0.. {
            let failing = disk.failing(at, fault);
            let mut acknowledged = sealed.clone();
            acknowledged.extend(write(&failing, 2..4));
            // The process goes on; then the power fails. What a failed sync should have kept is gone by then.
            acknowledged.extend(write(&failing, 0..4));
            for contents in [0, 1] {
                let after = failing.after_power_failure(Leaves { contents, names: contents });
                check(&after, &acknowledged, &format!("{fault:?} at operation {at}, contents {contents}"));
            }
            if !failing.struck() {
                break;
            }
            check(&failing, &acknowledged, &format!("{fault:?} at operation {at}"));
            tried += 1;
        }
    }
    println!("operations that failed once: {tried}, runs lost: 0");
}

#[test]
fn a_full_or_read_only_disk_can_be_read() {
    let (disk, sealed) = begun();
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
        for at in 0..40 {
            let failing = disk.failing(at, Fault::ReadOnly(kind));
            write(&failing, 2..4);
            let store = Store::open_on(Arc::new(failing.clone()), "/ledger").unwrap();
            let listed = fixture::ids(&store);
            assert!(sealed.iter().all(|id| listed.contains(id)), "{kind:?} at operation {at}");
            assert!(store.resolve(&sealed[0].to_string()).is_ok());
            assert_eq!(store.verify().exit_code() & !HARMLESS, 0, "{kind:?} at operation {at}");
        }
    }
}
