//! What a plan's identity depends on: its meaning, and all of it. Texts that mean the same have one id; every change of
//! a plan has another.

use std::collections::BTreeSet;

use metadsl::hash::{Canonical, Id, Kind, Value};
use metadsl::plan::Plan;
use metadsl::plan::lower::{ClientSizes, lower};
use metadsl::syntax::ast::{Decl, Expr, ExprKind, Field, File, Item, ItemKind, Layer, Name};

#[path = "common/compile.rs"]
mod compile;
#[path = "common/shipped.rs"]
mod shipped;

use compile::{check, compile, compile_file, read};

fn id(plan: &Plan) -> Id {
    Id::of(Kind::Plan, plan)
}

/// A replay begins with the stored form: it must give a plan that is whole, and the same one.
#[test]
fn plans_of_all_shipped_files_survive_storage() {
    for file in shipped::files() {
        let plan = compile_file(&file);
        let back = Plan::from_value(&plan.to_value()).expect("it is a plan");
        back.verify().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(id(&back), id(&plan), "{}", file.display());
    }
}

/// Compares the plan of every shipped experiment with that of its text after some change of form.
fn same_after_text_change(change: impl Fn(&str) -> String) {
    for name in shipped::NAMES {
        let text = shipped::text(name);
        let changed = change(&text);
        assert_ne!(text, changed, "{name}: nothing was changed");
        assert_eq!(id(&compile(&changed, &[])), id(&compile(&text, &[])), "{name}:\n{changed}");
    }
}

/// The same for a change of the tree.
fn same_after_change(change: impl Fn(&mut File)) {
    for name in shipped::NAMES {
        let text = shipped::text(name);
        let original = read(&text);
        let mut changed = original.clone();
        change(&mut changed);
        assert_ne!(original, changed, "{name}: nothing was changed");
        assert_eq!(id(&check(&text, &changed, &[])), id(&check(&text, &original, &[])), "{name}");
    }
}

