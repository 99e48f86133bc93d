//! Families of tasks.

use indexmap::IndexMap;

use super::augment::turns;
use super::calls::Names;
use super::constant::Constants;
use super::dims::{Dim, Types, describe, same, slots};
use super::sampler::sampler;
use super::writer::Writer;
use crate::catalog::{Kind, Partition, Reader};
use crate::diag::{Diagnostic, Sink};
use crate::ir::Function;
use crate::plan::{Clients, DataSource, Family, Rows, Stratum};
use crate::syntax::ast::{self, Decl, Expr, ExprKind, Field, Name, Tasks};

/// A family with the types of its variables.
pub(super) struct CheckedFamily {
    pub plan: Family,
    /// The variables of one example.
    pub example: Types,
    /// Whether it declares a risk that has a mistake, which has been reported.
    pub risk_is_wrong: bool,
}

/// The data sets by name; `None` where one was wrong, which has been reported.
pub(super) type DataSets = IndexMap<String, Option<DataSource>>;

/// What the model is known to have before it is checked.
pub(super) struct ModelTypes {
    /// Its parameters, which a `risk` reads.
    pub params: Types,
    /// Its inputs, whose dims are those of the examples of a file that does not say its own.
    pub inputs: Types,
}

/// Checks one family.
pub(super) fn family(
    tasks: &Tasks,
    world: &Types,
    data: &DataSets,
    model: &ModelTypes,
    names: &Names,
    sink: &mut Sink,
) -> Option<CheckedFamily> {
    check_fields(tasks, sink);
    match &tasks.from {
        Some(from) => of_clients(tasks, from, data, &model.inputs, names, sink),
        None => Some(of_draws(tasks, world, &model.params, names.constants, sink)),
    }
}

/// A family whose tasks are drawn.
fn of_draws(tasks: &Tasks, world: &Types, params: &Types, constants: &Constants, sink: &mut Sink) -> CheckedFamily {
    let mut with_index = world.clone();
    with_index.insert("index".into(), Some(vec![]));
    let (strata, task_types) = if tasks.strata.is_empty() {
        let decls: Vec<&Decl> = tasks.decls.iter().collect();
        let (task, types) = sampler("all", &decls, &with_index, constants, sink);
        (vec![Stratum { name: "all".into(), count: 1, task }], types)
    } else {
        strata(tasks, &with_index, constants, sink)
    };
    let mut known = world.clone();
    known.extend(task_types);
    let (episode, types) = sampler("episode", &tasks.episode.iter().collect::<Vec<_>>(), &known, constants, sink);
    known.extend(types);
    let (examples, example) = sampler("example", &tasks.example.iter().collect::<Vec<_>>(), &known, constants, sink);
    let risk = risk(tasks, &known, params, constants, sink);
    let risk_is_wrong = risk.is_none() && tasks.fields.iter().any(|f| is(f, "risk"));
    let plan = Family { name: tasks.name.text.clone(), strata, episode, example: examples, risk, source: None };
    CheckedFamily { plan, example, risk_is_wrong }
}

fn strata(tasks: &Tasks, known: &Types, constants: &Constants, sink: &mut Sink) -> (Vec<Stratum>, Types) {
    let mut strata = Vec::new();
    let mut first: Option<(&Name, Types)> = None;
    for stratum in &tasks.strata {
        let count = constants.count(&stratum.count, 1, "the count of a stratum", sink).unwrap_or(1);
        let decls: Vec<&Decl> = stratum.decls.iter().chain(&tasks.decls).collect();
        let (task, types) = sampler(&stratum.name.text, &decls, known, constants, sink);
        strata.push(Stratum { name: stratum.name.text.clone(), count, task });
        let Some((first_name, first_types)) = &first else {
            first = Some((&stratum.name, types));
            continue;
        };
        let differ = |a: &Option<Vec<Dim>>, b: &Option<Vec<Dim>>| matches!((a, b), (Some(a), Some(b)) if !same(a, b));
        let agree = first_types.len() == types.len()
            && first_types.iter().all(|(name, dims)| types.get(name).is_some_and(|other| !differ(dims, other)));
        if !agree {
            sink.push(
                Diagnostic::error(
                    "E0501",
                    stratum.name.span,
                    format!("stratum `{}` declares other variables than `{}`", stratum.name.text, first_name.text),
                )
                .label(variables(&types))
                .related(first_name.span, variables(first_types))
                .help("tasks of one family have the same variables, whatever their stratum; only the laws differ"),
            );
        }
    }
    (strata, first.map(|(_, types)| types).unwrap_or_default())
}

