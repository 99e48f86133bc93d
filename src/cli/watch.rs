//! `metadsl watch`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::args::Watch as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use super::table::columns;
use crate::hash::{Canonical, Kind, to_json};
use crate::ledger::{Input, Row, Store, Unfinished};
use crate::plan::Plan;
use crate::report::text::{number, sparkline, visible};

/// How often the journal is read.
const PAUSE: Duration = Duration::from_millis(300);

/// Follows the measurements of a run that another process is at work on.
pub fn watch(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let run = choose(&store, options)?;
    let about = store.look_at(&run.name)?;
    let input: Input = store.get(Kind::Input, about.input)?;
    let plan: Plan = store.get(Kind::Plan, input.plan)?;
    let mut out = anstream::stdout();
    if options.once {
        let rows = store.rows(&run.name)?;
        if options.json {
            print_new(&mut out, &plan, &rows, true)?;
        } else {
            let state = if run.alive { "running" } else { "interrupted" };
            writeln!(out, "{}  {}  {state}\n", run.name, visible(&about.experiment))?;
            write!(out, "{}", columns(&progress(&plan, &rows)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = 0;
    loop {
        // Asked before the rows are read: what is written last is then not missed.
        let alive = store.unfinished()?.iter().any(|r| r.name == run.name && r.alive);
        let rows = store.rows(&run.name)?;
        print_new(&mut out, &plan, rows.get(shown..).unwrap_or_default(), options.json)?;
        out.flush()?;
        shown = shown.max(rows.len());
        if !alive {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if !options.json {
        writeln!(
            out,
            "the run is at work no longer; `metadsl log` and `metadsl resume --list` tell what became of it"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The run that is meant: by a part of its name, else the only one at work, else the only unfinished one.
fn choose(store: &Store, options: &Options) -> Result<Unfinished, Failure> {
    let mut runs = store.unfinished()?;
    match &options.name {
        Some(part) => runs.retain(|run| run.name.contains(part.as_str())),
        None if runs.iter().any(|run| run.alive) => runs.retain(|run| run.alive),
        None => {}
    }
    let names = |runs: &[Unfinished]| {
        let named = runs.iter().map(|run| format!("\n  {}  {}", run.name, visible(&run.about.experiment)));
        named.collect::<String>()
    };
    match runs.len() {
        1 => Ok(runs.remove(0)),
        0 => Err(Failure::Usage("no unfinished run is there to watch; `metadsl log` lists the finished ones".into())),
        n => Err(Failure::Usage(format!("{n} runs are unfinished; name one of them:{}", names(&runs)))),
    }
}

/// The arm, the seed and the measure of a row; names that a journal cannot have are its numbers.
fn names(plan: &Plan, row: &Row) -> (String, String, String) {
    let seeds = plan.seeds.len().max(1);
    let (arm, seed) = (plan.arms.get(row.cell as usize / seeds), plan.seeds.get(row.cell as usize % seeds));
    let measure = arm.and_then(|a| a.measures.get(row.measure as usize));
    (
        arm.map_or_else(|| format!("cell {}", row.cell), |a| visible(&a.name)),
        seed.map_or_else(String::new, u64::to_string),
        measure.map_or_else(|| row.measure.to_string(), |m| visible(&m.name)),
    )
}

fn print_new(out: &mut impl Write, plan: &Plan, rows: &[Row], as_json: bool) -> Result<(), Failure> {
    for row in rows {
        let (arm, seed, measure) = names(plan, row);
        let value = row.value().unwrap_or(f64::NAN);
        if as_json {
            let seed: Json = seed.parse::<u64>().map_or(Json::Null, Json::from);
            let value = to_json(&value.to_value());
            writeln!(
                out,
                "{}",
                json!({ "arm": arm, "seed": seed, "measure": measure, "step": row.step, "value": value })
            )?;
        } else {
            writeln!(out, "{arm}  seed {seed}  step {}  {measure} {}", row.step, number(value))?;
        }
    }
    Ok(())
}

/// How far every cell has come, measure by measure.
fn progress(plan: &Plan, rows: &[Row]) -> Vec<Vec<String>> {
    let mut courses: BTreeMap<(u64, u64), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        courses.entry((row.cell, row.measure)).or_default().push(row);
    }
    let mut table = vec![["arm", "seed", "measure", "step", "value", "course"].map(str::to_owned).to_vec()];
    for course in courses.values() {
        let Some(last) = course.last() else { continue };
        let (arm, seed, measure) = names(plan, last);
        let steps = plan.arms.iter().find(|a| visible(&a.name) == arm).map_or(0, |a| a.steps());
        let values: Vec<f64> = course.iter().map(|row| row.value().unwrap_or(f64::NAN)).collect();
        table.push(vec![
            arm,
            seed,
            measure,
            format!("{} of {steps}", last.step),
            number(values.last().copied().unwrap_or(f64::NAN)),
            sparkline(&values),
        ]);
    }
    table
}