#[test]
fn ids_of_the_shipped_experiments() {
    let lines = shipped::NAMES.map(|name| format!("{name} {}", id(&compile(&shipped::text(name), &[]))));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn plans_survive_their_value_tree() {
    for name in shipped::NAMES {
        let plan = compile(&shipped::text(name), &[]);
        assert_eq!(Plan::from_value(&plan.to_value()).as_ref(), Ok(&plan), "{name}");
    }
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

#[test]
fn comments() {
    same_after_text_change(without_comments);
    same_after_text_change(|text| text.lines().map(|line| format!("// a remark\n{line} // and one more\n")).collect());
}

#[test]
fn whitespace() {
    same_after_text_change(|text| text.replace(' ', "   "));
    same_after_text_change(|text| text.replace('\n', "  \n\n\t"));
    same_after_text_change(|text| text.replace('\n', "\r\n"));
    same_after_text_change(|text| without_comments(text).replace("; ", "\n"));
}

#[test]
fn order_of_fields_and_arguments() {
    same_after_change(|file| {
        for item in &mut file.items {
            match &mut item.kind {
                ItemKind::Section(section) => section.fields.reverse(),
                ItemKind::Tasks(tasks) => tasks.fields.reverse(),
                ItemKind::Arm { fields, .. } => fields.reverse(),
                _ => {}
            }
        }
    });
    same_after_change(|file| {
        each_expr(file, &mut |expr| match &mut expr.kind {
            ExprKind::Call { args, .. } => {
                let keyed = args.iter().position(|a| a.key.is_some()).unwrap_or(args.len());
                args[keyed..].reverse();
            }
            ExprKind::Record(entries) => entries.reverse(),
            _ => {}
        });
    });
}

/// The position of a kind of item. Items that depend on none of another kind may change places with them; arms,
/// measures and claims are reported in the order in which they are written, so among themselves they have one.
fn rank(item: &Item) -> u8 {
    match &item.kind {
        ItemKind::Dim { .. } => 0,
        ItemKind::Let { .. } => 1,
        ItemKind::Data { .. } => 2,
        ItemKind::World { .. } => 3,
        ItemKind::Tasks(_) => 4,
        ItemKind::Function(_) | ItemKind::Layer(_) => 2,
        ItemKind::Model(_) => 5,
        ItemKind::Section(_) => 6,
        ItemKind::Arm { .. } => 7,
        ItemKind::Measure { .. } => 8,
        ItemKind::Sweep { .. } => 9,
        ItemKind::Expect { .. } => 10,
        ItemKind::Method(_) => 11,
    }
}

#[test]
fn order_of_independent_items() {
    same_after_change(|file| file.items.sort_by_key(|item| std::cmp::Reverse(rank(item))));
    same_after_change(|file| {
        let mut sections: Vec<Item> = file.items.iter().filter(|i| rank(i) <= 1 || rank(i) == 6).cloned().collect();
        file.items.retain(|i| rank(i) > 1 && rank(i) != 6);
        sections.reverse();
        file.items.extend(sections);
    });
}

const TWO_FAMILIES: &str = r#"
edition 2026
experiment two_families
dim d = 2
data east = csv("east.csv", features: 0..2, label: 2)
data west = csv("west.csv", features: 0..2, label: 2)
tasks rivers from west { partition = iid(clients: 2); hold_out = 0.5 }
tasks lakes from east { partition = iid(clients: 3); hold_out = 0.5 }
model affine(x: [d]) -> [] {
  param w: [d] = 0
  x @ w
}
train {
  tasks = pool(rivers)
  loss  = squared
  adapt = sgd(all, rate: 0.1, epochs: 1)
  outer = average()
  steps = 1
}
evaluate on_rivers { tasks = pool(rivers); adapt = none }
evaluate on_lakes { tasks = pool(lakes); adapt = none }
measure rivers = mean(squared) on on_rivers every 1
measure lakes = mean(squared) on on_lakes every 1
"#;

#[test]
fn order_of_data_families_and_evaluations() {
    let original = read(TWO_FAMILIES);
    let mut changed = original.clone();
    changed.items.reverse();
    changed.items.sort_by_key(rank);
    let measures = |file: &File| file.items.iter().filter(|i| rank(i) == 8).cloned().collect::<Vec<_>>();
    changed.items.retain(|i| rank(i) != 8);
    changed.items.extend(measures(&original));
    assert_eq!(id(&check(TWO_FAMILIES, &changed, &[])), id(&check(TWO_FAMILIES, &original, &[])));
    // Measures are another matter: they are reported as they are written.
    changed.items.reverse();
    assert_ne!(id(&check(TWO_FAMILIES, &changed, &[])), id(&check(TWO_FAMILIES, &original, &[])));
}

/// Visits every expression with a value: no dims of a type, which are names.
fn each_expr(file: &mut File, visit: &mut impl FnMut(&mut Expr)) {
    let decls = |decls: &mut Vec<Decl>, visit: &mut _| decls.iter_mut().for_each(|d| within(&mut d.value, visit));
    let fields = |fields: &mut Vec<Field>, visit: &mut _| fields.iter_mut().for_each(|f| within(&mut f.value, visit));
    for item in &mut file.items {
        match &mut item.kind {
            ItemKind::Dim { value, .. } | ItemKind::Let { value, .. } | ItemKind::Data { value, .. } => {
                within(value, visit)
            }
            ItemKind::World { decls: of_world } => decls(of_world, visit),
            ItemKind::Tasks(tasks) => {
                decls(&mut tasks.decls, visit);
                decls(&mut tasks.episode, visit);
                decls(&mut tasks.example, visit);
                fields(&mut tasks.fields, visit);
                for stratum in &mut tasks.strata {
                    within(&mut stratum.count, visit);
                    decls(&mut stratum.decls, visit);
                }
            }
            ItemKind::Model(model) | ItemKind::Function(model) | ItemKind::Layer(Layer { model, .. }) => {
                model.params.iter_mut().for_each(|p| within(&mut p.decl.value, visit));
                decls(&mut model.lets, visit);
                within(&mut model.body, visit);
            }
            ItemKind::Section(section) => fields(&mut section.fields, visit),
            ItemKind::Arm { fields: of_arm, .. } => fields(of_arm, visit),
            ItemKind::Method(method) => fields(&mut method.fields, visit),
            ItemKind::Measure { value, every, .. } => {
                within(value, visit);
                every.iter_mut().for_each(|e| within(e, visit));
            }
            ItemKind::Sweep { values, .. } => within(values, visit),
            ItemKind::Expect { left, right, .. } => {
                within(left, visit);
                within(right, visit);
            }
        }
    }
}

fn within(expr: &mut Expr, visit: &mut impl FnMut(&mut Expr)) {
    visit(expr);
    match &mut expr.kind {
        ExprKind::Call { args, .. } => args.iter_mut().for_each(|a| within(&mut a.value, visit)),
        ExprKind::List(items) => items.iter_mut().for_each(|e| within(e, visit)),
        ExprKind::Record(entries) => entries.iter_mut().for_each(|(_, e)| within(e, visit)),
        ExprKind::Range(a, b) | ExprKind::Binary(_, a, b) => {
            within(a, visit);
            within(b, visit);
        }
        ExprKind::Neg(a) => within(a, visit),
        ExprKind::Index(a, indices) => {
            within(a, visit);
            indices.iter_mut().for_each(|a| within(&mut a.value, visit));
        }
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Path(_) | ExprKind::Error => {}
    }
}

fn constant(name: String, value: f64, like: &Item) -> Item {
    let (name, value) = (Name { text: name, span: like.span }, Expr { kind: ExprKind::Number(value), span: like.span });
    Item { kind: ItemKind::Let { name, value }, span: like.span }
}

#[test]
fn a_let_for_every_literal() {
    same_after_change(|file| {
        let mut numbers = Vec::new();
        each_expr(file, &mut |expr| {
            if let ExprKind::Number(value) = expr.kind {
                let name = Name { text: format!("number_{}", numbers.len()), span: expr.span };
                numbers.push(value);
                expr.kind = ExprKind::Path(vec![name]);
            }
        });
        let like = file.items[0].clone();
        let lets = numbers.into_iter().enumerate().map(|(i, value)| constant(format!("number_{i}"), value, &like));
        file.items.splice(0..0, lets);
    });
}

#[test]
fn a_literal_for_every_let() {
    for name in ["maml_anil", "maml_sine"] {
        let text = shipped::text(name);
        let original = read(&text);
        let mut changed = original.clone();
        for item in &original.items {
            let ItemKind::Let { name, value } = &item.kind else { continue };
            each_expr(&mut changed, &mut |expr| {
                if matches!(&expr.kind, ExprKind::Path(path) if path.len() == 1 && path[0].text == name.text) {
                    expr.kind = value.kind.clone();
                }
            });
        }
        changed.items.retain(|item| !matches!(item.kind, ItemKind::Let { .. }));
        assert!(changed.items.len() < original.items.len(), "{name} has no `let`");
        assert_eq!(id(&check(&text, &changed, &[])), id(&check(&text, &original, &[])), "{name}");
    }
}

#[test]
fn an_override_with_the_value_that_stands_there() {
    for name in shipped::NAMES {
        let text = shipped::text(name);
        let file = read(&text);
        let mut overrides = Vec::new();
        for item in &file.items {
            match &item.kind {
                ItemKind::Dim { name, value } | ItemKind::Let { name, value } => {
                    overrides.push(Field { path: vec![name.clone()], value: value.clone() });
                }
                ItemKind::Section(section) => overrides.extend(section.fields.iter().map(|field| {
                    let prefix = [&section.keyword].into_iter().chain(&section.name).cloned();
                    Field { path: prefix.chain(field.path.clone()).collect(), value: field.value.clone() }
                })),
                _ => {}
            }
        }
        assert!(overrides.len() > 6, "{name}");
        assert_eq!(id(&check(&text, &file, &overrides)), id(&check(&text, &file, &[])), "{name}");
    }
}

/// A step into a value tree.
#[derive(Debug, Clone)]
enum Step {
    Item(usize),
    Key(String),
}

fn at<'v>(value: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match (value, step) {
        (Value::List(items), Step::Item(i)) => &mut items[*i],
        (Value::Map(map), Step::Key(key)) => map.get_mut(key).expect("the path was read from this tree"),
        (other, step) => panic!("{step:?} does not lead into {other:?}"),
    })
}

