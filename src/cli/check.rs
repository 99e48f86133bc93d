//! `metadsl check`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Check;
use super::failure::Failure;
use super::load::{check_text, load};
use super::rewrite::{difference, replace};
use crate::diag;

/// How often a text is mended at most; every round makes the fixes of all mistakes that are seen.
const ROUNDS: usize = 20;

/// Checks an experiment and says what was found.
pub fn check(options: &Check) -> Result<ExitCode, Failure> {
    let mut loaded = load(&options.file, &options.overrides)?;
    let mut out = anstream::stdout();
    if options.fix {
        let before = loaded.source.clone();
        // A mended text can show mistakes that the first ones hid.
        for _ in 0..ROUNDS {
            let Some(mended) = diag::mend(&loaded.source, &loaded.diagnostics) else { break };
            loaded = check_text(&options.file, mended, &options.overrides)?;
        }
        if loaded.source != before {
            replace(&options.file, &loaded.source)?;
            write!(out, "{}", difference(&before, &loaded.source))?;
        }
    }
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
