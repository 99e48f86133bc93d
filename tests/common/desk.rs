//! A folder of its own with a ledger, in which commands of the binary run.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A folder of its own with a ledger, in which commands run.
pub struct Desk {
    dir: TempDir,
}

impl Desk {
    /// A new one.
    pub fn new() -> Desk {
        Desk { dir: TempDir::new().expect("a temporary folder") }
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

    /// Runs the command line in it.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(&[], args)
    }

    /// The same with more in its environment.
    pub fn run_with(&self, env: &[(&str, String)], args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metadsl"));
        command.current_dir(self.dir.path()).env("METADSL_LEDGER", self.path("ledger")).env("NO_COLOR", "1");
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
