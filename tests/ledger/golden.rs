//! Identities that must never change: a recorded hash is looked up for as long as there are ledgers.

use metadsl::hash::{Id, Kind, from_ron, to_ron};
use metadsl::ledger::*;

use super::fixture::{self, Fixture, Numbers};

/// Every kind, of the run that the fixture makes.
const GOLDEN: [(&str, &str); 13] = [
    ("source", "141189cc811fb209964b06f9dcf274d4b83e8528e14961bae929acb4aef932a3"),
    ("plan", "fdbc20dbbbe7bef760620b7562f3f758da8257c53814a2dd78126112d53db0a3"),
    ("manifest", "495971026bb21e73fc9dc0349e27d1b0bc195dc695362474b032357c7c9505de"),
    ("numerics", "5f741f7fd2c5219728a12f0e58b4f494b90495eb5805cd501efe63ece7f8a422"),
    ("input", "8767c4c30bf9f4105027641b5cf08452aab80be34d934fad5a1162de5706e400"),
    ("env", "5c3bc2c1e389a180ea2bc41f00c0ae36bdfd5f0c1498fcb66daa6f6c9c6a7c85"),
    ("series", "ec23cfdba2aa4046641c473a29444f393e1a26bf0d8c2ed9406c60d9f4563f68"),
    ("trace", "6d4f670a073c6ee703e02c64c3e09ef80853797e05f0db92e871cc46ee8021f1"),
    ("weights", "852e45a4210377220744ed207b77f049af78f9cd26c4002cfdd65c7d94078c05"),
    ("result", "fba1de840b1ae2b6f43e1920882787617adbc452be34ad8a98249950b047c92c"),
    ("diverged result", "baac82e7ff4aac2183e28566add884ea64f11cf0fb2fca367c090ee68f581e12"),
    ("run", "d0907227ee5a8ac3b3c04c36f7fd852ae83605b9fb8b3f827a77a31b3f5d0dfc"),
    ("verdict", "e7fcf61fc87ce31c5afa01a8a45f08029ee2b15109b9423275efbf03316a0cd3"),
];

#[test]
fn the_ids_of_a_small_run_are_fixed() {
    let fixture = Fixture::empty();
    let store = &fixture.store;
    let run = fixture::put_run(store, 1);
    let outcome: Outcome = store.get(Kind::Result, run.result).unwrap();
    let input: Input = store.get(Kind::Input, run.input).unwrap();
    let cell = &outcome.cells[0];
    let place = Place { arm: Some("maml".into()), seed: Some(0), what: What::Trace, step: Some(3) };
    let verdict = Verdict::Diverged { place, left_bits: "00".into(), right_bits: "01".into() };
    let comparison = Comparison { old: run.result, new: run.result, verdict };
    let diverged = fixture::put_cell(store, &Numbers { status: Status::Diverged { step: 7 }, ..Numbers::default() });
    let found = [
        ("source", run.source.unwrap()),
        ("plan", input.plan),
        ("manifest", input.manifest),
        ("numerics", input.numerics),
        ("input", run.input),
        ("env", run.env),
        ("series", cell.series[0].id),
        ("trace", cell.trace),
        ("weights", cell.weights),
        ("result", run.result),
        ("diverged result", Id::of(Kind::Result, &Outcome { cells: vec![diverged], ..outcome })),
        ("run", store.seal(&run).unwrap().run),
        ("verdict", Id::of(Kind::Verdict, &comparison)),
    ];
    let found = found.map(|(name, id)| (name, id.to_string()));
    assert_eq!(found, GOLDEN.map(|(name, id)| (name, id.to_owned())));
}

#[test]
fn a_result_leaves_out_time_and_host() {
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    let later = Run { started_ms: 5, env: Id::from_bytes([5; 32]), source: None, files: vec![], ..run.clone() };
    assert_eq!((later.input, later.result), (run.input, run.result));
    assert_ne!(Id::of(Kind::Run, &later), Id::of(Kind::Run, &run));
}

#[test]
fn a_run_reads_back_from_ron() {
    use metadsl::hash::Canonical;
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    let ron = to_ron(&run.to_value());
    assert_eq!(Run::from_value(&from_ron(&ron).unwrap()), Ok(run));
}
