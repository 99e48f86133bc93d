//! Asking a ledger: queries, columns, tags and notes, mistakes in them, and the index that may be lost.

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, code, stderr, stdout};

const SMALL: &str = "edition 2026
experiment small
dim d = 4
world { truth: [d] ~ normal }
tasks linear {
  example {
    x: [d] ~ normal
    y: [] = x @ truth
  }
}
model line(x: [d]) -> [] {
  param w: [d] = 0
  x @ w
}
train {
  tasks = fresh(linear, 3)
  split = { support: 4, query: 4 }
  loss = half_squared
  adapt = gradient(w, rate: 0.01, steps: 1)
  outer = mean
  update = sgd(rate: 0.1)
  steps = 20
}
arm slow {}
arm fast { train.update.rate = 0.2 }
measure gap = sum((w - truth) ^ 2) every 5
sweep seed in 0..2
expect median(fast.gap[last]) <= 1e-9
";

/// Three runs: of 10 and 20 steps, and one that diverges.
fn three_runs() -> (Desk, Vec<String>) {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let sets = ["train.steps=10", "train.steps=20", "train.update.rate=1e6"];
    let runs = sets.map(|set| {
        let report = desk.json(&["run", file.to_str().expect("UTF-8"), "--json", "--set", set]);
        report["run"].as_str().expect("a run").to_owned()
    });
    (desk, runs.to_vec())
}

/// The runs that answer a query, by number.
fn answers(desk: &Desk, runs: &[String], query: &str) -> Vec<usize> {
    let rows = desk.json(&["log", query, "--json"]);
    let place = |row: &serde_json::Value| runs.iter().position(|r| row["run"] == r.as_str()).expect("a known run");
    rows.as_array().expect("rows").iter().map(place).collect()
}

#[test]
fn queries_choose_order_and_limit_runs() {
    let (desk, runs) = three_runs();
    for (query, wanted) in [
        ("", vec![0, 1, 2]),
        ("status = ok", vec![0, 1]),
        ("status != ok", vec![2]),
        ("not (status = ok) or plan.train.steps = 10", vec![0, 2]),
        ("plan.train.steps < 15 and status = ok", vec![0]),
        ("plan.train.update.rate = 0.1", vec![0, 1]),
        // An arm of its own kind satisfies it.
        ("plan.train.update.rate >= 0.2 and status = ok", vec![0, 1]),
        ("plan.train.adapt.rate = 0.01", vec![0, 1, 2]),
        ("last(slow.gap) < 1e3 order by last(slow.gap) limit 1", vec![1]),
        ("order by last(slow.gap) desc limit 2", vec![0, 1]),
        ("order by plan.train.steps desc limit 1", vec![1]),
        ("experiment ~ mal and held = 0", vec![0, 1, 2]),
        ("experiment = other", vec![]),
        ("seconds < 1e-9", vec![]),
    ] {
        assert_eq!(answers(&desk, &runs, query), wanted, "{query}");
    }
    assert_eq!(answers(&desk, &runs, &format!("run = {}", &runs[1][..8])), [1]);
}

#[test]
fn columns_show_any_field_and_courses() {
    let (desk, runs) = three_runs();
    let output =
        desk.run(&["log", "status = ok", "--columns", "run,plan.train.steps,last(gap),course(slow.gap),failed"]);
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}{}", stderr(&output));
    assert!(lines[0].starts_with("run") && lines[0].contains("last(gap)"));
    assert!(lines[1].starts_with(&runs[0][..12]) && lines[1].contains('█') && lines[1].ends_with('1'), "{text}");
    let row = &desk.json(&["log", "--columns", "arm,last(slow.gap)", "--json", "limit", "1"])[0]["columns"];
    assert_eq!(row["arm"], serde_json::json!(["slow", "fast"]));
    assert!(row["last(slow.gap)"].is_number());
    let fields = stdout(&desk.run(&["log", "--fields"]));
    for wanted in ["finished", "last(fast.gap)", "plan.train.adapt.0.solver.sgd.rate"] {
        assert!(fields.contains(wanted), "`{wanted}` in\n{fields}");
    }
}

#[test]
fn a_measure_at_points_of_its_evaluation_is_asked_for_by_them() {
    let desk = Desk::new();
    let evaluation = "evaluate tuned { tasks = fresh(linear, 3); split = { support: 4, query: 4 }
        adapt = gradient(w, rate: 0.1, steps: 4); after = [0, 4]; query = [own, others] }
      measure mse = mean(squared) on tuned\n";
    let file = desk.write("points.meta", [SMALL, evaluation].concat());
    let run = desk.json(&["run", file.to_str().expect("UTF-8"), "--json"]);
    let found = |query: &str| {
        let rows = desk.json(&["log", query, "--json"]);
        rows.as_array().expect("rows").iter().any(|row| row["run"] == run["run"])
    };
    let columns = "last(slow.mse[after:0,query:own]),last(slow.mse[after: 4, query: own])";
    let row = &desk.json(&["log", "--columns", columns, "--json"])[0]["columns"];
    let at = |steps: u64| row[format!("last(slow.mse[after: {steps}, query: own])")].as_f64().expect("a number");
    assert!(at(0) > at(4), "{row}");
    let between = (at(0) + at(4)) / 2.0;
    assert!(found(&format!("last(slow.mse[after: 0, query: own]) > {between}")));
    assert!(!found(&format!("last(slow.mse[query: own, after: 4]) > {between}")));
    assert!(found("last(mse[after: 4]) < 1e9") && found("last(mse) < 1e9"));
    assert_eq!(code(&desk.run(&["log", "last(mse[after: 3]) < 1"])), 2);
}

