//! `metadsl plan`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Plan as Options;
use super::cost::cost;
use super::diff::change_rows;
use super::failure::Failure;
use super::load::load;
use super::table::columns;
use crate::diag::Sink;
use crate::hash::{Canonical, Id, Kind, to_json};
use crate::lang::{self, Parameter};
use crate::plan::lower::{self, AdaptPrograms, Program, Programs, TaskPrograms, TrainPrograms};
use crate::plan::{Arm, Plan, print};
use crate::report::plan_difference;
use crate::syntax;
use crate::train::{self, DataSets};

/// Shows what an experiment will do.
pub fn plan(options: &Options) -> Result<ExitCode, Failure> {
    if options.help_params {
        return help_params(options);
    }
    let (experiment, _) = load(&options.file, &options.overrides)?.or_report()?;
    if let Some(other) = &options.diff {
        let (other, _) = load(other, &options.overrides)?.or_report()?;
        return diff(&experiment.plan, &other.plan, options.json);
    }
    let mut plan = experiment.plan;
    let id = Id::of(Kind::Plan, &plan);
    if let Some(name) = &options.arm {
        let known: Vec<String> = plan.arms.iter().map(|a| a.name.clone()).collect();
        plan.arms.retain(|a| a.name == *name);
        if plan.arms.is_empty() {
            return Err(Failure::Usage(format!("no arm is called `{name}`; the arms are {}", known.join(", "))));
        }
    }
    let mut out = anstream::stdout();
    if options.json {
        writeln!(out, "{}", json!({ "plan": id.to_string(), "content": to_json(&plan.to_value()) }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match (&options.arm, plan.arms.as_slice()) {
        (Some(_), [arm]) => print::arm(arm),
        _ => print::plan(&plan),
    };
    write!(out, "{text}")?;
    if options.programs {
        write!(out, "{}", programs_text(&plan, &experiment.sets)?)?;
    }
    if options.cost {
        for phase in plan.arms.iter().flat_map(Arm::phases) {
            let programs = lowered(&phase, first_seed(&plan), &experiment.sets)?;
            write!(out, "{}", cost(&phase, &programs, &experiment.sets, options.memory)?)?;
        }
    }
    writeln!(out, "\nplan {id}")?;
    Ok(ExitCode::SUCCESS)
}

/// What sets the plan of another experiment apart from this one.
fn diff(plan: &Plan, other: &Plan, json: bool) -> Result<ExitCode, Failure> {
    let mut out = anstream::stdout();
    let changes = plan_difference(plan, other);
    if json {
        let rows = changes.iter().map(|c| json!({ "path": c.path, "left": c.left, "right": c.right }));
        writeln!(out, "{}", Value::from_iter(rows))?;
    } else if changes.is_empty() {
        writeln!(out, "the plans are the same: {}", Id::of(Kind::Plan, plan))?;
    } else {
        write!(out, "{}", change_rows(&changes))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the file lets an override replace.
fn help_params(options: &Options) -> Result<ExitCode, Failure> {
    let loaded = load(&options.file, &options.overrides)?;
    loaded.print_diagnostics()?;
    let found = lang::parameters(&syntax::parse(&loaded.source, &mut Sink::new()), &loaded.source);
    let mut out = anstream::stdout();
    if options.json {
        let rows =
            found.iter().map(|p| json!({ "path": p.path, "value": p.value, "written": p.written, "type": p.ty }));
        writeln!(out, "{}", Value::from_iter(rows))?;
    } else {
        let value =
            |p: &Parameter| if p.written || p.value == "-" { p.value.clone() } else { format!("({})", p.value) };
        let rows: Vec<Vec<String>> = found.iter().map(|p| vec![p.path.clone(), value(p), p.ty.clone()]).collect();
        write!(out, "{}", columns(&rows))?;
    }
    Ok(if loaded.has_errors() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The tensor programs of every arm, under the first seed.
pub fn programs_text(plan: &Plan, sets: &DataSets) -> Result<String, Failure> {
    let mut text = String::new();
    for arm in &plan.arms {
        for phase in arm.phases() {
            text.push_str(&arm_programs(&phase, first_seed(plan), sets)?);
        }
    }
    Ok(text)
}

/// The seed under which data is divided among clients for what is shown.
fn first_seed(plan: &Plan) -> u64 {
    plan.seeds.first().copied().unwrap_or(0)
}

fn lowered(arm: &Arm, seed: u64, sets: &DataSets) -> Result<Programs, Failure> {
    let sizes = train::client_sizes(arm, seed, sets)?;
    Ok(lower::lower(arm, &sizes).map_err(train::TrainError::from)?)
}

fn arm_programs(arm: &Arm, seed: u64, sets: &DataSets) -> Result<String, Failure> {
    let programs = lowered(arm, seed, sets)?;
    let mut text = format!("\nprograms of arm {}\n", arm.name);
    for (name, program) in named(arm, &programs) {
        text.push_str(&format!("\n{name}\n{}", program.function));
    }
    Ok(text)
}

/// Every program with the place it has in the run.
fn named<'a>(arm: &'a Arm, programs: &'a Programs) -> Vec<(String, &'a Program)> {
    let mut all = vec![("world".to_owned(), &programs.world), ("init".to_owned(), &programs.init)];
    tasks("train", &programs.tasks, &mut all);
    match &programs.train {
        TrainPrograms::Step(step) => all.push(("train.step".into(), step)),
        TrainPrograms::Local { adapt, reduce } => {
            adapts("train", adapt, &mut all);
            all.push(("train.reduce".into(), reduce));
        }
    }
    for (evaluation, programs) in arm.evaluations.iter().zip(&programs.evaluations) {
        let scope = format!("evaluate.{}", evaluation.name);
        tasks(&scope, &programs.tasks, &mut all);
        adapts(&scope, &programs.adapt, &mut all);
    }
    for (measure, program) in arm.measures.iter().zip(&programs.measures) {
        all.extend(program.as_ref().map(|p| (format!("measure.{}", measure.name), p)));
    }
    // A program without outputs computes nothing and is not shown.
    all.retain(|(_, p)| !p.function.outputs.is_empty());
    all
}

fn tasks<'a>(scope: &str, programs: &'a TaskPrograms, all: &mut Vec<(String, &'a Program)>) {
    all.extend(programs.strata.iter().enumerate().map(|(i, p)| (format!("{scope}.tasks.{i}"), p)));
    all.extend(programs.visit.iter().map(|p| (format!("{scope}.visit"), p)));
}

fn adapts<'a>(scope: &str, programs: &'a AdaptPrograms, all: &mut Vec<(String, &'a Program)>) {
    if !programs.blocks.is_empty() {
        all.push((format!("{scope}.spread"), &programs.spread));
    }
    all.extend(programs.blocks.iter().enumerate().map(|(i, p)| (format!("{scope}.adapt.{i}"), p)));
}
