//! Reports as a reader meets them: the page in a browser, figures, tables, checklists, and records that wish readers ill.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

#[path = "common/desk.rs"]
mod desk;

use std::path::Path;
use std::process::Command;

use desk::{Desk, code, stderr, stdout};
use metadsl::ledger::Store;
use metadsl::report::{self, Record};
use tempfile::TempDir;

/// Two arms, of which one diverges; claims with words and references.
const CITED: &str = "//! A line is found.\n//! A. Uthor: Lines, 2026.
edition 2026
experiment lines
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
  adapt = none
  outer = mean
  update = sgd(rate: 0.1)
  steps = 40
}
arm slow {}
arm wild { train.update.rate = 1000 }
measure gap = sum((w - truth) ^ 2) every 5
sweep seed in 0..3
/// 1a: the gap closes
/// reference: 0.02 (NumPy)
expect median(slow.gap[last] / slow.gap[0]) <= 0.5
expect max(slow.gap[last]) <= 1e-9
";

fn recorded() -> (Desk, String) {
    let desk = Desk::new();
    let file = desk.write("sub/lines.meta", CITED);
    let report = desk.json(&["run", file.to_str().expect("UTF-8"), "--json"]);
    let run = report["run"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned();
    (desk, run)
}

fn record(desk: &Desk, run: &str) -> Record {
    let store = Store::open(desk.path("ledger")).expect("the run made it");
    let id = store.resolve(run).expect("the run is listed");
    Record::read(&store, id).expect("it is whole")
}

#[test]
fn the_page_renders_in_a_browser_without_a_console_error() {
    let (desk, run) = recorded();
    let output = desk.run(&["report", &run, "-o", "page.html"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = std::fs::read_to_string(desk.path("page.html")).unwrap();
    for wanted in ["1 of 2 claims hold", "1a: the gap closes", "reference: 0.02 (NumPy)", "A. Uthor", "metadsl replay"]
    {
        assert!(text.contains(wanted), "{wanted}");
    }
    assert!(!text.contains("http://") || text.matches("http://").count() == text.matches("http://www.w3.org/").count());
    assert!(!text.contains("https://") && !text.contains("<script") && !text.contains(" src="));

    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()))
    else {
        eprintln!("skipped the browser: there is no chromium on the path");
        return;
    };
    let profile = TempDir::new().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", desk.path("page.html").display()))
        .output()
        .unwrap();
    let (dom, log) = (stdout(&output), stderr(&output));
    let console: Vec<&str> = log.lines().filter(|l| l.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:#?}");
    // What the browser made of the text: both curves, their bands and labels, and the end of the page.
    assert_eq!(dom.matches("<polyline class=\"line\"").count(), 2, "{dom}");
    assert!(dom.contains("class=\"label s0\"") && dom.contains("</main>"), "{dom}");
    assert_eq!(dom.matches("<svg ").count(), 1);
}

#[test]
fn several_runs_are_compared() {
    let (desk, first) = recorded();
    let file = desk.path("sub/lines.meta");
    let second = desk.json(&["run", file.to_str().unwrap(), "--json", "--set", "train.steps=20"]);
    let second = second["run"].as_str().unwrap();
    let page = report::page(&[record(&desk, &first), record(&desk, second)]);
    assert!(page.contains("2 runs compared") && page.contains(&format!("slow {}", &first[..6])));
    assert_eq!(page.matches("<svg ").count(), 3);
    let output = desk.run(&["report", &first, second, "--figures", "figures"]);
    assert!(stdout(&output).contains("compared.gap.svg"), "{}", stdout(&output));
    // Without a hash: the last run of the experiment alone.
    let answer = desk.json(&["report", "--figures", "figures", "--json"]);
    assert_eq!(answer["runs"], serde_json::json!([second]));
    assert!(Path::new(&desk.path("figures/lines.gap.svg")).is_file());
}

#[test]
fn the_table_names_claim_file_figure_reference_and_run() {
    let (desk, run) = recorded();
    assert_eq!(code(&desk.run(&["report", "--table", "README.md"])), 0);
    let table = std::fs::read_to_string(desk.path("README.md")).unwrap();
    let row = table.lines().nth(2).unwrap();
    for wanted in
        ["A. Uthor: Lines, 2026.", "1a: the gap closes", "(sub/lines.meta)", "yes", "0.02 (NumPy)", &run[..12]]
    {
        assert!(row.contains(wanted), "{wanted} in {row}");
    }
    assert!(table.lines().nth(3).unwrap().contains("**no**"));
    // A file without the marks is left alone.
    let output = desk.run(&["report", "--table", "README.md"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("results: begin"));
    desk.write("README.md", "# T\n<!-- results: begin -->\n<!-- results: end -->\n");
    assert_eq!(code(&desk.run(&["report", "--table", "README.md"])), 0);
    assert!(std::fs::read_to_string(desk.path("README.md")).unwrap().contains(row));
}

#[test]
fn the_checklist_states_what_the_record_knows() {
    let (desk, run) = recorded();
    let text = stdout(&desk.run(&["report", &run, "--checklist"]));
    for wanted in [
        "3 seeds: 0, 1, 2",
        "3 of 6 cells diverged",
        "Arm `wild`: train for 40 steps in f32;",
        "update: sgd, rate 1e3",
        "all data are drawn from the laws",
        "1 of 2 stated claims hold",
        "no replay of this result yet",
    ] {
        assert!(text.contains(wanted), "`{wanted}` in\n{text}");
    }
    assert_eq!(code(&desk.run(&["replay", &run])), 0);
    assert!(stdout(&desk.run(&["report", &run, "--checklist"])).contains("1 replay: 1 x identical"));
}

#[test]
fn a_record_cannot_write_into_the_page_or_steer_the_terminal() {
    let (desk, run) = recorded();
    let mut record = record(&desk, &run);
    let hostile = "</title><script>alert(1)</script>\u{1b}]0;x\u{7}\u{202e}\"onload='x'|`";
    record.run.experiment = hostile.into();
    record.env.cpu = hostile.into();
    record.source = record.source.map(|s| format!("//! {hostile}\n{s}"));
    for arm in &mut record.plan.arms {
        arm.name = hostile.into();
        for measure in &mut arm.measures {
            measure.name = hostile.into();
        }
    }
    for cell in &mut record.cells {
        cell.arm = hostile.into();
        for (measure, _) in &mut cell.series {
            *measure = hostile.into();
        }
    }
    let records = [record];
    let mut texts = vec![report::page(&records), report::table(&[report::Located { record: &records[0], file: None }])];
    texts.extend(report::figures(&records).iter().map(report::svg_file));
    for text in texts {
        for bad in ["<script", "\u{1b}", "\u{7}", "\u{202e}", "\"onload"] {
            // A quote means something within a tag only, and Markdown has none.
            assert!(!text.contains(bad) || bad == "\"onload" && text.starts_with("| paper"), "{bad:?} in {text}");
        }
    }
    for figure in report::figures(&records) {
        assert!(!figure.name.contains(['/', '<', '\u{1b}']), "{}", figure.name);
    }
}
