//! Parameters, groups and strata chosen by name: `w`, `[B, w]`, `all`.

use super::calls::Names;
use crate::catalog::{StratumWeight, Weights};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::Addition;
use crate::syntax::ast::{Expr, ExprKind, Name};

impl Names<'_> {
    /// `w`, `head`, `[B, w]`, `encoder.query`, `"encoder.*.query"`, `all` or `[]`: the parameters named, in the model's order.
    pub fn groups(&self, expr: &Expr, sink: &mut Sink) -> Option<Vec<String>> {
        let items = if let ExprKind::List(items) = &expr.kind { items.as_slice() } else { std::slice::from_ref(expr) };
        let mut chosen = vec![false; self.params.len()];
        let mut fine = true;
        for item in items {
            let Some(name) = group_name(item) else {
                fine = false;
                if !matches!(item.kind, ExprKind::Error) {
                    sink.push(
                        Diagnostic::error("E0410", item.span, "parameters or groups of the model are wanted here")
                            .help("for example `w`, `[B, w]`, `encoder.query`, `\"encoder.*.query\"` or `all`"),
                    );
                }
                continue;
            };
            let means: Vec<bool> = self.params.iter().map(|param| means(&name.text, param)).collect();
            if !means.contains(&true) {
                fine = false;
                sink.push(self.no_group(&name));
            }
            chosen.iter_mut().zip(means).for_each(|(chosen, means)| *chosen |= means);
        }
        let params = self.params.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        fine.then(|| params.map(|((param, _), _)| param.clone()).collect())
    }

    /// `lora` or `[lora, personal]`: the added groups named.
    pub fn added_groups(&self, expr: &Expr, sink: &mut Sink) -> Option<Vec<String>> {
        let names = names_of(expr, "groups that `with` adds are wanted here", "`lora`", sink)?;
        let can_go = |group: &&Addition| !group.compose.outputs.is_empty();
        let known = || self.added.iter().filter(can_go);
        let unknown = |name: &&Name| !known().any(|group| group.name == name.text);
        let unknown: Vec<&Name> = names.iter().filter(|name| unknown(name)).copied().collect();
        for name in &unknown {
            let there = self.added.iter().any(|group| group.name == name.text);
            let error = match there {
                true => Diagnostic::error("E0228", name.span, format!("`{}` cannot be left out", name.text))
                    .help("only a group that changes parameters can: without it they are used as they are"),
                false => Diagnostic::error("E0228", name.span, format!("`with` adds no group `{}`", name.text))
                    .help("what is declared in the model cannot be left out of it"),
            };
            sink.push(match there {
                true => error,
                false => self.constants.elsewhere(error, name, known().map(|group| group.name.as_str())),
            });
        }
        unknown.is_empty().then(|| names.iter().map(|n| n.text.clone()).collect())
    }

    fn no_group(&self, name: &Name) -> Diagnostic {
        let mut known: Vec<&str> = vec![];
        for (param, group) in self.params {
            let new = group.as_deref().filter(|group| !known.contains(group));
            known.extend(new);
            known.push(param);
        }
        known.push("all");
        let error =
            Diagnostic::error("E0211", name.span, format!("the model has no parameter or group `{}`", name.text));
        self.constants.elsewhere(error, name, known)
    }

    /// The strata named, which the family must have; without a family, any may be named.
    pub fn strata(&self, expr: &Expr, family: Option<&str>, sink: &mut Sink) -> Option<Vec<String>> {
        let names = names_of(expr, "strata are wanted here", "`easy` or `[easy, hard]`", sink)?;
        if names.is_empty() {
            sink.push(
                Diagnostic::error("E0416", expr.span, "no stratum is chosen")
                    .help("leave the argument out to choose all of them"),
            );
            return None;
        }
        self.are_strata(names.iter().copied(), family, sink).then(|| names.iter().map(|n| n.text.clone()).collect())
    }

    /// `{ easy: 1, hard: 3 }`: strata with their weights.
    pub fn weights(&self, expr: &Expr, family: Option<&str>, sink: &mut Sink) -> Option<Weights> {
        let ExprKind::Record(entries) = &expr.kind else { return None };
        let known = self.are_strata(entries.iter().map(|(name, _)| name), family, sink);
        let weight = |(name, value): &(Name, Expr)| {
            let weight = self.constants.number(value, sink)?;
            if weight <= 0.0 {
                let message = format!("the weight of `{}` must be above 0, not {weight}", name.text);
                sink.push(Diagnostic::error("E0408", value.span, message));
                return None;
            }
            Some(StratumWeight { name: name.text.clone(), weight })
        };
        let of: Vec<Option<StratumWeight>> = entries.iter().map(weight).collect();
        let of: Vec<StratumWeight> = of.into_iter().collect::<Option<_>>()?;
        known.then_some(Weights::Strata { of })
    }

    /// Whether all these are strata of the family, or of any; reports those that are not.
    fn are_strata<'n>(&self, names: impl Iterator<Item = &'n Name>, family: Option<&str>, sink: &mut Sink) -> bool {
        let families = self.families.iter().filter(|(name, _)| family.is_none_or(|f| f == name));
        let known: Vec<&str> = families.flat_map(|(_, strata)| strata.iter().map(String::as_str)).collect();
        let mut fine = true;
        for name in names.filter(|name| !known.contains(&name.text.as_str())) {
            fine = false;
            let whose = family.map(|family| format!("`{family}` has no stratum `{}`", name.text));
            let error = Diagnostic::error(
                "E0212",
                name.span,
                whose.unwrap_or_else(|| format!("no stratum is called `{}`", name.text)),
            );
            sink.push(self.constants.elsewhere(error, name, known.iter().copied()));
        }
        fine
    }
}