fn variables(types: &Types) -> String {
    let known = types.iter().map(|(name, dims)| match dims {
        Some(dims) => format!("{name}: {}", super::dims::show(dims)),
        None => name.clone(),
    });
    let known: Vec<String> = known.collect();
    if known.is_empty() { "this has none".into() } else { format!("this has {}", known.join(", ")) }
}

fn check_fields(tasks: &Tasks, sink: &mut Sink) {
    const DATA: &[&str] = &["partition", "hold_out", "ways", "turns", "examples"];
    const DRAWN: &[&str] = &["risk"];
    let (allowed, other) = if tasks.from.is_some() { (DATA, DRAWN) } else { (DRAWN, DATA) };
    for (i, field) in tasks.fields.iter().enumerate() {
        let name = &field.path[0];
        let known = |names: &[&str]| field.path.len() == 1 && names.contains(&name.text.as_str());
        if known(allowed) {
            if let Some(first) = tasks.fields[..i].iter().find(|f| is(f, &name.text)) {
                sink.push(
                    Diagnostic::error("E0217", name.span, format!("`{}` is set twice", name.text))
                        .related(first.path_span(), "first set here"),
                );
            }
            continue;
        }
        let error = Diagnostic::error(
            "E0216",
            field.path_span(),
            format!("`tasks {}` has no field `{}`", tasks.name.text, name.text),
        );
        sink.push(match known(other) {
            true if tasks.from.is_some() => error.help(format!(
                "`{}` belongs to tasks that are drawn, and these are the clients of a data set",
                name.text
            )),
            true => error.help(format!(
                "`{}` belongs to tasks made from data: `tasks {} from DATA {{ ... }}`",
                name.text, tasks.name.text
            )),
            false => {
                let error = error
                    .suggest(name.span, &name.text, allowed.iter().copied())
                    .help("a variable is declared with its dims: `head: [k] ~ normal`");
                match error.fix {
                    None if field.path.len() == 1 && tasks.from.is_none() => {
                        error.fix(name.span, format!("{}: []", name.text), "declare a scalar")
                    }
                    _ => error,
                }
            }
        });
    }
}

fn is(field: &Field, name: &str) -> bool {
    field.path.len() == 1 && field.path[0].text == name
}