/// The paths to every node of a tree, each with what else could stand there.
fn changes(value: &Value, path: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, Value)>) {
    let mut push = |other: Value| found.push((path.clone(), other));
    match value {
        Value::Null => push(Value::Int(1)),
        Value::Bool(b) => push(Value::Bool(!b)),
        Value::Int(i) => {
            push(Value::Int(i + 1));
            push(Value::Real(*i as f64));
        }
        Value::Real(x) => {
            push(Value::Real(x + 1.0));
            push(Value::Real(-x));
        }
        Value::Bytes(bytes) => push(Value::Bytes([bytes.as_slice(), &[0]].concat())),
        Value::Text(text) => push(Value::Text(format!("{text}x"))),
        Value::List(items) => {
            for i in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(i);
                // Of equal neighbours one goes: the trees without either are one tree.
                if i == 0 || items[i] != items[i - 1] {
                    push(Value::List(fewer));
                }
            }
            for (i, item) in items.iter().enumerate() {
                path.push(Step::Item(i));
                changes(item, path, found);
                path.pop();
            }
        }
        Value::Map(map) => {
            for key in map.keys() {
                let mut fewer = map.clone();
                fewer.remove(key);
                push(Value::Map(fewer));
            }
            let mut more = map.clone();
            more.insert("unheard of".into(), Value::Null);
            push(Value::Map(more));
            for (key, item) in map {
                path.push(Step::Key(key.clone()));
                changes(item, path, found);
                path.pop();
            }
        }
    }
}

