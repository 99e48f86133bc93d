//! Cells run side by side as far as they fit into memory; what comes out is the same.

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, code, stderr, stdout};

/// MAML through sixteen steps: most of what a cell holds could be computed again.
const DEEP: &str = "edition 2026
experiment deep
dim h = 64
tasks sine {
  amplitude: [] ~ uniform(0.1, 5)
  example { x: [] ~ uniform(-5, 5); y: [] = amplitude * sin(x) }
}
model mlp(x: []) -> [] {
  param a: [h] ~ normal
  param W: [h, h] ~ normal / sqrt(h)
  param b: [h] ~ normal / sqrt(h)
  tanh(tanh(x * a) @ W) @ b
}
train {
  tasks = fresh(sine, 4); split = { support: 10, query: 10 }; loss = squared
  adapt = gradient(all, rate: 0.01, steps: 16); through = exact; outer = mean; update = sgd(rate: 0.001); steps = 3
}
arm maml {}
arm once { train.adapt.steps = 1 }
measure size = sum(W ^ 2)
sweep seed in 0..2
";

/// A desk with the experiment, the result of a run of it where so much memory is free, and what was said beside.
fn run(free: &str) -> (Desk, String, String) {
    let desk = Desk::new();
    desk.write("deep.meta", DEEP);
    let output =
        desk.run_with(&[("METADSL_FREE_MEMORY", free.to_owned())], &["run", "deep.meta", "--threads", "2", "--json"]);
    let said = stderr(&output);
    assert_eq!(code(&output), 0, "{free}: {said}");
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("one object");
    (desk, report["result"].as_str().expect("a result").to_owned(), said)
}

#[test]
fn less_memory_gives_the_same_results_in_more_time() {
    let (_, wanted, said) = run("1GB");
    assert_eq!(said, "");
    let apart = |said: &str, free: &str| {
        assert!(said.starts_with("note: arm `maml` needs ") && said.lines().count() == 1, "{said}");
        let rest = format!(" and {free} MB are free: only what fits runs side by side, at times 1 in place of 2\n");
        assert!(said.ends_with(&rest), "{said}");
    };
    let (_, result, said) = run("2MB");
    apart(&said, "2.00");
    assert_eq!(result, wanted);
    let (desk, result, said) = run("1.2MB");
    let made = desk.runs().remove(0);
    assert!(
        said.starts_with("note: arm `maml` needs ")
            && said.contains(" and 1.20 MB are free: values are computed again"),
        "{said}"
    );
    assert_eq!((said.lines().count(), result), (1, wanted));
    // A replay asks what is free where it runs.
    let replayed = desk.run(&["replay", &made, "--free-memory", "2MB", "--threads", "2"]);
    assert_eq!(code(&replayed), 0, "{}", stdout(&replayed));
    apart(&stderr(&replayed), "2.00");
    // A limit of programs is kept to, and nothing waits.
    let limited = desk.run(&["replay", &made, "--free-memory", "1.2MB", "--memory", "4MB", "--threads", "2"]);
    assert_eq!((code(&limited), &*stderr(&limited)), (0, ""), "{}", stdout(&limited));
}

#[test]
fn what_cannot_fit_is_not_begun() {
    let desk = Desk::new();
    desk.write("deep.meta", DEEP);
    let refused = desk.run(&["run", "deep.meta", "--free-memory", "100kB", "--threads", "2"]);
    assert_eq!((code(&refused), &*stdout(&refused)), (4, ""));
    let said = stderr(&refused);
    assert!(said.starts_with("error: arm `maml` holds ") && said.contains("and 100 kB are free"), "{said}");
    let unfinished = desk.run(&["resume", "--list"]);
    assert_eq!(stdout(&unfinished), "no run is unfinished\n");
}
