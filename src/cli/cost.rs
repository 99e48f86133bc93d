//! What the steps and measurements of an arm cost: `metadsl plan --cost`.

use std::cell::RefCell;

use super::table::columns;
use crate::catalog::Budget;
use crate::exec::ExecError;
use crate::exec::exact::{self, Need, Room};
use crate::ir::{Function, Precision};
use crate::plan::lower::{AdaptPrograms, Part, Program, Programs, TaskPrograms, TrainPrograms};
use crate::plan::{Arm, Block, TaskSource};
use crate::train::{DataSets, Footprint, footprint};

/// A program, and how often a step or a measurement runs it.
struct Work<'a> {
    name: String,
    runs: u64,
    program: &'a Program,
}

/// The cost of an arm: its parameters, and every program of a step and of each evaluation with its floating-point operations,
/// the bytes of all values it makes and the most that the exact executor has in use at once, on one thread; then what a run of it holds at
/// once. Under a limit of `memory` the operations that it makes again count, too.
pub fn cost(arm: &Arm, programs: &Programs, sets: &DataSets, memory: Option<u64>) -> Result<String, ExecError> {
    let needs = Needs { precision: arm.train.precision, memory, known: RefCell::default() };
    let mut out = format!("\ncost of arm {}\n  {}\n", arm.name, parameters(arm, needs.precision.bytes()));
    out.push_str(&table("one step", &step(arm, programs), &needs)?);
    for (evaluation, programs) in arm.evaluations.iter().zip(&programs.evaluations) {
        let mut work = making(&evaluation.tasks, &programs.tasks, evaluation.episodes);
        work.extend(adapting(&evaluation.adapt, &programs.adapt, programs.tasks.support, evaluation.episodes));
        out.push_str(&table(&format!("one measurement on {}", evaluation.name), &work, &needs)?);
    }
    let held = footprint(arm, programs, sets, &|function| needs.of(function))?;
    let Footprint { data, parameters, values, programs } = held;
    let [all, data, parameters, values, programs] = [held.total(), data, parameters, values, programs].map(bytes);
    out.push_str(&format!(
        "  held at once under one seed: {all}; data {data}, parameters and what updates remember {parameters}, tasks and results \
         {values}, room of programs {programs}\n"
    ));
    Ok(out)
}

/// What programs need on one thread, each planned once.
struct Needs<'p> {
    precision: Precision,
    memory: Option<u64>,
    known: RefCell<Vec<(&'p Function, Need)>>,
}

impl<'p> Needs<'p> {
    fn of(&self, function: &Function) -> Result<Need, ExecError> {
        let known = self.known.borrow().iter().find(|(other, _)| std::ptr::eq(*other, function)).map(|(_, need)| *need);
        known.map_or_else(|| self.plan(function), Ok)
    }

    fn plan(&self, function: &Function) -> Result<Need, ExecError> {
        exact::need(function, self.precision, Room { threads: 1, bytes: self.memory })
    }

    fn keep(&self, function: &'p Function) -> Result<Need, ExecError> {
        let need = self.of(function)?;
        self.known.borrow_mut().push((function, need));
        Ok(need)
    }
}

/// `160 parameters, 640 B: B 60, w 100`
fn parameters(arm: &Arm, width: u64) -> String {
    let size = |dims: &[usize]| dims.iter().map(|&d| d as u64).product::<u64>();
    let each: Vec<(&str, u64)> = arm.model.params.iter().map(|p| (p.name.as_str(), size(&p.dims))).collect();
    let all: u64 = each.iter().map(|(_, n)| n).sum();
    let parts: Vec<String> = each.iter().map(|(name, n)| format!("{name} {n}")).collect();
    format!("{all} parameters, {}: {}", bytes(all * width), parts.join(", "))
}

