//! World, families of tasks, and the model.

use indexmap::IndexMap;

use super::calls::Names;
use super::constant::Constants;
use super::tensor::{Dim, Typed, Writer, read_dims, same, show, sizes};
use crate::catalog::{Csv, Kind, Partition};
use crate::diag::{Diagnostic, Sink};
use crate::ir::Function;
use crate::plan::{Clients, Family, Model as PlanModel, Sampler, Slot, Stratum};
use crate::syntax::ast::{Decl, ExprKind, Model, Tasks};

/// Types by name, in the order of declaration.
pub(super) type Types = IndexMap<String, Vec<Dim>>;

/// A family with the types of its variables.
pub(super) struct CheckedFamily {
    pub plan: Family,
    /// The variables of one example.
    pub example: Types,
}

/// A model with the types of its parameters.
pub(super) struct CheckedModel {
    pub plan: PlanModel,
    pub params: Types,
    pub inputs: Types,
    pub output: Vec<Dim>,
}

/// Writes declarations into one sampler; returns it with the types declared.
pub(super) fn sampler(name: &str, decls: &[&Decl], known: &Types, constants: &Constants, sink: &mut Sink) -> (Sampler, Types) {
    let mut writer = Writer::new(constants, known, None);
    let mut types = Types::new();
    for decl in decls {
        if decl.dims.is_none() {
            sink.push(
                Diagnostic::error("E0307", decl.name.span, format!("`{}` needs its dims", decl.name.text))
                    .help(format!("write `{}: [] = ...` for a scalar, `{}: [d] = ...` for a vector", decl.name.text, decl.name.text)),
            );
            continue;
        }
        if let Some(dims) = writer.declare(decl, sink) {
            types.insert(decl.name.text.clone(), dims);
        }
    }
    let outputs: Vec<String> = types.keys().cloned().collect();
    (writer.into_sampler(name, &outputs), types)
}

/// Checks one family. The model's parameters are known to its `risk`.
pub(super) fn family(
    tasks: &Tasks,
    world: &Types,
    data: &IndexMap<String, Csv>,
    params: &Types,
    names: &Names,
    sink: &mut Sink,
) -> Option<CheckedFamily> {
    let constants = names.constants;
    check_fields(tasks, sink);
    let (source, data_example) = match &tasks.from {
        Some(from) => {
            let Some(csv) = data.get(&from.text) else {
                let known = data.keys().map(String::as_str);
                sink.push(
                    Diagnostic::error("E0215", from.span, format!("no `data` is called `{}`", from.text)).suggest(from.span, &from.text, known),
                );
                return None;
            };
            let features = (csv.end_feature - csv.first_feature) as usize;
            let example = Types::from([("x".to_owned(), vec![Dim { name: None, size: features }]), ("y".to_owned(), vec![])]);
            (Some(clients(tasks, &from.text, &example, names, sink)?), example)
        }
        None => (None, Types::new()),
    };
    let mut with_index = world.clone();
    with_index.insert("index".into(), vec![]);
    let mut strata = Vec::new();
    let mut task_types: Option<Types> = None;
    for stratum in &tasks.strata {
        let count = constants.count(&stratum.count, 1, "a stratum's count", sink).unwrap_or(1);
        let decls: Vec<&Decl> = stratum.decls.iter().chain(&tasks.decls).collect();
        let (task, types) = sampler(&stratum.name.text, &decls, &with_index, constants, sink);
        if let Some(first) = &task_types {
            let agree = first.len() == types.len() && first.iter().all(|(n, d)| types.get(n).is_some_and(|other| same(d, other)));
            if !agree {
                let list = |t: &Types| t.iter().map(|(n, d)| format!("{n}: {}", show(d))).collect::<Vec<_>>().join(", ");
                sink.push(
                    Diagnostic::error("E0501", stratum.name.span, format!("stratum `{}` declares other variables than `{}`", stratum.name.text, tasks.strata[0].name.text))
                        .help(format!("`{}` has {}; `{}` has {}", tasks.strata[0].name.text, list(first), stratum.name.text, list(&types))),
                );
            }
        } else {
            task_types = Some(types);
        }
        strata.push(Stratum { name: stratum.name.text.clone(), count, task });
    }
    if strata.is_empty() {
        let (task, types) = sampler("all", &tasks.decls.iter().collect::<Vec<_>>(), &with_index, constants, sink);
        let count = source.as_ref().map_or(1, |c: &Clients| c.partition.clients());
        strata.push(Stratum { name: "all".into(), count, task });
        task_types = Some(types);
    }
    let mut known = world.clone();
    known.extend(task_types.unwrap_or_default());
    let (episode, episode_types) = sampler("episode", &tasks.episode.iter().collect::<Vec<_>>(), &known, constants, sink);
    known.extend(episode_types);
    let (example_sampler, mut example) = sampler("example", &tasks.example.iter().collect::<Vec<_>>(), &known, constants, sink);
    if source.is_some() {
        if let Some(decl) = tasks.example.first() {
            sink.push(Diagnostic::error("E0502", decl.name.span, "examples come from the data here and cannot be drawn as well"));
        }
        example = data_example;
    }
    let risk = risk(tasks, &known, params, constants, sink);
    let plan = Family { name: tasks.name.text.clone(), strata, episode, example: example_sampler, risk, source };
    Some(CheckedFamily { plan, example })
}

