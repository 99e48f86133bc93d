//! `metadsl export --model` and `--adapter`: the parameters that a run ended with, for other programs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, json};

use super::args::{DataChoice, Export as Options, StateChoice};
use super::failure::Failure;
use super::replay::existing_ledger;
use super::whereabouts::{check_given, contents};
use crate::data::{self, FileBytes, Weights};
use crate::exec::Executor;
use crate::exec::exact::{Exact, Path as Instructions};
use crate::hash::{Id, Kind};
use crate::ir::{Precision, Tensor};
use crate::ledger::{self, Input, Manifest, Outcome, Run, Store};
use crate::plan::{Addition, Arm, Model, Plan};
use crate::report::text::count;
use crate::train;

/// Writes the final parameters of one run, whole or the adapters alone.
pub fn export_model(options: &Options) -> Result<ExitCode, Failure> {
    let [name] = options.runs.as_slice() else {
        return Err(Failure::Usage("a model is exported from one run: name its hash".into()));
    };
    let state = State::read(&existing_ledger(&options.ledger.ledger)?, name, &options.state, &options.data)?;
    let mut out = anstream::stdout();
    if let Some(folder) = &options.model {
        let written = state.model()?;
        save(folder, "model.safetensors", &written)?;
        writeln!(out, "{}", folder.join("model.safetensors").display())?;
    }
    if let Some(folder) = &options.adapter {
        let (settings, tensors) = state.adapter()?;
        save(folder, "adapter_config.json", settings.as_bytes())?;
        save(folder, "adapter_model.safetensors", &tensors)?;
        writeln!(out, "{}", folder.join("adapter_model.safetensors").display())?;
        let moved = state.moved();
        if moved > 0 {
            let moved = count(moved, "loaded parameter");
            writeln!(anstream::stderr(), "note: {moved} moved as well, which the adapter alone does not have")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn save(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, bytes))
        .map_err(|error| Failure::Save { path, error })
}

/// Where an arm ended under a seed.
struct State {
    model: Model,
    precision: Precision,
    /// The parameters, those of one task among them where tasks keep some.
    values: Vec<(String, Tensor)>,
    /// The file that the model's parameters were loaded from.
    file: Option<FileBytes>,
    /// What it holds.
    loaded: Weights,
}

impl State {
    fn read(store: &Store, name: &str, choice: &StateChoice, given: &DataChoice) -> Result<State, Failure> {
        let id = store.resolve(name)?;
        let run: Run = store.get(Kind::Run, id)?;
        let input: Input = store.get(Kind::Input, run.input)?;
        let plan: Plan = store.get(Kind::Plan, input.plan)?;
        plan.verify()?;
        let outcome: Outcome = store.get(Kind::Result, run.result)?;
        let (arm, cell) = chosen(&plan, &outcome, choice)?;
        if run.left_out.contains(&cell.weights) && !store.has(cell.weights)? {
            return Err(not_kept(id, cell));
        }
        let weights: ledger::Weights = store.get(Kind::Weights, cell.weights)?;
        let mut values: Vec<(String, Tensor)> =
            weights.tensors.iter().map(|w| (w.name.clone(), Tensor::new(w.dims.clone(), w.values()))).collect();
        for place in arm.kept() {
            values[place].1 = of_task(&values[place], choice.task)?;
        }
        let manifest: Manifest = store.get(Kind::Manifest, input.manifest)?;
        check_given(given, &manifest)?;
        let file = match &arm.model.weights {
            Some(source) => {
                let files = manifest.files.into_iter().filter(|file| file.name == *source).collect();
                contents(store, &Manifest { files }, &run.files, given).map_err(Failure::Usage)?.remove(source)
            }
            None => None,
        };
        let loaded = file.clone().map(data::read_safetensors).transpose().map_err(|e| Failure::Usage(e.to_string()))?;
        let (model, precision) = (arm.model.clone(), arm.train.precision);
        Ok(State { model, precision, values, file, loaded: loaded.unwrap_or_default() })
    }

    /// The name of a parameter in the checkpoint; its own where that has none of it.
    fn name<'n>(&'n self, parameter: &'n str) -> &'n str {
        self.loaded.name_of(parameter).unwrap_or(parameter)
    }

    /// The whole model as one file.
    fn model(&self) -> Result<Vec<u8>, Failure> {
        let exec = Exact::<f64>::new(Instructions::detect());
        let merged = train::merged(&exec, &self.model, &self.values)?.into_iter();
        let tensors = merged.map(|(name, value)| (self.name(&name).to_owned(), value)).collect();
        data::write_safetensors(self.file.as_deref(), &tensors, self.precision)
            .map_err(|e| Failure::Usage(e.to_string()))
    }

    /// The settings and the tensors of the low-rank adapters: PEFT's `W + (lora_alpha / r) B A` is our `W + (alpha / rank) U V'`.
    fn adapter(&self) -> Result<(String, Vec<u8>), Failure> {
        let mut tensors = BTreeMap::new();
        let (mut ranks, mut alphas) = (Map::new(), Map::new());
        for group in self.model.added.iter().filter(|group| group.name == "lora") {
            for (port, alpha) in group.compose.outputs.iter().zip(alphas_of(group)?) {
                let name = self.name(&port.name);
                let module = name.strip_suffix(".weight").ok_or_else(|| {
                    Failure::Usage(format!("PEFT adapts the `weight` of layers, and `{name}` is another parameter"))
                })?;
                let part = |part: &str| {
                    let ending = format!("lora.{}.{part}", port.name);
                    self.values.iter().find(|(name, _)| name.ends_with(&ending)).map(|(_, value)| value)
                };
                let left = part("U").expect("every adapter has a left factor");
                let right = part("V").unwrap_or(left);
                let key = |side: &str| format!("base_model.model.{module}.lora_{side}.weight");
                ranks.insert(module.to_owned(), json!(left.dims()[1]));
                alphas.insert(module.to_owned(), json!(alpha));
                tensors.insert(key("A"), transposed(right));
                tensors.insert(key("B"), left.clone());
            }
        }
        let (Some(rank), Some(alpha)) = (ranks.values().next(), alphas.values().next()) else {
            return Err(Failure::Usage("the model has no `lora` group: `--model` exports it whole".into()));
        };
        let dropout = self.model.dropout.iter().find(|mask| mask.name.starts_with("~lora."));
        let dropout = dropout.map_or(0.0, |mask| mask.rate);
        let settings = json!({
            "peft_type": "LORA", "task_type": null, "base_model_name_or_path": null, "inference_mode": true,
            "r": rank, "lora_alpha": alpha, "lora_dropout": dropout, "bias": "none", "fan_in_fan_out": false,
            "target_modules": ranks.keys().collect::<Vec<_>>(), "rank_pattern": ranks, "alpha_pattern": alphas,
        });
        let settings = serde_json::to_string_pretty(&settings).expect("JSON can be written");
        let tensors =
            data::write_safetensors(None, &tensors, self.precision).map_err(|e| Failure::Usage(e.to_string()))?;
        Ok((settings, tensors))
    }

    /// How many parameters of the checkpoint are no longer what they were.
    fn moved(&self) -> usize {
        let rounded = |value: &Tensor| value.to_le_bytes(self.precision);
        let differs =
            |(name, value): &&(String, Tensor)| self.loaded.find(name).is_some_and(|t| rounded(&t) != rounded(value));
        self.values.iter().filter(differs).count()
    }
}

/// There is nothing to export of a cell whose parameters were left out.
fn not_kept(run: Id, cell: &ledger::Cell) -> Failure {
    Failure::Usage(format!(
        "run {} did not keep the final parameters of arm `{}` under seed {} (see `--keep-weights` in `metadsl run --help`); \
         `metadsl run FILE --keep-weights all` of the same experiment runs it again and keeps them",
        run.short(),
        cell.arm,
        cell.seed
    ))
}

/// The arm and the cell that were asked for.
fn chosen<'r>(
    plan: &'r Plan,
    outcome: &'r Outcome,
    choice: &StateChoice,
) -> Result<(&'r Arm, &'r ledger::Cell), Failure> {
    let fits = |cell: &&ledger::Cell| {
        choice.arm.as_ref().is_none_or(|arm| cell.arm == *arm) && choice.seed.is_none_or(|seed| cell.seed == seed)
    };
    let found: Vec<&ledger::Cell> = outcome.cells.iter().filter(fits).collect();
    let listed = || {
        let cells: Vec<String> = outcome.cells.iter().map(|c| format!("--arm '{}' --seed {}", c.arm, c.seed)).collect();
        cells.join("\n  ")
    };
    match found[..] {
        [cell] => {
            let arm = plan.arms.iter().find(|arm| arm.name == cell.arm);
            Ok((arm.ok_or_else(|| Failure::Usage(format!("the plan has no arm `{}`", cell.arm)))?, cell))
        }
        [] => Err(Failure::Usage(format!("the run has no such arm and seed; it has\n  {}", listed()))),
        _ => Err(Failure::Usage(format!("the run has several arms or seeds; choose one:\n  {}", listed()))),
    }
}

