//! Runs of other programs: MLflow's folder and sqlite file, tables; and what leaves as Parquet.

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, code, stderr, stdout};

/// A folder as MLflow 3 writes it: one experiment, a whole run, a killed one, a deleted one.
fn mlruns(desk: &Desk) -> String {
    let at = |path: &str, content: &str| desk.write(&format!("mlruns/{path}"), content);
    at("0/meta.yaml", "artifact_location: file:///x\nexperiment_id: '0'\nlifecycle_stage: active\nname: Default\n");
    at("7/meta.yaml", "experiment_id: '7'\nlifecycle_stage: active\nname: 'it''s: mine'\n");
    let meta = |id: &str, status: u8, stage: &str| {
        format!(
            "artifact_uri: file:///x\nend_time: 1795644660000\nentry_point_name: ''\nexperiment_id: '7'\nlifecycle_stage: {stage}\n\
             run_id: {id}\nrun_name: swift-\u{1b}[2J\nstart_time: 1795644658000\nstatus: {status}\ntags: []\n"
        )
    };
    at("7/aa/meta.yaml", &meta("aa", 3, "active"));
    at("7/aa/params/lr", "0.1");
    at("7/aa/params/opt/name", "adam");
    at("7/aa/metrics/val/loss", "1795644658001 1.0 0\n1795644658002 0.5 1\n1795644658003 0.25 2\n");
    at("7/aa/metrics/odd", "1795644658001 nan 0\n1795644658002 inf 1\n");
    at("7/bb/meta.yaml", &meta("bb", 5, "active"));
    at("7/bb/params/lr", "0.2");
    // The process was killed within a line, and a step lies before the first.
    at("7/bb/metrics/val/loss", "1795644658001 2.0 0\n1795644658001 1.0 -1\n17956446580");
    at("7/cc/meta.yaml", &meta("cc", 3, "deleted"));
    at("models/x", "?");
    at(".trash/dd/meta.yaml", "name: gone\n");
    desk.path("mlruns").to_str().expect("UTF-8").to_owned()
}