#[test]
fn mistakes_in_a_query_are_shown_where_they_are() {
    let (desk, _) = three_runs();
    let mut shown = String::new();
    for query in [
        "status == ok",
        "staus = ok",
        "last(gpa) < 1",
        "lsat(gap) < 1",
        "gap < 1",
        "plan.train.stepz = 1",
        "seconds < soon",
        "status = ok order last(gap)",
        "status = ok and",
    ] {
        let output = desk.run(&["log", query]);
        assert_eq!(code(&output), 2, "{query}: {}", stdout(&output));
        shown.push_str(&format!("$ metadsl log '{query}'\n{}\n", stderr(&output)));
    }
    let output = desk.run(&["log", "--columns", "run,last(gpa),=="]);
    assert_eq!(code(&output), 2);
    shown.push_str(&stderr(&output));
    insta::assert_snapshot!("query_mistakes", shown);
}

#[test]
fn tags_and_notes_are_outside_every_hash() {
    let (desk, runs) = three_runs();
    let run = runs[1].as_str();
    assert_eq!(code(&desk.run(&["tag", run, "paper"])), 0);
    assert_eq!(code(&desk.run(&["tag", run, "paper"])), 0);
    assert_eq!(code(&desk.run(&["note", run, "figure\u{1b}[2J 3"])), 0);
    assert_eq!(answers(&desk, &runs, "tag = paper"), [1]);
    assert_eq!(answers(&desk, &runs, "not tag = paper"), [0, 2]);
    assert!(stdout(&desk.run(&["log"])).contains("paper"));
    let shown = stdout(&desk.run(&["show", run]));
    assert!(shown.contains("tags       paper") && shown.contains("note       figure\u{fffd}[2J 3"), "{shown}");
    assert!(!shown.contains('\u{1b}'));
    assert_eq!(desk.json(&["tag", run, "paper", "--remove", "--json"])["tag"], "paper");
    assert!(answers(&desk, &runs, "tag = paper").is_empty());
    let output = desk.run(&["tag", run, "paper", "--remove"]);
    assert!(code(&output) == 2 && stderr(&output).contains("no tag `paper`"));
    assert_eq!(code(&desk.run(&["tag", run, "two words"])), 2);
    assert_eq!(code(&desk.run(&["replay", run])), 0);
    assert_eq!(code(&desk.run(&["verify"])), 0);
}

#[test]
fn the_index_may_be_lost_or_damaged_at_any_time() {
    let (desk, runs) = three_runs();
    let index = desk.path("ledger/index/runs");
    let before = stdout(&desk.run(&["log", "order by last(slow.gap)"]));
    let bytes = std::fs::read(&index).expect("the index was written");
    for content in [None, Some(vec![]), Some(vec![7; 1000]), Some(bytes[..bytes.len() / 2].to_vec())] {
        match content {
            None => std::fs::remove_file(&index).expect("it is there"),
            Some(content) => std::fs::write(&index, content).expect("it can be written"),
        }
        assert_eq!(stdout(&desk.run(&["log", "order by last(slow.gap)"])), before);
        assert_eq!(std::fs::read(&index).expect("it is written anew"), bytes);
    }
    assert_eq!(answers(&desk, &runs, "").len(), 3);
}

