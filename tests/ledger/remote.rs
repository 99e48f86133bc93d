//! Pushing and pulling: what arrives is what was sent, what is damaged or hostile is refused and harms nothing, and only
//! what a trusted key has signed counts as held.

use std::path::PathBuf;

use metadsl::hash::{Id, Kind};
use metadsl::ledger::*;

use super::fixture::{self, Fixture};
use super::shelf::{self, Shelf};

const SECRET: [u8; 32] = [5; 32];
/// The length of a blob that is cut into chunks.
const LARGE: usize = 4_300_000;

/// A ledger whose third run needs a large blob of several chunks, and its runs.
fn source() -> (Fixture, Vec<Id>) {
    let (fixture, runs) = Fixture::with_two_runs();
    let large = fixture::noise(LARGE);
    let blob = fixture.store.put_blob(&large).unwrap();
    let file = ManifestFile { name: "digits".into(), blob, bytes: large.len() as u64 };
    let third = fixture::put_run_on(&fixture.store, 3, Manifest { files: vec![file] });
    let third = fixture.store.seal(&third).unwrap().run;
    (fixture, vec![runs[0], runs[1], third])
}

/// A ledger that writes another stream than [`source`].
fn target() -> Fixture {
    let fixture = Fixture::empty();
    let store = fixture.fresh().with_stream("other").unwrap();
    Fixture { dir: fixture.dir, store }
}

fn pushed(fixture: &Fixture) -> Shelf {
    let shelf = Shelf::default();
    let moved = fixture.fresh().push(&shelf, Some(&SECRET)).unwrap();
    assert!(moved.iter().all(|stream| stream.problem.is_none()), "{moved:?}");
    shelf
}

/// Pulls; gives what went wrong with each stream.
fn pull(fixture: &Fixture, shelf: &Shelf) -> Vec<String> {
    let store = Store::open(fixture.root()).unwrap().with_stream("other").unwrap();
    store.pull(shelf).unwrap().into_iter().filter_map(|moved| moved.problem).collect()
}

fn cell_key(store: &Store, run: Id) -> Id {
    let run: Run = store.get(Kind::Run, run).unwrap();
    store.get::<Outcome>(Kind::Result, run.result).unwrap().cells[0].key
}

#[test]
fn what_was_pushed_is_pulled_whole() {
    let (source, runs) = source();
    let shelf = pushed(&source);
    let target = target();
    let own = fixture::seal(&target.store, 9);
    assert_eq!(pull(&target, &shelf), Vec::<String>::new());
    let store = target.fresh();
    assert_eq!(fixture::ids(&store), [&runs[..], &[own]].concat());
    assert_eq!(store.verify().problems, []);
    assert_eq!(store.verdicts().unwrap().len(), 1);
    let blob = Id::of_bytes(Kind::Blob, &fixture::noise(LARGE));
    assert_eq!(store.get_blob(blob).unwrap(), fixture::noise(LARGE));
    // A second time there is nothing to do, at a cost for each stream and not for each file.
    shelf.requests.set(0);
    assert_eq!(pull(&target, &shelf), Vec::<String>::new());
    assert!(shelf.requests.get() <= 4, "{} requests", shelf.requests.get());
    shelf.requests.set(0);
    assert_eq!(source.fresh().push(&shelf, None).unwrap()[0].files, 0);
    assert!(shelf.requests.get() <= 4, "{} requests", shelf.requests.get());
    // What both have goes both ways; the streams stay apart.
    target.fresh().push(&shelf, None).unwrap();
    assert_eq!(source.fresh().pull(&shelf).unwrap().iter().map(|m| m.frames).sum::<usize>(), 1);
    assert_eq!(fixture::ids(&source.fresh()).len(), 4);
    assert_eq!(source.fresh().verify().problems, []);
}

