//! `metadsl push` and `metadsl pull`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::{Pull, Push};
use super::failure::Failure;
use super::replay::existing_ledger;
use super::run::open_ledger;
use super::sign::read_secret;
use crate::ledger::{self, Moved, Remote};
use crate::report::text::{count, json_line, visible};

/// Sends what a remote lacks.
pub fn push(options: &Push) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let secret = options.key.as_deref().map(read_secret).transpose()?;
    let remote = open(&options.remote, true)?;
    answer(&store.push(remote.as_ref(), secret.as_ref())?, "pushed", options.json)
}

/// Takes over what a remote has.
pub fn pull(options: &Pull) -> Result<ExitCode, Failure> {
    if let Some(wrong) = options.trust.iter().chain(&options.distrust).find(|key| ledger::read_key(key).is_none()) {
        let advice = "64 hexadecimal digits are wanted, as `metadsl sign --new-key` prints them";
        return Err(Failure::Usage(format!("`{wrong}` is no public key: {advice}")));
    }
    let remote = open(&options.remote, false)?;
    let store = open_ledger(&options.ledger.ledger)?;
    options.trust.iter().try_for_each(|key| store.trust(key, true))?;
    options.distrust.iter().try_for_each(|key| store.trust(key, false))?;
    answer(&store.pull(remote.as_ref())?, "pulled", options.json)
}

/// The remote that a folder or a URL names.
#[cfg(feature = "remote")]
fn open(name: &str, make: bool) -> Result<Box<dyn Remote>, Failure> {
    if !name.contains("://") {
        return Ok(Box::new(ledger::Bucket::folder(std::path::Path::new(name), make)?));
    }
    let settings = std::env::vars().filter(|(key, _)| key.starts_with("AWS_"));
    Ok(Box::new(ledger::Bucket::open(name, settings)?))
}

/// A build without remotes.
#[cfg(not(feature = "remote"))]
fn open(_: &str, _: bool) -> Result<Box<dyn Remote>, Failure> {
    Err(Failure::Usage("this build has no remotes; build it with `cargo build --release --features remote`".into()))
}

fn answer(moved: &[Moved], word: &str, as_json: bool) -> Result<ExitCode, Failure> {
    let mut out = anstream::stdout();
    let problems = moved.iter().filter(|stream| stream.problem.is_some()).count();
    if as_json {
        let row = |moved: &Moved| {
            json!({
                "stream": moved.stream, "frames": moved.frames, "files": moved.files, "bytes": moved.bytes,
                "signed": moved.signed.as_ref().map(|(key, _)| key), "problem": moved.problem,
            })
        };
        let streams: Vec<Json> = moved.iter().map(row).collect();
        writeln!(out, "{}", json_line(&json!({ "ok": problems == 0, "streams": streams })))?;
    } else {
        for Moved { stream, frames, files, bytes, signed, problem } in moved {
            let (frames, files) = (count(*frames, "frame"), count(*files, "file"));
            let by =
                signed.as_ref().map_or(String::new(), |(key, frames)| format!(", the first {frames} signed by {key}"));
            writeln!(out, "stream {stream}: {word} {frames} in {files}, {bytes} bytes{by}")?;
            if let Some(problem) = problem {
                writeln!(out, "  {}", visible(problem))?;
            }
        }
        if moved.is_empty() {
            writeln!(out, "there is no log, so nothing was {word}")?;
        }
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(4) })
}