#[test]
fn diff_names_leaves_and_the_first_differing_step() {
    let (desk, runs) = three_runs();
    let text = stdout(&desk.run(&["diff", &runs[0], &runs[1]]));
    for wanted in ["arms.slow.train.steps", "10  ->  20", "numerics and machine are the same"] {
        assert!(text.contains(wanted), "`{wanted}` in\n{text}");
    }
    let found = desk.json(&["diff", &runs[1], &runs[2], "--json"]);
    let paths: Vec<&str> =
        found["plan"].as_array().expect("a list").iter().filter_map(|c| c["path"].as_str()).collect();
    // The arm `fast` has a rate of its own, which an override of the base leaves alone.
    assert_eq!(paths, ["arms.slow.train.update.Sgd.rate"], "{found}");
    // Both begin alike; the first measurement after a step tells them apart.
    assert_eq!(found["series_in_common"], 4);
    assert_eq!(found["series"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["series"][0]["step"], 5);
    let same = stdout(&desk.run(&["diff", &runs[1], &runs[1]]));
    assert!(
        same.contains("the plans are the same") && same.contains("all 4 series in common have the same bits"),
        "{same}"
    );
}

#[test]
fn exported_numbers_read_back_as_they_are() {
    let (desk, runs) = three_runs();
    let shown = desk.json(&["show", &runs[0], "--json"]);
    let text = stdout(&desk.run(&["export", &runs[0]]));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut count = 0;
    for row in reader.records() {
        let row = row.expect("a row");
        let cell = shown["cells"]
            .as_array()
            .expect("cells")
            .iter()
            .find(|c| c["arm"] == row[2] && c["seed"].as_u64() == row[3].parse().ok());
        let series = &cell.expect("its cell")["series"][&row[4]];
        let steps = series["steps"].as_array().expect("steps");
        let at = steps.iter().position(|s| s.as_u64() == row[5].parse().ok()).expect("its step");
        let value: f64 = row[6].parse().expect("a number");
        assert_eq!(series["values"][at].as_f64().map(f64::to_bits), Some(value.to_bits()), "{row:?}");
        count += 1;
    }
    // Two arms, two seeds, steps 0, 5 and 10.
    assert_eq!(count, 12);
    assert_eq!(code(&desk.run(&["export", "--format", "jsonl", "-o", "all.jsonl"])), 0);
    let all = std::fs::read_to_string(desk.path("all.jsonl")).expect("it was written");
    let lines: Vec<serde_json::Value> = all.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(lines.len() > 32 && lines.iter().any(|l| l["run"] == runs[2].as_str()));
}

#[test]
fn an_unfinished_run_is_watched() {
    use metadsl::hash::{Bytes, Kind};
    use metadsl::ledger::{About, Input, Row, Run, Store};

    let (desk, runs) = three_runs();
    assert_eq!(code(&desk.run(&["watch"])), 2);
    let store = Store::open(desk.path("ledger")).expect("a ledger");
    let run: Run = store.get(Kind::Run, store.resolve(&runs[0]).expect("listed")).expect("whole");
    let input: Input = store.get(Kind::Input, run.input).expect("whole");
    // A new process puts what its run is made from, begins and measures.
    let writer = Store::open(desk.path("ledger")).expect("a ledger");
    let plan: metadsl::plan::Plan = store.get(Kind::Plan, input.plan).expect("whole");
    writer.put(Kind::Plan, &plan).expect("put");
    writer.put(Kind::Input, &input).expect("put");
    let (source, files, keep_weights) = (None, vec![], None);
    let about =
        About { experiment: run.experiment, input: run.input, source, files, started_ms: run.started_ms, keep_weights };
    let live = writer.begin_apart(&about).expect("begun");
    for (step, value) in [(0_u64, 2.0_f64), (5, 0.5)] {
        live.row(Row { cell: 3, measure: 0, step, bits: Bytes(value.to_le_bytes().to_vec()) });
    }
    let text = stdout(&desk.run(&["watch", "--once"]));
    assert!(text.contains("small  running") && text.contains("fast  1     gap      5 of 10  0.5000"), "{text}");
    // Left behind, it is no longer at work, and following it ends at once.
    drop(live);
    let output = desk.run(&["watch"]);
    assert!(stdout(&output).contains("fast  seed 1  step 5  gap 0.5000"), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(desk.json(&["watch", "--once", "--json"])["value"], 0.5);
}

#[test]
fn names_from_a_record_steer_no_terminal() {
    use metadsl::hash::Kind;
    use metadsl::ledger::{Imported, Note, Run, Setting, Store};

    let (desk, runs) = three_runs();
    let hostile = "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\u{202e}\r\n";
    let store = Store::open(desk.path("ledger")).expect("a ledger");
    let first: Run = store.get(Kind::Run, store.resolve(&runs[0]).expect("listed")).expect("whole");
    let run = store.seal(&Run { experiment: hostile.into(), ..first }).expect("sealed").run;
    let text = || hostile.to_owned();
    let imported = Imported {
        origin: text(),
        name: text(),
        experiment: text(),
        status: text(),
        settings: vec![Setting { name: text(), value: text() }],
        series: vec![],
        started_ms: 0,
        finished_ms: i64::MAX as u64,
    };
    let imported = store.import(&imported).expect("sealed");
    for (about, key) in [(run, "tag"), (run, "note"), (imported, "tag")] {
        store.annotate(&Note { about, key: key.into(), text: text(), at_ms: 1 }).expect("sealed");
    }
    drop(store);
    let (run, imported) = (run.to_string(), imported.to_string());
    desk.write("ledger/packs/\u{1b}[31mred", "?");
    for args in [
        &["log"][..],
        &["log", "--columns", "run,experiment,tag,origin,status"],
        &["log", "--fields"],
        &["log", "--json"],
        &["show", &run],
        &["show", &run, "--json"],
        &["show", &imported, "--series"],
        &["diff", &runs[0], &run],
        &["export", &run],
        &["export", &imported],
        &["verify"],
        &["verify", "--json"],
        &["report", &run, "--checklist"],
        &["gc"],
        &["tag", &run, "x", "--remove"],
    ] {
        let output = desk.run(args);
        let said = stdout(&output) + &stderr(&output);
        let steering = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!said.contains(steering), "{args:?}: {said:?}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}
