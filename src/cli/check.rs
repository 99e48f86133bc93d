//! `metadsl check`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Check;
use super::failure::Failure;
use super::load::load;
use crate::diag;

/// Checks an experiment and says what was found.
pub fn check(options: &Check) -> Result<ExitCode, Failure> {
    let loaded = load(&options.file, &options.overrides)?;
    let mut out = anstream::stdout();
    if options.json {
        let mut parts = loaded.texts.split(&loaded.diagnostics).into_iter();
        let diagnostics = parts.next().map_or(Json::Null, |(_, text, own)| diag::to_json(&own, text));
        let imported: Vec<Json> = parts
            .filter(|(_, _, own)| !own.is_empty())
            .map(|(name, text, own)| json!({ "file": name, "diagnostics": diag::to_json(&own, text) }))
            .collect();
        let ok = !loaded.has_errors();
        writeln!(
            out,
            "{}",
            json!({ "file": loaded.name, "ok": ok, "diagnostics": diagnostics, "imported": imported })
        )?;
    } else {
        loaded.print_diagnostics()?;
        if let Some(experiment) = &loaded.experiment {
            let plan = &experiment.plan;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            writeln!(
                out,
                "{}: {}, {}, {}: nothing wrong found",
                plan.experiment,
                count(plan.arms.len(), "arm"),
                count(plan.seeds.len(), "seed"),
                count(plan.claims.len(), "claim")
            )?;
        }
    }
    Ok(if loaded.has_errors() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