fn check_fields(tasks: &Tasks, sink: &mut Sink) {
    let allowed: &[&str] = if tasks.from.is_some() { &["partition", "hold_out", "risk"] } else { &["risk"] };
    for (i, field) in tasks.fields.iter().enumerate() {
        let name = &field.path[0];
        if field.path.len() > 1 || !allowed.contains(&name.text.as_str()) {
            let data_only = ["partition", "hold_out"].contains(&name.text.as_str());
            let error = Diagnostic::error("E0216", field.path_span(), format!("a `tasks` block has no field `{}`", name.text));
            sink.push(if data_only && field.path.len() == 1 {
                error.help(format!("`{}` belongs to tasks made from data: `tasks {} from DATA {{ ... }}`", name.text, tasks.name.text))
            } else {
                error.suggest(name.span, &name.text, allowed.iter().copied()).help("a declaration has dims: `head: [k] ~ normal`")
            });
        } else if tasks.fields[..i].iter().any(|f| f.path[0].text == name.text) {
            sink.push(Diagnostic::error("E0217", name.span, format!("`{}` is set twice", name.text)));
        }
    }
}

fn clients(tasks: &Tasks, data: &str, example: &Types, names: &Names, sink: &mut Sink) -> Option<Clients> {
    let field = |name: &str| tasks.fields.iter().find(|f| f.path.len() == 1 && f.path[0].text == name);
    let Some(partition) = field("partition") else {
        sink.push(
            Diagnostic::error("E0503", tasks.name.span, format!("`{}` does not say how the data is divided among clients", tasks.name.text))
                .help("add for example `partition = shards(clients: 50, classes: 2)`"),
        );
        return None;
    };
    let call = names.call(Kind::Partition, &partition.value, sink)?;
    let hold_out = match field("hold_out") {
        Some(field) => {
            let share = names.constants.number(&field.value, sink)?;
            if !(0.0..1.0).contains(&share) {
                sink.push(
                    Diagnostic::error("E0408", field.value.span, format!("`hold_out` must be a share from 0 to below 1, not {share}"))
                        .help("0.25 keeps a quarter of each client's examples for evaluation"),
                );
                return None;
            }
            share
        }
        None => {
            sink.push(
                Diagnostic::error("E0503", tasks.name.span, format!("`{}` does not say which share of the examples is held out", tasks.name.text))
                    .help("add for example `hold_out = 0.25`: a quarter of each client's shuffled examples is seen by evaluations alone"),
            );
            return None;
        }
    };
    let example = super::tensor::slots(example);
    Some(Clients { data: data.to_owned(), partition: Partition::from_args(call.entry.name, &call.args), hold_out, example })
}

fn risk(tasks: &Tasks, latents: &Types, params: &Types, constants: &Constants, sink: &mut Sink) -> Option<Function> {
    let field = tasks.fields.iter().find(|f| f.path.len() == 1 && f.path[0].text == "risk")?;
    let mut known = latents.clone();
    known.extend(params.iter().map(|(n, d)| (n.clone(), d.clone())));
    let mut writer = Writer::new(constants, &known, Some("a risk is an expectation: no draw can stand in it"));
    let value = writer.expr(&field.value, sink)?;
    if !value.dims.is_empty() {
        sink.push(Diagnostic::error("E0308", field.value.span, format!("a risk is a scalar, and this is {}", show(&value.dims))).help("reduce it with `sum` or `mean`"));
        return None;
    }
    Some(writer.into_function("risk", vec![("risk".into(), value.node)]))
}

/// The parameters of the model and their types, before anything else of it is checked.
pub(super) fn param_types(model: &Model, constants: &Constants, sink: &mut Sink) -> Types {
    let mut types = Types::new();
    for param in &model.params {
        match &param.decl.dims {
            Some(dims) => {
                if let Some(dims) = read_dims(dims, constants, sink) {
                    types.insert(param.decl.name.text.clone(), dims);
                }
            }
            None => sink.push(
                Diagnostic::error("E0307", param.decl.name.span, format!("parameter `{}` needs its dims", param.decl.name.text))
                    .help(format!("write `param {}: [d, k] ~ normal`, or `[]` for a scalar", param.decl.name.text)),
            ),
        }
    }
    types
}

/// Checks the model. Initial values may read the world.
pub(super) fn model(model: &Model, world: &Types, params: Types, constants: &Constants, sink: &mut Sink) -> Option<CheckedModel> {
    let decls: Vec<&Decl> = model.params.iter().map(|p| &p.decl).filter(|d| params.contains_key(&d.name.text)).collect();
    let (init, _) = sampler("init", &decls, world, constants, sink);
    let mut inputs = Types::new();
    for (name, dims) in &model.inputs {
        if let Some(dims) = read_dims(dims, constants, sink) {
            inputs.insert(name.text.clone(), dims);
        }
    }
    let output = read_dims(&model.output, constants, sink);
    let mut known = params.clone();
    known.extend(inputs.iter().map(|(n, d)| (n.clone(), d.clone())));
    let mut writer = Writer::new(constants, &known, Some("a model is a function: a random value belongs into `tasks`"));
    for decl in &model.lets {
        writer.declare(decl, sink);
    }
    let body = match &model.body.kind {
        ExprKind::Error => return None,
        _ => writer.expr(&model.body, sink),
    };
    let (body, output) = (body?, output?);
    let body = if body.dims.is_empty() && !output.is_empty() { Typed { node: writer.b.expand(body.node, &sizes(&output)), dims: output.clone() } } else { body };
    if !same(&body.dims, &output) {
        sink.push(
            Diagnostic::error("E0301", model.body.span, format!("model `{}` promises {} but predicts {}", model.name.text, show(&output), show(&body.dims)))
                .label(format!("this is {}", show(&body.dims)))
                .related(model.output.span, "promised here"),
        );
        return None;
    }
    let forward = writer.into_function(&model.name.text, vec![("prediction".into(), body.node)]);
    let slots = params.iter().map(|(name, dims)| Slot { name: name.clone(), dims: sizes(dims) }).collect();
    Some(CheckedModel { plan: PlanModel { name: model.name.text.clone(), params: slots, init, forward }, params, inputs, output })
}