/// A family whose tasks are the clients of a data set.
fn of_clients(
    tasks: &Tasks,
    from: &Name,
    data: &DataSets,
    inputs: &Types,
    names: &Names,
    sink: &mut Sink,
) -> Option<CheckedFamily> {
    let of_strata = tasks.strata.iter().map(|s| &s.decls);
    let mut decls = [&tasks.decls, &tasks.episode, &tasks.example].into_iter().chain(of_strata).flatten();
    if let Some(span) = decls.next().map(|d| d.name.span) {
        sink.push(
            Diagnostic::error("E0502", span, "nothing is drawn for clients of a data set")
                .related(from.span, format!("the examples come from `{}`", from.text))
                .help("each client holds rows of the data: `x`, the features, and `y`, the class or number to be predicted"),
        );
    }
    let clients = clients(tasks, from, names, sink);
    let Some(set) = data.get(&from.text) else {
        let error = Diagnostic::error("E0215", from.span, format!("no `data` is called `{}`", from.text));
        let error = names.constants.elsewhere(error, from, data.keys().map(String::as_str));
        sink.push(error.help(format!("declare it: `data {} = csv(\"...\", features: 0..64, label: 64)`", from.text)));
        return None;
    };
    let rows = rows(tasks, names, sink)?;
    let (partition, hold_out, ways) = clients?;
    let set = set.as_ref()?;
    if set.reader.is_weights() {
        sink.push(
            Diagnostic::error("E0606", from.span, format!("`{}` holds parameters and no examples", from.text))
                .help("a model begins with them: `model net(..) -> [..] from NAME`"),
        );
        return None;
    }
    if matches!(partition, Partition::Owners { .. }) && !set.reader.has_owners() {
        let field = tasks.fields.iter().find(|f| is(f, "partition")).map_or(tasks.name.span, |f| f.value.span);
        sink.push(
            Diagnostic::error("E0612", field, format!("the examples of `{}` have no owners", from.text))
                .related(from.span, "this data set does not say whom an example belongs to")
                .help(
                    "name the column or field of the owner where the data is declared: `owner: 3`, `owner: \"school\"`",
                ),
        );
        return None;
    }
    // Where the file says its dims and the reader does not, the model's input does; loading compares the two.
    let features = match (inputs.get("x"), set.reader.features()) {
        (Some(dims), found) => {
            let dims = dims.clone()?;
            match found {
                Some(n) if matches!(set.reader, Reader::Csv { .. } | Reader::Table { .. }) => {
                    vec![Dim { name: None, size: n as usize }]
                }
                _ => dims,
            }
        }
        (None, Some(n)) => vec![Dim { name: None, size: n as usize }],
        (None, None) => vec![],
    };
    let field = tasks.fields.iter().find(|f| is(f, "turns"));
    let turns = turns(field, (ways, from.span), &features, names, sink)?;
    let example = Types::from([("x".to_owned(), Some(features)), ("y".to_owned(), Some(vec![]))]);
    let nothing = || sampler("all", &[], &Types::new(), names.constants, &mut Sink::new()).0;
    let strata = strata_of_clients(tasks, partition.clients(), names, sink)?;
    let strata = strata.into_iter().map(|(name, count)| Stratum { name, count, task: nothing() }).collect();
    let source = Clients { data: from.text.clone(), example: slots(&example), hold_out, partition, ways, rows, turns };
    let (name, source) = (tasks.name.text.clone(), Some(source));
    let plan = Family { name, strata, episode: nothing(), example: nothing(), risk: None, source };
    Some(CheckedFamily { plan, example, risk_is_wrong: false })
}

/// The strata of clients and how many each has, in the order of the clients: all of them where none is declared.
fn strata_of_clients(tasks: &Tasks, clients: u64, names: &Names, sink: &mut Sink) -> Option<Vec<(String, u64)>> {
    let Some(last) = tasks.strata.last() else { return Some(vec![("all".into(), clients)]) };
    let mut count = |s: &ast::Stratum| {
        names.constants.count(&s.count, 1, "the count of a stratum", sink).map(|count| (s.name.text.clone(), count))
    };
    let strata: Vec<(String, u64)> = tasks.strata.iter().map(&mut count).collect::<Option<_>>()?;
    let sum = strata.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
    if sum == clients {
        return Some(strata);
    }
    let message = format!("the strata of `{}` have {sum} tasks, and its partition makes {clients}", tasks.name.text);
    let error = Diagnostic::error("E0617", last.count.span, message);
    let partition = tasks.fields.iter().find(|f| is(f, "partition")).map(|f| f.value.span);
    let error = partition.into_iter().fold(error, |error, span| error.related(span, "these are the clients"));
    sink.push(error.help("every client belongs to one stratum: the first so many to the first one, and so on"));
    None
}

/// `examples = 0..300`: the part of the data set that is divided; `Some(None)` for all of it.
fn rows(tasks: &Tasks, names: &Names, sink: &mut Sink) -> Option<Option<Rows>> {
    let Some(field) = tasks.fields.iter().find(|f| is(f, "examples")) else { return Some(None) };
    let ExprKind::Range(first, end) = &field.value.kind else {
        if !matches!(field.value.kind, ExprKind::Error) {
            let error = Diagnostic::error("E0415", field.value.span, "`examples` must be a range of whole numbers");
            sink.push(error.help("the examples of the data set from one place to another: `examples = 0..300`"));
        }
        return None;
    };
    let (first, end) = names.range(first, end, field.value.span, sink)?;
    Some(Some(Rows { first, end }))
}

