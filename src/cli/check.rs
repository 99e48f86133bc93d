//! `metadsl check`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::Check;
use super::failure::Failure;
use super::load::load;
use crate::diag;

/// Checks an experiment and says what was found.
pub fn check(options: &Check) -> Result<ExitCode, Failure> {
    let loaded = load(&options.file, &options.overrides)?;
    let mut out = anstream::stdout();
    if options.json {
        let diagnostics = diag::to_json(&loaded.diagnostics, &loaded.text);
        writeln!(out, "{}", json!({ "file": loaded.name, "ok": !loaded.has_errors(), "diagnostics": diagnostics }))?;
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
