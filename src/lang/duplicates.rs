//! Names that are defined twice where one meaning is wanted, and names that cannot be defined.

use std::collections::HashMap;

use crate::diag::{Diagnostic, Sink};
use crate::syntax::ast::{Item, ItemKind, Name};

/// Words that stand for something everywhere.
pub(super) const RESERVED: [(&str, &str); 4] = [
    ("pi", "it is the circle's constant"),
    ("index", "it counts the tasks of a stratum"),
    ("all", "it stands for every parameter of the model"),
    ("last", "it stands for the last step in a claim"),
];

/// Reports names that are defined twice in one scope, and words that cannot be defined. The first `imported` items come from
/// other files: theirs are the first definitions.
pub(super) fn duplicates(items: &[Item], imported: usize, sink: &mut Sink) {
    // Imported texts lie behind the experiment's own.
    let border = items[..imported].iter().map(|item| item.span.start).min().unwrap_or(usize::MAX);
    let from_elsewhere = |name: &Name| name.span.start >= border;
    let mut values: Vec<&Name> = vec![];
    let mut blocks: Vec<(&str, &Name)> = vec![];
    let mut scopes: Vec<Vec<&Name>> = vec![];
    // A function sees constants and nothing else.
    let (mut constants, mut functions): (Vec<&Name>, Vec<Vec<&Name>>) = (vec![], vec![]);
    // Names that are apart from all others: the strata of one family, the parameters of one method.
    let mut strata: Vec<Vec<&Name>> = vec![];
    for item in items {
        match &item.kind {
            ItemKind::Dim { name, .. } | ItemKind::Let { name, .. } => {
                values.push(name);
                constants.push(name);
            }
            ItemKind::World { decls } => values.extend(decls.iter().map(|d| &d.name)),
            ItemKind::Data { name, .. } => blocks.push(("data", name)),
            ItemKind::Model(model) => {
                values.extend(model.params.iter().map(|p| &p.decl.name));
                scopes.push(model.inputs.iter().map(|(n, _)| n).chain(model.lets.iter().map(|d| &d.name)).collect());
                // Parameters and groups are chosen by name, from one list.
                let mut groups: Vec<&Name> = vec![];
                for group in model.params.iter().filter_map(|p| p.group.as_ref()) {
                    if !groups.iter().any(|g| g.text == group.text) {
                        groups.push(group);
                    }
                }
                scopes.push(groups);
            }
            ItemKind::Layer(layer) => {
                let own = layer.model.lets.iter().map(|d| &d.name);
                let params = layer.model.params.iter().map(|p| &p.decl.name);
                blocks.push(("layer", &layer.model.name));
                functions.push(layer.takes.iter().map(|(n, _)| n).chain(own).chain(params).collect());
            }
            ItemKind::Function(function) => {
                blocks.push(("fn", &function.name));
                functions.push(
                    function.inputs.iter().map(|(n, _)| n).chain(function.lets.iter().map(|d| &d.name)).collect(),
                );
            }
            ItemKind::Tasks(tasks) => {
                blocks.push(("tasks", &tasks.name));
                let common = || tasks.decls.iter().chain(&tasks.episode).chain(&tasks.example).map(|d| &d.name);
                scopes.push(common().collect());
                // Strata are alternatives: each is compared with the common declarations, not with the others.
                scopes.extend(tasks.strata.iter().map(|s| s.decls.iter().map(|d| &d.name).chain(common()).collect()));
                strata.push(tasks.strata.iter().map(|s| &s.name).collect());
            }
            ItemKind::Section(section) => {
                blocks.extend(section.name.as_ref().map(|n| (section.keyword.text.as_str(), n)))
            }
            ItemKind::Arm { name, .. } => blocks.push(("arm", name)),
            ItemKind::Method(method) => {
                blocks.push(("method", &method.name));
                strata.push(method.params.iter().map(|(name, _)| name).collect());
            }
            ItemKind::Measure { name, .. } => blocks.push(("measure", name)),
            ItemKind::Sweep { .. } | ItemKind::Expect { .. } => {}
        }
    }
    scope(&values, sink);
    let scopes = scopes.into_iter().map(|own| (&values, own)).chain(functions.into_iter().map(|own| (&constants, own)));
    for (around, own) in scopes {
        let mut names: Vec<&Name> = around.iter().copied().chain(own).collect();
        names.sort_by_key(|n| (!from_elsewhere(n), n.span));
        scope(&names, sink);
    }
    strata.iter().for_each(|names| scope(names, sink));
    for (i, (kind, name)) in blocks.iter().enumerate() {
        if let Some((_, first)) = blocks[..i].iter().find(|(k, n)| k == kind && n.text == name.text) {
            sink.push(twice(name, first));
        }
    }
}

fn scope(names: &[&Name], sink: &mut Sink) {
    let mut seen: HashMap<&str, &Name> = HashMap::new();
    for name in names {
        if let Some((_, meaning)) = RESERVED.iter().find(|(word, _)| *word == name.text) {
            let message = format!("`{}` has a meaning of its own and cannot be defined", name.text);
            sink.push(Diagnostic::error("E0222", name.span, message).label(*meaning).help("choose another name"));
        } else if let Some(first) = seen.get(name.text.as_str()) {
            sink.push(twice(name, first));
        } else {
            seen.insert(&name.text, name);
        }
    }
}

fn twice(name: &Name, first: &Name) -> Diagnostic {
    Diagnostic::error("E0221", name.span, format!("`{}` is defined twice", name.text))
        .related(first.span, "first defined here")
        .help("each name has one meaning; choose another for one of them")
}
