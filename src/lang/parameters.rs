//! Everything in an experiment that an override can replace: what `--set`, an arm or a sweep can name.

use super::overrides::kind_of;
use crate::catalog::{self, Initial};
use crate::syntax::ast::{Arg, Expr, ExprKind, Field, File, ItemKind};

/// A value that an override can replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The path that names it.
    pub path: String,
    /// Its value as it is written, or the default where it is not.
    pub value: String,
    /// Whether the value is written in the file.
    pub written: bool,
    /// What can stand there, in words.
    pub ty: String,
}

/// All of them, in the order of the file. `text` is what the tree was read from.
pub fn parameters(file: &File, text: &str) -> Vec<Parameter> {
    let mut listing = Listing { text, found: vec![] };
    for item in &file.items {
        match &item.kind {
            ItemKind::Dim { name, value } => listing.written(&name.text, value, "the size of a dim"),
            ItemKind::Let { name, value } => listing.written(&name.text, value, "a number"),
            ItemKind::Section(section) => {
                let block = match &section.name {
                    Some(name) => format!("{}.{}", section.keyword.text, name.text),
                    None => section.keyword.text.clone(),
                };
                section.fields.iter().for_each(|field| listing.field(&block, field));
            }
            ItemKind::Tasks(tasks) => {
                let block = format!("tasks.{}", tasks.name.text);
                tasks.fields.iter().filter(|f| !is_named(f, "risk")).for_each(|field| listing.field(&block, field));
            }
            _ => {}
        }
    }
    listing.found
}

fn is_named(field: &Field, name: &str) -> bool {
    field.path.iter().map(|n| n.text.as_str()).eq([name])
}

struct Listing<'t> {
    text: &'t str,
    found: Vec<Parameter>,
}

impl Listing<'_> {
    fn written(&mut self, path: &str, value: &Expr, ty: impl Into<String>) {
        let value = self.text[value.span.start..value.span.end].split_whitespace().collect::<Vec<_>>().join(" ");
        self.found.push(Parameter { path: path.to_owned(), value, written: true, ty: ty.into() });
    }

    /// A field, and the arguments of the call that it holds.
    fn field(&mut self, block: &str, field: &Field) {
        let [name] = field.path.as_slice() else { return };
        let path = format!("{block}.{}", name.text);
        let kind = kind_of(&name.text);
        let ty = kind.map_or_else(|| described(&name.text).to_owned(), |kind| kind.describe().to_owned());
        self.written(&path, &field.value, ty);
        let (callee, args) = match &field.value.kind {
            ExprKind::Record(entries) => {
                for (key, value) in entries {
                    self.written(&format!("{path}.{}", key.text), value, "a whole number");
                }
                return;
            }
            ExprKind::Call { callee, args } => (callee, args.as_slice()),
            ExprKind::Path(names) if names.len() == 1 => (&names[0], [].as_slice()),
            _ => return,
        };
        let Some(entry) = kind.and_then(|kind| catalog::find(kind, &callee.text)) else { return };
        for (place, param) in entry.params.iter().enumerate() {
            let path = format!("{path}.{}", param.name);
            let ty = format!("{}: {}", param.ty.describe(), param.doc);
            match argument(args, place, param.name) {
                Some(value) => self.written(&path, value, ty),
                None => self.found.push(Parameter { path, value: default(param.initial), written: false, ty }),
            }
        }
    }
}

/// The argument with that key, or without a key at that place.
fn argument<'a>(args: &'a [Arg], place: usize, name: &str) -> Option<&'a Expr> {
    let keyed = args.iter().find(|a| a.key.as_ref().is_some_and(|k| k.text == name));
    keyed.or_else(|| args.get(place).filter(|a| a.key.is_none())).map(|a| &a.value)
}

fn default(initial: Initial) -> String {
    match initial {
        Initial::Required | Initial::Absent => "-".into(),
        Initial::Real(x) => x.to_string(),
        Initial::Word(word) => word.into(),
        Initial::Bool(b) => b.to_string(),
        Initial::Text(text) => format!("{text:?}"),
    }
}

/// The fields that no entry of the catalog fills.
fn described(field: &str) -> &'static str {
    match field {
        "split" => "the examples of a task: `{ support: .., query: .. }`",
        "keep" | "freeze" | "reset" => "parameters or groups of the model",
        "method" => "a method of the library or of this file",
        "through" => "one of exact, first_order, stop, difference",
        "precision" => "one of f32, f64",
        "after" => "a number of steps or epochs of the adaptation, or a list of such",
        "query" => "one of own, others, all, or a list of such",
        "interpolate" => "a share from 0 to 1, or a list of such",
        "examples" => "a range of whole numbers",
        "hold_out" => "a share from 0 to below 1",
        "steps" | "episodes" | "ways" => "a whole number",
        _ => "a value",
    }
}
