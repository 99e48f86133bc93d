//! Identities that must never change: a recorded hash is looked up for as long as there are ledgers.

use metadsl::hash::{Id, Kind, from_ron, to_ron};
use metadsl::ir::{Precision, Tensor};
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
    let comparison = Comparison { old: run.result, new: run.result, verdict, left_out: vec![] };
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
fn an_id_depends_on_the_numerics_epoch_and_not_on_how_an_object_is_stored() {
    let fixture = Fixture::empty();
    let inputs = [1, 2].map(|epoch| fixture::put_input(&fixture.store, "maml_anil", epoch));
    assert_ne!(inputs[0], inputs[1]);
    // In a pack, in a file as it is, compressed, in chunks.
    for content in [vec![b'a'; 100], fixture::noise(70_000), vec![b'a'; 70_000], vec![b'a'; 9 << 20]] {
        let id = fixture.store.put_blob(&content).unwrap();
        assert_eq!(id, Id::from_bytes(*blake3::hash(&content).as_bytes()));
        assert_eq!(fixture.store.get_blob(id).unwrap(), content);
    }
}

#[test]
fn a_run_reads_back_from_ron() {
    use metadsl::hash::Canonical;
    let fixture = Fixture::empty();
    let run = fixture::put_run(&fixture.store, 1);
    let ron = to_ron(&run.to_value());
    assert_eq!(Run::from_value(&from_ron(&ron).unwrap()), Ok(run));
}

/// Objects at the edges of their kinds, by name.
fn edges() -> Vec<(String, Id)> {
    let fixture = Fixture::empty();
    let id = |n: u8| Id::from_bytes([n; 32]);
    let mut found = Vec::new();
    let mut add = |name: &str, id: Id| found.push((name.to_owned(), id));
    for (name, values) in [
        ("empty series", &[][..]),
        ("series of zeros of both signs", &[0.0, -0.0]),
        ("series of infinities", &[f64::INFINITY, f64::NEG_INFINITY]),
        (
            "series of NaNs with payloads",
            &[f64::NAN, f64::from_bits(0x7ff8_0000_0000_0001), f64::from_bits(0xfff8_0000_0000_0000)],
        ),
        ("series of the least numbers", &[f64::MIN_POSITIVE, f64::from_bits(1), f64::EPSILON]),
        ("series of a hundred", &[0.1; 100]),
    ] {
        add(name, Id::of(Kind::Series, &Series::new((0..values.len() as u64).collect(), values).unwrap()));
    }
    let late = Series::new(vec![0, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX as u64], &[1.0; 9]).unwrap();
    add("series at steps of every width", Id::of(Kind::Series, &late));
    add("empty trace", Id::of(Kind::Trace, &Trace::new(&[])));
    add("trace", Id::of(Kind::Trace, &Trace::new(&[(0, id(1)), (1 << 40, id(2))])));
    add("no weights", Id::of(Kind::Weights, &Weights { tensors: vec![] }));
    for precision in [Precision::F32, Precision::F64] {
        for dims in [vec![], vec![0], vec![2, 3]] {
            let count = dims.iter().product();
            let tensor = Tensor::new(dims.clone(), (0..count).map(|i| i as f64 * 0.1 - 0.2).collect());
            let weights = Weights { tensors: vec![Weight::new("w", &tensor, precision)] };
            add(&format!("weights {dims:?} {}", precision.name()), Id::of(Kind::Weights, &weights));
        }
    }
    for (name, text) in [
        ("empty source", ""),
        ("source", "a\n"),
        ("source beyond ASCII", "\u{e9}\u{1f600}\u{202e}"),
        ("control source", "\u{0}\u{1b}"),
    ] {
        add(name, Id::of(Kind::Source, &text.to_owned()));
    }
    add("empty manifest", Id::of(Kind::Manifest, &Manifest { files: vec![] }));
    let file = |bytes| ManifestFile { name: "d".into(), blob: id(3), bytes };
    for bytes in [0, 1 << 40] {
        add(&format!("manifest of {bytes} bytes"), Id::of(Kind::Manifest, &Manifest { files: vec![file(bytes)] }));
    }
    add("manifest of two files", Id::of(Kind::Manifest, &Manifest { files: vec![file(1), file(2)] }));
    let whats = [
        What::Status,
        What::Trace,
        What::Series { measure: "loss".into() },
        What::Weights { name: "w".into(), element: 7 },
        What::Claim { index: 2 },
    ];
    let policy = Tolerance { absolute: 1e-5, relative: 0.01 };
    let places = whats.into_iter().map(|what| Place { arm: Some("a".into()), seed: Some(1), what, step: Some(9) });
    let apart = places.map(|place| Verdict::Diverged { place, left_bits: "0".into(), right_bits: "1".into() });
    let others = [
        Verdict::Identical,
        Verdict::WithinTolerance { policy, worst_relative: 0.0, place: None },
        Verdict::Inconclusive { reason: "lost".into() },
        Verdict::NotComparable { reason: "other".into() },
    ];
    for (number, verdict) in apart.chain(others).enumerate() {
        add(
            &format!("verdict {number}"),
            Id::of(Kind::Verdict, &Comparison { old: id(1), new: id(2), verdict, left_out: vec![] }),
        );
    }
    let run = fixture::put_run(&fixture.store, 1);
    add("run without source and files", Id::of(Kind::Run, &Run { source: None, files: vec![], ..run.clone() }));
    add("run before all time", Id::of(Kind::Run, &Run { started_ms: 0, finished_ms: 0, ..run }));
    let outcome = Outcome { input: id(1), cells: vec![], claims: vec![] };
    add("result without cells", Id::of(Kind::Result, &outcome));
    for (name, left) in [("claim", 0.5), ("claim of NaN", f64::from_bits(0xfff8_0000_0000_0007)), ("claim of -0", -0.0)]
    {
        let claims = vec![ClaimVerdict { holds: false, left, right: 1.0 }];
        add(name, Id::of(Kind::Result, &Outcome { claims, ..outcome.clone() }));
    }
    for key in ["tag", "untag", "note"] {
        let note = Note { about: id(4), key: key.into(), text: "paper".into(), at_ms: 1 };
        add(key, Id::of(Kind::Note, &note));
    }
    let imported = Imported {
        origin: "mlflow".into(),
        name: "aa".into(),
        experiment: "e".into(),
        status: "ok".into(),
        settings: vec![Setting { name: "lr".into(), value: "0.1".into() }],
        series: vec![CellSeries { measure: "loss".into(), id: id(5) }],
        started_ms: 1,
        finished_ms: 2,
    };
    add("imported", Id::of(Kind::Imported, &imported));
    let cell = CellInput { arm: id(1), seed: u64::from(u32::MAX), manifest: id(2), numerics: id(3) };
    add("cell", cell.key());
    found
}

#[test]
fn the_ids_of_edges_are_fixed() {
    let edges = edges();
    let ids: std::collections::BTreeSet<Id> = edges.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids.len(), edges.len(), "what differs has another id");
    assert!(edges.len() + GOLDEN.len() > 50, "{}", edges.len());
    let lines: Vec<String> = edges.iter().map(|(name, id)| format!("{id} {name}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