/// The partition, the share that is held out, and the number of classes of a visit.
fn clients(tasks: &Tasks, from: &Name, names: &Names, sink: &mut Sink) -> Option<(Partition, f64, Option<u64>)> {
    let given = |name: &str| tasks.fields.iter().find(|f| is(f, name));
    let ways = match given("ways") {
        Some(field) => Some(names.constants.count(&field.value, 2, "the number of ways", sink)?),
        None => None,
    };
    if let (Some(field), Some(_)) = (given("hold_out"), ways) {
        sink.push(
            Diagnostic::error("E0613", field.path_span(), "nothing is held out of tasks with `ways`")
                .label("every visit draws classes and examples of its own")
                .help(
                    "a test has classes of its own: a second `tasks` block with another range of `classes` or `owners`",
                ),
        );
        return None;
    }
    let mut required = |name: &str, what: &str, example: &str| {
        let found = tasks.fields.iter().find(|f| is(f, name));
        if found.is_none() {
            sink.push(
                Diagnostic::error(
                    "E0503",
                    tasks.name.span,
                    format!("`tasks {}` does not set `{name}`: {what}", tasks.name.text),
                )
                .related(from.span, "these tasks are made from data")
                .help(format!("for example `{example}`")),
            );
        }
        found.map(|f| &f.value)
    };
    let partition =
        required("partition", "which client holds which examples", "partition = shards(clients: 50, classes: 2)");
    let hold_out = match ways {
        Some(_) => None,
        None => {
            required("hold_out", "the share of each client's examples that only evaluations see", "hold_out = 0.25")
        }
    };
    let partition = partition.and_then(|expr| checked_partition(expr, names, sink));
    let checked = hold_out.and_then(|expr| {
        let share = names.constants.number(expr, sink)?;
        if (0.0..1.0).contains(&share) {
            return Some(share);
        }
        sink.push(
            Diagnostic::error("E0408", expr.span, format!("`hold_out` must be a share from 0 to below 1, not {share}"))
                .help("0.25 keeps a quarter of each client's examples for evaluation"),
        );
        None
    });
    let hold_out = if ways.is_some() { 0.0 } else { checked? };
    Some((partition?, hold_out, ways))
}

/// The partition, which names nothing twice, and whose groups, if it has some, take in every class.
fn checked_partition(expr: &Expr, names: &Names, sink: &mut Sink) -> Option<Partition> {
    let call = names.call(Kind::Partition, expr, sink)?;
    let partition = Partition::from_args(call.entry.name, &call.args);
    if let Some(twice) = partition.twice() {
        let error = Diagnostic::error("E0618", expr.span, format!("{twice} is named twice"));
        sink.push(
            error.help("an example belongs to one client; ranges end before their second number: `[0..4, 4..7]`"),
        );
        return None;
    }
    let Partition::ClassGroups { size, .. } = partition else { return Some(partition) };
    let (classes, left) = (partition.named(), partition.named() % size);
    if left == 0 {
        return Some(partition);
    }
    let over = if left == 1 { "is left over" } else { "are left over" };
    let message = format!("{classes} classes are no groups of {size}: {left} {over}");
    let error = Diagnostic::error("E0616", expr.span, message);
    sink.push(match partition {
        Partition::ClassGroups { first, end, further, .. } if further.is_empty() && classes > left => {
            error.help(format!("for example `{first}..{}`", end - left))
        }
        _ if classes > left => error.help(format!("name {left} fewer, or {} more", size - left)),
        _ => error.help("groups are at most as large as the range"),
    });
    None
}

fn risk(tasks: &Tasks, latents: &Types, params: &Types, constants: &Constants, sink: &mut Sink) -> Option<Function> {
    let field = tasks.fields.iter().find(|f| is(f, "risk"))?;
    let mut known = latents.clone();
    known.extend(params.iter().map(|(n, d)| (n.clone(), d.clone())));
    let mut writer = Writer::new(
        constants,
        &known,
        Some(
            "a risk is an expectation, worked out by hand: only parameters, the world and the task's variables stand in it",
        ),
    );
    let value = writer.expr(&field.value, sink)?;
    if !value.dims.is_empty() {
        sink.push(
            Diagnostic::error("E0308", field.value.span, "a risk must be a scalar")
                .label(format!("this is {}", describe(&value.dims)))
                .help("reduce it with `sum` or `mean`"),
        );
        return None;
    }
    Some(writer.into_function("risk", vec![("risk".into(), value.node)]))
}
