//! Warnings about experiments that can run but probably do not say what was meant: what nobody uses, what nothing
//! trains, what one seed cannot show.

use std::collections::HashSet;

use crate::catalog::{Outer, Through};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Arm, Claim, Objective, Plan, Quantity};
use crate::syntax::ast::{Decl, Expr, ExprKind, Field, File, ItemKind, Model, Name, Tasks};

/// Warns about an experiment without errors. `claims` are the places of the plan's claims.
pub(super) fn check(file: &File, plan: &Plan, claims: &[Span], sink: &mut Sink) {
    unused(file, sink);
    untrained(file, plan, sink);
    single_seed(plan, claims, sink);
    let nothing = !file.items.iter().any(|i| matches!(i.kind, ItemKind::Measure { .. }));
    if let (true, Some(name)) = (nothing, &file.name) {
        sink.push(
            Diagnostic::warning("W0506", name.span, "this experiment measures nothing")
                .help("add for example `measure angle = subspace_distance(B, truth) every 10`"),
        );
    }
    for model in file.items.iter().filter_map(|i| if let ItemKind::Model(m) = &i.kind { Some(m) } else { None }) {
        for (name, _) in model.inputs.iter().filter(|(n, _)| n.text == "y") {
            sink.push(
                Diagnostic::warning("W0505", name.span, "the model reads `y`, the target that it should predict")
                    .help("a loss compares the prediction with `y`; the inputs are other variables of the example"),
            );
        }
    }
}

/// Several arms that are compared under one seed.
fn single_seed(plan: &Plan, claims: &[Span], sink: &mut Sink) {
    fn arms<'q>(quantity: &'q Quantity, found: &mut Vec<&'q str>) {
        match quantity {
            Quantity::Number { .. } => {}
            Quantity::At { arm, .. } => found.push(arm),
            Quantity::OverSeeds { of, .. } => arms(of, found),
            Quantity::Arithmetic { left, right, .. } => {
                arms(left, found);
                arms(right, found);
            }
            Quantity::Along { of, .. } => of.iter().for_each(|q| arms(q, found)),
            // The points of a sweep are not compared with each other.
            Quantity::Each { of } => of.iter().take(1).for_each(|q| arms(q, found)),
        }
    }
    let compares = |claim: &Claim| {
        let mut found = vec![];
        arms(&claim.left, &mut found);
        arms(&claim.right, &mut found);
        found.iter().any(|arm| *arm != found[0])
    };
    let first = plan.claims.iter().zip(claims).find(|(claim, _)| compares(claim));
    if let ([seed], Some((_, &span))) = (plan.seeds.as_slice(), first) {
        sink.push(
            Diagnostic::warning("W0503", span, "this compares arms on a single seed")
                .label(format!("only seed {seed} is run"))
                .help("one seed cannot tell a difference from chance; add `sweep seed in 0..5`"),
        );
    }
}

/// Parameters that stay as they were drawn, in every arm.
fn untrained(file: &File, plan: &Plan, sink: &mut Sink) {
    let params = file.items.iter().filter_map(|i| if let ItemKind::Model(m) = &i.kind { Some(m) } else { None });
    for param in params.flat_map(|m| &m.params) {
        let name = &param.decl.name;
        let frozen = |arm: &Arm| arm.train.freeze.contains(&name.text);
        let mut phases = plan.arms.iter().flat_map(Arm::phases);
        if phases.any(|arm| trains(&arm, &name.text) || frozen(&arm)) {
            continue;
        }
        let read = plan.arms.iter().any(|arm| reads(arm, &name.text));
        let reason = match (read, plan.arms.len()) {
            (false, _) => "neither the prediction nor the risk that training minimises reads it",
            (true, 1) => "no adaptation moves it, and no update",
            (true, _) => "no adaptation moves it, and no update, in any arm",
        };
        sink.push(Diagnostic::warning("W0504", name.span, format!("nothing trains `{}`", name.text)).help(reason));
    }
}

/// Whether what training minimises depends on a parameter.
fn reads(arm: &Arm, name: &str) -> bool {
    let function = match arm.train.objective {
        Objective::Risk => arm.family(arm.train.tasks.family()).and_then(|f| f.risk.as_ref()),
        Objective::Sample { .. } => Some(&arm.model.forward),
    };
    function.is_some_and(|f| f.inputs.iter().any(|p| p.name == name))
}

/// Whether training can move a parameter.
fn trains(arm: &Arm, name: &str) -> bool {
    let train = &arm.train;
    let adapted = train.adapt.iter().any(|block| block.on.iter().any(|p| p == name));
    let local = matches!(train.outer, Outer::Average { .. }) || train.through == Through::Difference;
    let kept = train.keep.iter().any(|p| p == name);
    reads(arm, name) && train.steps > 0 && (adapted || !local && !kept)
}