/// The name of parameters that an expression is: a path, or a text with `*`.
fn group_name(expr: &Expr) -> Option<Name> {
    match &expr.kind {
        ExprKind::Path(path) => {
            let words: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
            Some(Name { text: words.join("."), span: expr.span })
        }
        ExprKind::Text(text) => Some(Name { text: text.clone(), span: expr.span }),
        _ => None,
    }
}

/// Whether a name means a parameter: its own, that of its group or of a layer it is part of, or with `*` for any words.
fn means(name: &str, (param, group): &(String, Option<String>)) -> bool {
    let of_layer = || param.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    name == "all"
        || group.as_deref() == Some(name)
        || name == param
        || of_layer()
        || name.contains('*') && matches(name, param)
}

/// Whether a pattern, in which `*` stands for any characters, describes a text or what of it stands before a dot.
fn matches(pattern: &str, text: &str) -> bool {
    let ends = text.match_indices('.').map(|(at, _)| at).chain([text.len()]);
    let mut starts = vec![0];
    for (i, piece) in pattern.split('*').enumerate() {
        let after = |from: &usize| match i {
            0 => text.starts_with(piece).then_some(piece.len()).into_iter().collect(),
            _ => (*from..=text.len() - piece.len().min(text.len()))
                .filter(|&at| text.is_char_boundary(at) && text[at..].starts_with(piece))
                .map(|at| at + piece.len())
                .collect::<Vec<usize>>(),
        };
        let mut next: Vec<usize> = starts.iter().flat_map(after).collect();
        next.sort_unstable();
        next.dedup();
        starts = next;
    }
    ends.into_iter().any(|end| starts.contains(&end))
}

/// `a` or `[a, b]`
fn names_of<'e>(expr: &'e Expr, wanted: &str, example: &str, sink: &mut Sink) -> Option<Vec<&'e Name>> {
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let mut wrong =
        |span: Span| sink.push(Diagnostic::error("E0410", span, wanted).help(format!("for example {example}")));
    let names: Vec<Option<&Name>> = items.iter().map(Expr::single).collect();
    for (item, name) in items.iter().zip(&names) {
        if name.is_none() && !matches!(item.kind, ExprKind::Error) {
            wrong(item.span);
        }
    }
    names.into_iter().collect()
}