#[test]
fn a_remote_is_a_ledger() {
    let (source, runs) = source();
    let shelf = pushed(&source);
    fixture::seal(&source.store, 4);
    source.fresh().push(&shelf, None).unwrap();
    assert_eq!(shelf.names("log/main/"), ["log/main/000000000000", "log/main/000000000004"]);
    let elsewhere = tempfile::TempDir::new().unwrap();
    for (name, bytes) in shelf.files.borrow().iter() {
        let path = elsewhere.path().join("ledger").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let store = Store::open(elsewhere.path().join("ledger")).unwrap();
    assert_eq!(store.verify().problems, []);
    assert!(runs.iter().all(|run| fixture::ids(&store).contains(run)));
}

#[test]
fn pulled_cells_count_where_a_trusted_key_signed() {
    let (source, runs) = source();
    let shelf = pushed(&source);
    let key = cell_key(&source.store, runs[0]);
    let held = |fixture: &Fixture| fixture.fresh().cell(key).unwrap().map(|(run, _)| run);
    let input = source.store.get::<Run>(Kind::Run, runs[0]).unwrap().input;

    let target = target();
    assert_eq!(pull(&target, &shelf), Vec::<String>::new());
    assert_eq!((held(&target), target.fresh().run_of(input).unwrap()), (None, None), "nobody is trusted");
    target.store.trust(&public_key(&[6; 32]), true).unwrap();
    pull(&target, &shelf);
    assert_eq!(held(&target), None, "another key is trusted");
    target.store.trust(&public_key(&SECRET), true).unwrap();
    assert_eq!(held(&target), None, "no checkpoint has been seen since");
    pull(&target, &shelf);
    assert_eq!((held(&target), target.fresh().run_of(input).unwrap()), (Some(runs[0]), Some(runs[0])));
    // What came after the checkpoint does not count yet.
    let fourth = fixture::seal(&source.store, 4);
    source.fresh().push(&shelf, None).unwrap();
    pull(&target, &shelf);
    let late = cell_key(&source.store, fourth);
    assert!(fixture::ids(&target.fresh()).contains(&fourth));
    assert_eq!(target.fresh().cell(late).unwrap(), None);
    source.fresh().push(&shelf, Some(&SECRET)).unwrap();
    pull(&target, &shelf);
    assert_eq!(target.fresh().cell(late).unwrap().map(|(run, _)| run), Some(fourth));
    // Trust can be withdrawn.
    target.store.trust(&public_key(&SECRET), false).unwrap();
    assert_eq!((held(&target), target.fresh().trusted().unwrap()), (None, vec![public_key(&[6; 32])]));
    // A checkpoint by another hand under a trusted name, or of another ledger, is none.
    target.store.trust(&public_key(&SECRET), true).unwrap();
    let name = format!("checkpoints/main/000000000005-{}", public_key(&SECRET));
    let other = Head { root: Id::from_bytes([1; 32]), ..source.store.heads().unwrap().remove(0) };
    for forged in [sign(&other, &[6; 32]), sign(&other, &SECRET), "\u{1b}[2J".to_owned()] {
        shelf.files.borrow_mut().insert(name.clone(), forged.into_bytes());
        assert_eq!(pull(&target, &shelf).len(), 1);
    }
    // The mark is part of what `verify` reads, to the last byte.
    let mark = target.root().join("pulled/main");
    let sound = std::fs::read(&mark).unwrap();
    for at in 0..sound.len() {
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&mark, flipped).unwrap();
        assert_ne!(target.fresh().verify().exit_code(), 0, "byte {at}");
        assert_eq!(held(&target), None, "a mark that cannot be read vouches for nothing");
    }
}

#[test]
fn a_remote_that_stops_at_any_request_leaves_a_sound_ledger() {
    let (source, runs) = source();
    let whole = pushed(&source);
    let (mut pushes, mut pulls) = (0, 0);
    for requests in 0.. {
        let dying = Shelf::default().dying_after(requests);
        let done = source.fresh().push(&dying, Some(&SECRET)).is_ok_and(|all| all.iter().all(|m| m.problem.is_none()));
        // Whatever is there can be pulled: what a log lists is whole.
        dying.lives.set(None);
        let target = target();
        if dying.files.borrow().contains_key("FORMAT") {
            assert_eq!(pull(&target, &dying), Vec::<String>::new(), "push stopped after {requests} requests");
        }
        assert_eq!(target.fresh().verify().problems, []);
        if done {
            break;
        }
        source.fresh().push(&dying, Some(&SECRET)).unwrap();
        assert_eq!(*dying.files.borrow(), *whole.files.borrow(), "the next push completes it");
        pushes += 1;
    }
    for requests in 0.. {
        let target = target();
        let store = target.fresh().with_stream("other").unwrap();
        let done = store.pull(&whole.dying_after(requests)).is_ok_and(|all| all.iter().all(|m| m.problem.is_none()));
        assert_eq!(target.fresh().verify().exit_code() & !Fault::Unlisted.bit(), 0, "{requests}");
        drop(store);
        assert_eq!(pull(&target, &whole), Vec::<String>::new());
        assert_eq!(fixture::ids(&target.fresh()), runs);
        assert_eq!(target.fresh().verify().problems, [], "the next pull completes it");
        if done {
            break;
        }
        pulls += 1;
    }
    println!("pushes stopped: {pushes}, pulls stopped: {pulls}, runs lost: 0");
    assert!(pushes > 10 && pulls > 10, "{pushes} {pulls}");
}