/// What runs in one step of training. Fixed tasks are made once, before the first.
fn step<'a>(arm: &Arm, programs: &'a Programs) -> Vec<Work<'a>> {
    let mut work = making(&arm.train.tasks, &programs.tasks, 1);
    match &programs.train {
        TrainPrograms::Step(program) => work.push(Work { name: "step".into(), runs: 1, program }),
        TrainPrograms::Local { adapt, reduce } => {
            work.extend(adapting(&arm.train.adapt, adapt, programs.tasks.support, 1));
            work.push(Work { name: "reduce".into(), runs: 1, program: reduce });
        }
    }
    work
}

fn making<'a>(source: &TaskSource, programs: &'a TaskPrograms, visits: u64) -> Vec<Work<'a>> {
    let fresh = matches!(source, TaskSource::Fresh { .. });
    let strata = programs.strata.iter().filter(|_| fresh);
    let mut work: Vec<Work> = strata.map(|program| Work { name: "draw tasks".into(), runs: 1, program }).collect();
    work.extend(programs.visit.iter().map(|program| Work { name: "draw examples".into(), runs: visits, program }));
    work
}

fn adapting<'a>(blocks: &[Block], programs: &'a AdaptPrograms, support: Part, visits: u64) -> Vec<Work<'a>> {
    let mut work = Vec::new();
    if !blocks.is_empty() {
        work.push(Work { name: "spread".into(), runs: visits, program: &programs.spread });
    }
    for (i, (block, program)) in blocks.iter().zip(&programs.blocks).enumerate() {
        let batches = block.batch.map_or(1, |batch| (support.size as u64).div_ceil(batch));
        let runs = match block.budget {
            Budget::Steps { count } => count,
            Budget::Epochs { count } => count * batches,
        };
        work.push(Work { name: format!("adapt {}", i + 1), runs: runs * visits, program });
    }
    work
}

fn table<'p>(title: &str, work: &[Work<'p>], needs: &Needs<'p>) -> Result<String, ExecError> {
    let mut rows = vec![[title, "runs", "operations", "FLOPs", "bytes", "most at once"].map(str::to_owned).to_vec()];
    if needs.memory.is_some() {
        rows[0].push("FLOPs again".to_owned());
    }
    let (mut flops, mut moved, mut repeated) = (0, 0, 0);
    for w in work.iter().filter(|w| !w.program.function.outputs.is_empty()) {
        let cost = w.program.function.cost();
        let (all, values) = (cost.flops * w.runs, cost.elements * needs.precision.bytes() * w.runs);
        let Need { bytes: alive, again, .. } = needs.keep(&w.program.function)?;
        let again = again * w.runs;
        let mut row = vec![
            format!("  {}", w.name),
            w.runs.to_string(),
            cost.nodes.to_string(),
            scaled(all),
            bytes(values),
            bytes(alive),
        ];
        row.extend(needs.memory.map(|_| scaled(again)));
        rows.push(row);
        (flops, moved, repeated) = (flops + all, moved + values, repeated + again);
    }
    let mut row = vec!["  together".into(), String::new(), String::new(), scaled(flops), bytes(moved), String::new()];
    row.extend(needs.memory.map(|_| scaled(repeated)));
    rows.push(row);
    Ok(columns(&rows).lines().map(|line| format!("  {line}\n")).collect())
}

/// `19.0 GB`: a number of bytes in three digits.
pub fn bytes(n: u64) -> String {
    format!("{}B", scaled(n))
}

/// `1.23 M`: a count in three digits, with the letter of its thousands.
fn scaled(n: u64) -> String {
    let (mut value, mut unit) = (n as f64, "");
    for larger in ["k", "M", "G", "T", "P", "E"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    let decimals = match value {
        _ if unit.is_empty() => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits() {
        let all: Vec<String> = [0, 41, 999, 1000, 1761, 12_345, 999_499, 999_500, 1 << 40].map(scaled).to_vec();
        assert_eq!(all, ["0 ", "41 ", "999 ", "1.00 k", "1.76 k", "12.3 k", "999 k", "1.00 M", "1.10 T"]);
    }
}
