//! `method = maml(on: w, rate: 0.1)`: a name for some settings, which stand for it before anything is checked.
//!
//! A method is declared in the file or in the standard library, which is itself a few files of this language. Settings
//! that the section states itself come before those of its method, and those before the ones of a method that it builds upon.
//! An evaluation takes of a method how tasks adapt, and leaves what is for training alone.

use std::sync::LazyLock;

use super::fields::is_for_training;
use super::rewrite::{bind, place, substitute};
use crate::diag::{Diagnostic, Sink};
use crate::syntax::ast::{Arg, Expr, ExprKind, Field, Item, ItemKind, Method, Name, Section};
use crate::syntax::parse;

/// The standard library.
const LIBRARY: [&str; 3] =
    [include_str!("../std/meta.meta"), include_str!("../std/fed.meta"), include_str!("../std/peft.meta")];

/// The most methods that build upon each other.
const MAX_DEPTH: usize = 16;

/// The items with every method replaced by its settings.
pub(super) fn expand(items: &[Item], sink: &mut Sink) -> Vec<Item> {
    let mut items = items.to_vec();
    let uses = |item: &Item| matches!(&item.kind, ItemKind::Section(section) if method_of(section).is_some());
    if !items.iter().any(uses) {
        return items;
    }
    let own = methods(&items);
    let methods = Methods { own, library: library() };
    for item in &mut items {
        if let ItemKind::Section(section) = &mut item.kind {
            methods.apply(section, sink);
        }
    }
    items
}

/// The methods of the standard library, read once.
fn library() -> &'static [Method] {
    static METHODS: LazyLock<Vec<Method>> =
        LazyLock::new(|| LIBRARY.iter().flat_map(|text| methods(&parse(text, &mut Sink::new()).items)).collect());
    &METHODS
}

fn methods(items: &[Item]) -> Vec<Method> {
    items.iter().filter_map(|i| if let ItemKind::Method(m) = &i.kind { Some(m.clone()) } else { None }).collect()
}

/// The place of the setting `method`.
fn method_of(section: &Section) -> Option<usize> {
    section.fields.iter().position(|f| matches!(f.path.as_slice(), [name] if name.text == "method"))
}

/// The methods that a file can use.
struct Methods {
    own: Vec<Method>,
    library: &'static [Method],
}

impl Methods {
    /// Replaces the method of a section by its settings.
    fn apply(&self, section: &mut Section, sink: &mut Sink) {
        for depth in 0.. {
            let Some(position) = method_of(section) else { return };
            let field = section.fields.remove(position);
            let settings = if depth < MAX_DEPTH { self.settings(&field.value, sink) } else { None };
            if depth == MAX_DEPTH {
                let message = format!("methods build upon each other more than {MAX_DEPTH} times");
                sink.push(
                    Diagnostic::error("E0231", field.value.span, message).help("does one of them build upon itself?"),
                );
            }
            for new in settings.unwrap_or_else(|| unknown(section, &field)) {
                let stated = |f: &Field| f.path.len() == 1 && f.path[0].text == new.path[0].text;
                if !section.fields.iter().any(stated) && !is_for_training(&new.path[0].text, section) {
                    section.fields.push(new);
                }
            }
        }
    }

    /// The settings that a call of a method stands for.
    fn settings(&self, call: &Expr, sink: &mut Sink) -> Option<Vec<Field>> {
        let (callee, args): (&Name, &[Arg]) = match &call.kind {
            ExprKind::Path(path) if path.len() == 1 => (&path[0], &[]),
            ExprKind::Call { callee, args } => (callee, args),
            ExprKind::Error => return None,
            _ => {
                let error = Diagnostic::error("E0229", call.span, "a method is wanted here");
                sink.push(error.help("for example `method = maml(on: all, rate: 0.1)`"));
                return None;
            }
        };
        let named = |method: &&Method| method.name.text == callee.text;
        let own = self.own.iter().find(named);
        let Some(method) = own.or_else(|| self.library.iter().find(named)) else {
            let known = self.own.iter().chain(self.library).map(|m| m.name.text.as_str());
            sink.push(
                Diagnostic::error("E0229", callee.span, format!("no method is called `{}`", callee.text)).suggest(
                    callee.span,
                    &callee.text,
                    known,
                ),
            );
            return None;
        };
        let values = bind(&method.name.text, &method.params, args, call.span, sink)?;
        let value = |field: &Field| {
            let mut value = field.value.clone();
            // What stands in the library has no place in the file: the call is its place.
            if own.is_none() {
                place(&mut value, call.span);
            }
            substitute(&mut value, &values);
            value
        };
        let moved = |name: &Name| Name { span: if own.is_none() { call.span } else { name.span }, ..name.clone() };
        let fields = method
            .fields
            .iter()
            .map(|field| Field { path: field.path.iter().map(moved).collect(), value: value(field) });
        Some(fields.collect())
    }
}

/// What a method that has a mistake may set: fields that are there, so that none is reported as missing.
fn unknown(section: &Section, field: &Field) -> Vec<Field> {
    let span = field.value.span;
    let names: &[&str] = if section.keyword.text == "evaluate" { &["adapt"] } else { &["adapt", "outer"] };
    let set = |name: &&str| Field {
        path: vec![Name { text: (*name).to_owned(), span }],
        value: Expr { kind: ExprKind::Error, span },
    };
    names.iter().map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::{LIBRARY, library};
    use crate::diag::{Sink, render};
    use crate::syntax::parse;

    #[test]
    fn the_library_has_no_mistakes_and_no_name_twice() {
        for text in LIBRARY {
            let mut sink = Sink::new();
            parse(text, &mut sink);
            let diagnostics = sink.finish();
            assert!(diagnostics.is_empty(), "{}", render(text, "std", &diagnostics, false));
        }
        let mut names: Vec<&str> = library().iter().map(|m| m.name.text.as_str()).collect();
        assert!(names.len() >= 20);
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