/// Changes every node of a plan's tree. Each change has an id of its own; decoding refuses it or gives back
/// exactly that tree; what decodes is refused by the check of stored plans or can be lowered.
fn every_change_counts(name: &str) {
    let mut plan = compile(&shipped::text(name), &[]);
    // Arms differ by their overrides alone; one holds every kind of node.
    plan.arms.truncate(1);
    let mut tree = plan.to_value();
    let mut all = Vec::new();
    changes(&tree, &mut vec![], &mut all);
    assert!(all.len() > 500, "{name} has only {} nodes to change", all.len());
    let mut ids = BTreeSet::from([id(&plan)]);
    let (mut decoded, mut whole) = (0, 0);
    for (path, other) in all {
        let before = std::mem::replace(at(&mut tree, &path), other);
        assert!(ids.insert(Id::of(Kind::Plan, &tree)), "{name}: {path:?} changes nothing");
        if let Ok(changed) = Plan::from_value(&tree) {
            assert!(changed.to_value() == tree, "{name}: {path:?} decodes to something else");
            decoded += 1;
            if changed.verify().is_ok() {
                whole += 1;
                changed.arms.iter().for_each(|arm| drop(lower(arm, &ClientSizes::default())));
            }
        }
        *at(&mut tree, &path) = before;
    }
    assert_eq!(tree, plan.to_value());
    assert!(decoded > 100 && whole > 10, "{name}: {decoded} changes decode, {whole} are whole plans");
}

#[test]
fn every_change_of_maml_anil_counts() {
    every_change_counts("maml_anil");
}

#[test]
fn every_change_of_maml_sine_counts() {
    every_change_counts("maml_sine");
}

#[test]
fn every_change_of_fedrep_digits_counts() {
    every_change_counts("fedrep_digits");
}

#[test]
fn every_change_of_tr_maml_counts() {
    every_change_counts("tr_maml");
}