/// What is declared and never named again.
fn unused(file: &File, sink: &mut Sink) {
    let mut used = HashSet::new();
    file.items.iter().for_each(|item| mentions_of_item(&item.kind, &mut used));
    let mut warn = |name: &Name, what: &str, help: &str| {
        if !used.contains(name.text.as_str()) {
            sink.push(
                Diagnostic::warning("W0502", name.span, format!("{what} `{}` is never used", name.text)).help(help),
            );
        }
    };
    let remove = "remove it, or use it";
    // A file for several experiments holds more than each of them needs.
    for item in &file.items[file.imported..] {
        match &item.kind {
            ItemKind::Dim { name, .. } => warn(name, "dim", remove),
            ItemKind::Let { name, .. } => warn(name, "number", remove),
            ItemKind::Data { name, .. } => warn(name, "data set", "tasks read it with `tasks NAME from DATA { ... }`"),
            ItemKind::World { decls } => decls.iter().for_each(|d| warn(&d.name, "variable", remove)),
            ItemKind::Tasks(tasks) => {
                warn(&tasks.name, "family", "training or an evaluation names it in `tasks = ...`");
                tasks.strata.iter().flat_map(|s| &s.decls).for_each(|d| warn(&d.name, "variable", remove));
                tasks.decls.iter().chain(&tasks.episode).for_each(|d| warn(&d.name, "variable", remove));
                tasks
                    .example
                    .iter()
                    .for_each(|d| warn(&d.name, "variable", "the model reads an example's variables by name"));
            }
            ItemKind::Model(model) => model.lets.iter().for_each(|d| warn(&d.name, "value", remove)),
            ItemKind::Layer(layer) => {
                warn(&layer.model.name, "layer", "a model calls it in a `let`: `let hidden = NAME(x)`");
                layer.model.lets.iter().for_each(|d| warn(&d.name, "value", remove));
            }
            ItemKind::Function(function) => {
                warn(&function.name, "function", remove);
                function.lets.iter().for_each(|d| warn(&d.name, "value", remove));
            }
            ItemKind::Section(section) if section.keyword.text == "evaluate" => {
                section
                    .name
                    .iter()
                    .for_each(|n| warn(n, "evaluation", "a measure names it: `measure mse = mean(squared) on NAME`"));
            }
            ItemKind::Method(method) => {
                warn(&method.name, "method", "`train` names it: `method = NAME(...)`");
            }
            ItemKind::Section(_)
            | ItemKind::Arm { .. }
            | ItemKind::Measure { .. }
            | ItemKind::Sweep { .. }
            | ItemKind::Expect { .. } => {}
        }
    }
}

/// Every name that an item mentions, other than those it declares.
fn mentions_of_item<'f>(item: &'f ItemKind, used: &mut HashSet<&'f str>) {
    match item {
        ItemKind::Dim { value, .. } | ItemKind::Let { value, .. } | ItemKind::Data { value, .. } => {
            mentions(value, used)
        }
        ItemKind::World { decls } => of_decls(decls, used),
        ItemKind::Tasks(tasks) => of_tasks(tasks, used),
        ItemKind::Model(model) | ItemKind::Function(model) => of_model(model, used),
        ItemKind::Layer(layer) => {
            of_model(&layer.model, used);
            layer.takes.iter().filter_map(|(_, value)| value.as_ref()).for_each(|value| mentions(value, used));
        }
        ItemKind::Section(section) => of_fields(&section.fields, used),
        ItemKind::Arm { fields, .. } => of_fields(fields, used),
        ItemKind::Method(method) => of_fields(&method.fields, used),
        ItemKind::Measure { value, on, every, .. } => {
            mentions(value, used);
            used.extend(on.iter().map(|n| n.text.as_str()));
            every.iter().for_each(|e| mentions(e, used));
        }
        ItemKind::Sweep { values, .. } => mentions(values, used),
        ItemKind::Expect { left, right, .. } => {
            mentions(left, used);
            mentions(right, used);
        }
    }
}

fn of_tasks<'f>(tasks: &'f Tasks, used: &mut HashSet<&'f str>) {
    used.extend(tasks.from.iter().map(|n| n.text.as_str()));
    for stratum in &tasks.strata {
        mentions(&stratum.count, used);
        of_decls(&stratum.decls, used);
    }
    [&tasks.decls, &tasks.episode, &tasks.example].into_iter().for_each(|decls| of_decls(decls, used));
    of_fields(&tasks.fields, used);
    // The loss compares the prediction with it.
    used.insert("y");
}

fn of_model<'f>(model: &'f Model, used: &mut HashSet<&'f str>) {
    for (name, dims) in &model.inputs {
        used.insert(&name.text);
        dims.dims.iter().for_each(|e| mentions(e, used));
    }
    model.output.dims.iter().for_each(|e| mentions(e, used));
    used.extend(model.from.iter().map(|n| n.text.as_str()));
    model.params.iter().for_each(|p| of_decls(std::slice::from_ref(&p.decl), used));
    of_decls(&model.lets, used);
    mentions(&model.body, used);
}

fn of_decls<'f>(decls: &'f [Decl], used: &mut HashSet<&'f str>) {
    for decl in decls {
        decl.dims.iter().flat_map(|d| &d.dims).for_each(|e| mentions(e, used));
        mentions(&decl.value, used);
    }
}

fn of_fields<'f>(fields: &'f [Field], used: &mut HashSet<&'f str>) {
    fields.iter().for_each(|field| mentions(&field.value, used));
}

fn mentions<'f>(expr: &'f Expr, used: &mut HashSet<&'f str>) {
    match &expr.kind {
        ExprKind::Path(path) => used.extend(path.iter().map(|n| n.text.as_str())),
        ExprKind::Call { callee, args } => {
            used.insert(&callee.text);
            args.iter().for_each(|a| mentions(&a.value, used));
        }
        ExprKind::List(items) => items.iter().for_each(|e| mentions(e, used)),
        ExprKind::Record(entries) => entries.iter().for_each(|(_, e)| mentions(e, used)),
        ExprKind::Neg(x) => mentions(x, used),
        ExprKind::Range(a, b) | ExprKind::Binary(_, a, b) => {
            mentions(a, used);
            mentions(b, used);
        }
        ExprKind::Index(base, index) => {
            mentions(base, used);
            index.iter().for_each(|a| mentions(&a.value, used));
        }
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Error => {}
    }
}
