//! A folder of its own with a ledger, in which commands of the binary run.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

/// An experiment of one arm under two seeds that takes no time.
pub const SMALL: &str = "edition 2026
experiment small
dim d = 4
world { truth: [d] ~ normal }
tasks linear { example { x: [d] ~ normal; y: [] = x @ truth } }
model line(x: [d]) -> [] { param w: [d] = 0; x @ w }
train {
  tasks = fresh(linear, 3); split = { support: 4, query: 4 }; loss = half_squared
  adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 20
}
measure gap = sum((w - truth) ^ 2) every 5
sweep seed in 0..2
";

/// What `verify` may find after a failure: a torn tail, a pack that no log names.
pub const HARMLESS: i32 = 16 | 32;

/// A folder of its own with a ledger, in which commands run.
pub struct Desk {
    dir: TempDir,
}

impl Desk {
    /// A new one.
    pub fn new() -> Desk {
        Desk { dir: TempDir::new().expect("a temporary folder") }
    }

    /// One with [`SMALL`] in `small.meta` and a run of it, and that run.
    pub fn with_run() -> (Desk, String) {
        let desk = Desk::new();
        desk.write("small.meta", SMALL);
        let report = desk.json(&["run", "small.meta", "--json"]);
        let run = report["run"].as_str().expect("a run").to_owned();
        (desk, run)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in it, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder in the temporary one");
        std::fs::write(&path, content).expect("a file in the temporary folder");
        path
    }

    /// The runs that its ledger lists, sorted.
    pub fn runs(&self) -> Vec<String> {
        let rows = self.json(&["log", "--json"]);
        let run = |row: &Json| row["run"].as_str().expect("a run").to_owned();
        let mut runs: Vec<String> = rows.as_array().expect("rows").iter().map(run).collect();
        runs.sort();
        runs
    }

    /// The exit code of `verify`.
    pub fn verify(&self) -> i32 {
        code(&self.run(&["verify"]))
    }

    /// A command that runs in it, with its ledger.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env("METADSL_LEDGER", self.path("ledger")).env("NO_COLOR", "1");
        command
    }

    /// The command line in it, run by strace under these options.
    pub fn traced(&self, options: &[&str], args: &[&str]) -> Command {
        let mut command = self.command("strace");
        command.arg("-f").args(options).arg(env!("CARGO_BIN_EXE_metadsl")).args(args);
        command
    }

    /// The command line in it, of which the n-th call of a system call goes wrong so.
    pub fn struck(&self, call: &str, fault: &str, when: usize, args: &[&str]) -> Output {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{fault}:when={when}"));
        self.traced(&["-o", "/dev/null", "-e", &trace, "-e", &inject], args).output().expect("strace runs")
    }

    /// How often the command line makes a system call of these names.
    pub fn calls(&self, names: &str, args: &[&str]) -> usize {
        let log = self.path("calls");
        let options = ["-o", log.to_str().expect("UTF-8"), "-e", &format!("trace={names}")];
        let output = self.traced(&options, args).output().expect("strace runs");
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        let called = |line: &&str| names.split(',').any(|name| line.contains(&format!(" {name}(")));
        std::fs::read_to_string(log).expect("a log").lines().filter(called).count()
    }

    /// Runs the command line in it.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(&[], args)
    }

    /// The same with more in its environment.
    pub fn run_with(&self, env: &[(&str, String)], args: &[&str]) -> Output {
        let mut command = self.command(env!("CARGO_BIN_EXE_metadsl"));
        command.envs(env.iter().map(|(key, value)| (key, value))).args(args).output().expect("the binary starts")
    }

    /// The last line of what a command prints, read as JSON.
    pub fn json(&self, args: &[&str]) -> Json {
        let output = self.run(args);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        serde_json::from_str(text.lines().last().unwrap_or_default())
            .unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}\n{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The exit code.
pub fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

/// What it printed.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What it printed on the error stream.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Whether strace can trace here; says so where it cannot.
#[allow(clippy::print_stdout, reason = "a test says what it skips")]
pub fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: strace cannot trace here");
    }
    can
}

/// Whether all points are asked for where a sample is the rule.
#[allow(clippy::disallowed_methods, reason = "a test asks for more by the environment")]
pub fn all_points() -> bool {
    std::env::var("METADSL_ALL_KILL_POINTS").is_ok()
}

/// Copies a folder, which may be in use: what is not there any more is left out. The order is as bad as can be, packs before
/// the logs that name them.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let mut entries: Vec<_> =
        std::fs::read_dir(from).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort_by_key(|path| (path.ends_with("heads"), path.ends_with("log")));
    for entry in entries {
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else if let Ok(bytes) = std::fs::read(&entry) {
            std::fs::write(target, bytes).expect("a copy");
        }
    }
}