#[test]
fn damage_on_a_remote_is_refused_and_set_aside() {
    let (source, runs) = source();
    let sound = pushed(&source);
    let mut tried = 0;
    for name in sound.names("") {
        let bytes = sound.files.borrow()[&name].clone();
        // Heads and checkpoints are no part of what is taken; trust in checkpoints has a test of its own.
        if name.starts_with("heads") || name.starts_with("checkpoints") {
            continue;
        }
        for (what, damaged) in [
            (
                "flipped",
                [&bytes[..bytes.len() / 2], &[bytes[bytes.len() / 2] ^ 1], &bytes[bytes.len() / 2 + 1..]].concat(),
            ),
            ("cut", bytes[..bytes.len() - 1].to_vec()),
            ("empty", vec![]),
            ("a list of no chunks", fixture::object_file("blob chunks", &[0x80])),
            ("another", sound.files.borrow()[&sound.names("packs")[0]].clone()),
        ] {
            if damaged == bytes {
                continue;
            }
            let shelf = sound.clone();
            shelf.files.borrow_mut().insert(name.clone(), damaged);
            let target = target();
            let store = target.fresh().with_stream("other").unwrap();
            let problems = match store.pull(&shelf) {
                Ok(moved) => moved.into_iter().filter_map(|moved| moved.problem).collect(),
                Err(e) => vec![e.to_string()],
            };
            drop(store);
            assert_eq!(problems.len(), 1, "{name} {what}");
            assert_eq!(target.fresh().verify().exit_code() & !Fault::Unlisted.bit(), 0, "{name} {what}");
            let aside = fixture::files(target.root()).into_iter().filter(|file| file.starts_with("quarantine")).count();
            assert_eq!(aside == 1, name.starts_with("packs") || name.starts_with("objects"), "{name} {what}: {aside}");
            // What stands before the damage is there, and a sound remote completes the rest.
            assert!(runs.starts_with(&fixture::ids(&target.fresh())));
            assert_eq!(pull(&target, &sound), Vec::<String>::new());
            assert_eq!(fixture::ids(&target.fresh()), runs);
            tried += 1;
        }
    }
    println!("damaged files on a remote: {tried}, taken: 0");
    assert!(tried > 20);
}

#[test]
fn forks_and_rollbacks_are_told() {
    let (source, _) = source();
    let shelf = pushed(&source);
    // Another clone has written to a stream of the same name.
    let fork = Fixture::empty();
    for n in 11..14 {
        fixture::seal(&fork.store, n);
    }
    let problem = |moved: Vec<Moved>| moved[0].problem.clone().unwrap_or_default();
    assert!(problem(fork.fresh().push(&shelf, None).unwrap()).contains("other frames"));
    let target = target();
    pull(&target, &shelf);
    assert!(problem(target.fresh().pull(&pushed(&fork)).unwrap()).contains("other frames"));
    // An older copy of the ledger was put back where it writes.
    let older = Fixture::empty();
    fixture::seal(&older.store, 1);
    assert!(problem(older.fresh().pull(&shelf).unwrap()).contains("an older copy was put back"));
    assert_eq!(fixture::ids(&older.fresh()).len(), 1);
    // Damage is not pushed.
    let pack = source.pack(fixture::seal(&source.store, 5));
    std::fs::write(&pack, b"?").unwrap();
    let before = shelf.files.borrow().clone();
    assert!(problem(source.fresh().push(&shelf, None).unwrap()).contains("hashes to"));
    assert_eq!(*shelf.files.borrow(), before);
}

#[test]
fn a_hostile_remote_writes_nothing_outside_and_fills_no_memory() {
    let (source, _) = source();
    let shelf = pushed(&source);
    let bomb = |mut bytes: Vec<u8>, length: u64| {
        let packed = zstd::bulk::compress(&vec![0; 32 << 20], 3).unwrap();
        bytes.extend(length.to_le_bytes());
        bytes.extend(packed);
        bytes
    };
    let segment = shelf.files.borrow()["log/main/000000000000"].clone();
    let names = [
        "log/../../outside",
        "log/main/../../../outside",
        "log//etc/000000000000",
        "log/Main/000000000000",
        "log/main/1",
        "log/ma\u{1b}[2Jin/000000000000",
        "log/caf\u{e9}/000000000000",
        "/log/main/000000000099",
    ];
    for name in names {
        shelf.files.borrow_mut().insert(name.to_owned(), segment.clone());
    }
    let target = target();
    assert_eq!(pull(&target, &shelf), Vec::<String>::new(), "what has no name of a ledger is no part of one");
    let beside: Vec<PathBuf> =
        std::fs::read_dir(target.dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(beside, [target.root().to_owned()]);
    assert_eq!(std::fs::read_dir(target.root().join("log")).unwrap().count(), 1);

    // Bombs under their own right names: refused by what they announce, or at what they inflate to.
    for length in [1 << 20, 32 << 20, 1 << 60] {
        let pack = bomb(b"metadsl pack 1\n".to_vec(), length);
        let name = Id::of_bytes(Kind::Blob, &pack);
        let evil = Fixture::empty();
        fixture::seal(&evil.store, 1);
        let shelf = pushed(&evil);
        let entry = match evil.store.frames().unwrap().remove(0).entry {
            Entry::Run { id, input, cells, .. } => Entry::Run { id, pack: name, input, cells },
            other => panic!("{other:?}"),
        };
        shelf.files.borrow_mut().insert(format!("packs/{name}"), pack);
        shelf.files.borrow_mut().insert("log/main/000000000000".to_owned(), shelf::segment(&entry));
        let target = self::target();
        assert_eq!(pull(&target, &shelf).len(), 1, "{length}");
        assert_eq!(fixture::ids(&target.fresh()), []);
    }
}