#[test]
fn runs_of_mlflow_are_asked_for_like_others() {
    let desk = Desk::new();
    let folder = mlruns(&desk);
    let output = desk.run(&["import", "mlflow", &folder]);
    assert_eq!(stdout(&output), "imported 2 runs from mlflow\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("line 2") && stderr(&output).contains("line 3"), "{}", stderr(&output));
    let again = desk.json(&["import", "mlflow", &folder, "--json"]);
    assert_eq!((&again["new"], again["runs"].as_array().map(Vec::len)), (&0.into(), Some(2)));

    let ask = |query: &str| desk.json(&["log", query, "--json"]).as_array().expect("rows").len();
    for (query, count) in [
        ("origin = mlflow", 2),
        ("experiment ~ mine and status = ok", 1),
        ("status = killed", 1),
        ("plan.lr < 0.15", 1),
        ("plan.opt/name = adam", 1),
        ("last(val/loss) < 0.3", 1),
        ("max(val/loss) >= 1 order by last(val/loss)", 2),
        ("seconds = 2", 2),
        ("origin = metadsl", 0),
    ] {
        assert_eq!(ask(query), count, "{query}");
    }
    let run = again["runs"][0].as_str().expect("an id").to_owned();
    let shown = desk.run(&["show", &run]);
    assert!(
        stdout(&shown).contains("setting    lr = 0.1") && stdout(&shown).contains("val/loss"),
        "{}",
        stdout(&shown)
    );
    let series = &desk.json(&["show", &run, "--json"])["series"];
    assert_eq!(series["val/loss"]["values"], serde_json::json!([1.0, 0.5, 0.25]));
    assert_eq!(code(&desk.run(&["tag", &run, "baseline"])), 0);
    assert_eq!(ask("tag = baseline"), 1);
    assert_eq!(code(&desk.run(&["verify"])), 0);
    // There is no plan, so nothing that needs one.
    for command in ["replay", "bundle", "diff", "report"] {
        let args = match command {
            "bundle" => vec![command, &run, "-o", "x.bundle"],
            "diff" => vec![command, &run, &run],
            _ => vec![command, &run],
        };
        let output = desk.run(&args);
        assert_eq!(code(&output), 4, "{command}");
        assert!(stderr(&output).contains("was imported from another program"), "{command}: {}", stderr(&output));
    }
    // Buried, it is gone from every listing, and its pack is garbage.
    assert_eq!(code(&desk.run(&["gc", "--bury", &run, "--apply"])), 0);
    assert_eq!((ask("origin = mlflow"), code(&desk.run(&["verify"]))), (1, 0));
}

#[cfg(feature = "sqlite")]
#[test]
fn mlflows_sqlite_file_gives_the_same() {
    let desk = Desk::new();
    let path = desk.path("mlflow.db");
    let db = rusqlite::Connection::open(&path).expect("a file");
    db.execute_batch(
        "create table experiments (experiment_id integer primary key, name varchar);
         create table runs (run_uuid varchar primary key, name varchar, status varchar, start_time bigint, end_time bigint,
                            lifecycle_stage varchar, experiment_id integer);
         create table params (key varchar, value varchar, run_uuid varchar);
         create table metrics (key varchar, value float, timestamp bigint, run_uuid varchar, step bigint, is_nan boolean);
         insert into experiments values (1, 'mine');
         insert into runs values ('aa', 'swift', 'FINISHED', 1795644658000, 1795644660000, 'active', 1),
                                 ('bb', 'slow', 'RUNNING', 1795644658000, null, 'active', 1),
                                 ('cc', 'gone', 'FINISHED', 1, 2, 'deleted', 1);
         insert into params values ('lr', '0.1', 'aa');
         insert into metrics values ('loss', 0.5, 2, 'aa', 1, 0), ('loss', 1.0, 1, 'aa', 0, 0), ('loss', 0, 3, 'aa', 2, 1),
                                    ('loss', 7.0, 1, 'bb', -1, 0);",
    )
    .expect("tables");
    let output = desk.run(&["import", "mlflow", path.to_str().expect("UTF-8")]);
    assert_eq!(stdout(&output), "imported 2 runs from mlflow\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("at step -1"), "{}", stderr(&output));
    let rows = desk.json(&["log", "status = ok and plan.lr = 0.1 and first(loss) = 1", "--json"]);
    let run = rows[0]["run"].as_str().expect("a run");
    let shown = desk.json(&["show", run, "--json"]);
    assert_eq!(shown["series"]["loss"]["values"], serde_json::json!([1.0, 0.5, "NaN"]));
    desk.write("bad.db", "not a database");
    let output = desk.run(&["import", "mlflow", desk.path("bad.db").to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
}

#[test]
fn tables_are_split_into_runs_by_columns() {
    let desk = Desk::new();
    let import = |name: &str, more: &[&str]| {
        let path = desk.path(name);
        desk.run(&[&["import", "csv", path.to_str().expect("UTF-8"), "--json"], more].concat())
    };
    desk.write("wide.csv", "model,seed,epoch,loss,acc\na,0,0,1.5,\na,0,1,1.0,0.5\nb,0,0,2,\nb,1,0,3,0.25\n");
    let report: serde_json::Value =
        serde_json::from_str(stdout(&import("wide.csv", &["--by", "model,seed"])).trim()).expect("JSON");
    assert_eq!(report["new"], 3);
    let rows = desk.json(&[
        "log",
        "origin = csv and plan.model = a",
        "--json",
        "--columns",
        "experiment,last(loss),last(acc)",
    ]);
    assert_eq!(rows[0]["columns"]["last(acc)"], 0.5, "{rows}");
    for (table, more, said) in [
        ("a,b\n1,x\n", &[][..], "`--by b` makes it a setting"),
        ("a,step\n1,x\n", &[], "`x` is no step"),
        ("a,b\n1\n", &[], "found record with 1 fields"),
        ("a\n1\n", &["--step", "epoch"], "there is no column `epoch`"),
        ("a\n1\n", &["--by", "model"], "there are `a`"),
    ] {
        desk.write("bad.csv", table);
        let output = import("bad.csv", more);
        assert_eq!(code(&output), 2, "{table}");
        assert!(stderr(&output).contains(said), "{table}: {}", stderr(&output));
    }
    // What `export` writes comes in again with the very bits.
    let exported = stdout(&desk.run(&["export"]));
    let other = Desk::new();
    let path = other.write("all.csv", &exported);
    assert_eq!(code(&other.run(&["import", "csv", path.to_str().expect("UTF-8")])), 0);
    let values = |text: &str| -> Vec<String> {
        let mut values: Vec<String> =
            text.lines().skip(1).filter_map(|l| l.rsplit(',').next()).map(str::to_owned).collect();
        values.sort();
        values
    };
    assert_eq!(values(&stdout(&other.run(&["export"]))), values(&exported));
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_keeps_every_bit() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    let desk = Desk::new();
    let folder = mlruns(&desk);
    assert_eq!(code(&desk.run(&["import", "mlflow", &folder])), 0);
    let output = desk.run(&["export", "--format", "parquet", "-o", "all.parquet"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let file = std::fs::File::open(desk.path("all.parquet")).expect("it was written");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let rows: Vec<Vec<(String, Field)>> = reader
        .get_row_iter(None)
        .expect("rows")
        .map(|row| row.expect("a row").get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect())
        .collect();
    let text = stdout(&desk.run(&["export"]));
    let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(lines) {
        let [
            (_, Field::Str(run)),
            _,
            (_, Field::Str(arm)),
            (_, Field::Null),
            _,
            (_, Field::Long(step)),
            (_, Field::Double(value)),
        ] = &row[..]
        else {
            panic!("{row:?}")
        };
        let wanted: f64 = line[6].parse().expect("a number");
        assert_eq!((run.as_str(), arm.as_str(), step.to_string().as_str()), (line[0], "mlflow", line[5]));
        assert_eq!((value.to_bits(), value.is_nan()), (wanted.to_bits(), wanted.is_nan()));
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_so() {
    let desk = Desk::new();
    let folder = mlruns(&desk);
    assert_eq!(code(&desk.run(&["import", "mlflow", &folder])), 0);
    let output = desk.run(&["export", "--format", "parquet"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--features parquet"), "{}", stderr(&output));
}