/// The row of a table that tasks keep.
fn of_task((name, table): &(String, Tensor), task: Option<usize>) -> Result<Tensor, Failure> {
    let tasks = table.dims()[0];
    let row = task.filter(|task| *task < tasks).ok_or_else(|| {
        Failure::Usage(format!(
            "every task has a `{name}` of its own; choose one by `--task N`, from 0 to {}",
            tasks.saturating_sub(1)
        ))
    })?;
    let len = table.row_len();
    Ok(Tensor::new(table.dims()[1..].to_vec(), table.data()[row * len..(row + 1) * len].to_vec()))
}

/// The `alpha` of every matrix that a group of adapters changes: what is added to zero by factors of ones.
fn alphas_of(group: &Addition) -> Result<Vec<f64>, Failure> {
    let exec = Exact::<f64>::new(Instructions::detect());
    let changed = |name: &str| group.compose.outputs.iter().any(|port| port.name == name);
    let value = |port: &crate::ir::Port| {
        exec.upload(&Tensor::full(group.compose.dims(port.node), if changed(&port.name) { 0.0 } else { 1.0 }))
    };
    let args = group.compose.inputs.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let results = exec.run(&exec.compile(&group.compose)?, &args.iter().collect::<Vec<_>>())?;
    results.iter().map(|value| Ok(exec.download(value)?.data().first().copied().unwrap_or(0.0))).collect()
}

fn transposed(matrix: &Tensor) -> Tensor {
    let [rows, columns] = matrix.dims()[..] else { unreachable!("a factor of an adapter is a matrix") };
    let entry = |i: usize| matrix.data()[i % rows * columns + i / rows];
    Tensor::new(vec![columns, rows], (0..rows * columns).map(entry).collect())
}
