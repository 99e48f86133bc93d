//! What formulas of a section see: the variables of an example, the model, and the support set where the model reads it.

use super::adaptation::is_in_context;
use super::added::Whole;
use super::arm::Checked;
use super::calls::Names;
use super::dims::{Dim, Types, describe};
use super::family::CheckedFamily;
use super::fields::Fields;
use super::function::{Callable, is_mask};
use super::model::{CheckedModel, inside};
use super::writer::Writer;
use crate::catalog::Loss;
use crate::diag::{Diagnostic, Sink};
use crate::ir::Function;
use crate::syntax::ast::{Expr, Name};

/// What the name of a variable of all support examples begins with.
const SUPPORT: &str = "support_";

/// The tasks and the model of a section, and what it sees of the support set.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub family: &'a CheckedFamily,
    pub whole: &'a Whole,
    pub checked: &'a Checked,
    pub names: &'a Names<'a>,
    /// The number of support examples, where the model reads them all.
    pub support: Option<u64>,
}

impl Seen<'_> {
    /// The type of a variable that the model or a formula can read; `Some(None)` where its declaration is wrong.
    pub fn variable(&self, name: &str) -> Option<Option<Vec<Dim>>> {
        if let Some(dims) = self.family.example.get(name) {
            return Some(dims.clone());
        }
        let (size, dims) = (self.support?, self.family.example.get(name.strip_prefix(SUPPORT)?)?);
        let of_all = |dims: &Vec<Dim>| [&[Dim { name: None, size: size as usize }], dims.as_slice()].concat();
        Some(dims.as_ref().map(of_all))
    }

    /// What a formula of one example can name: parameters, the example's variables and, where the model reads the support
    /// set, those of all support examples.
    fn known(&self) -> Types {
        let mut known = self.whole.types.clone();
        let own = self.family.example.keys();
        let names = own.clone().cloned().chain(own.map(|name| format!("{SUPPORT}{name}")));
        known.extend(names.filter_map(|name| Some((name.clone(), self.variable(&name)?))));
        known
    }

    /// A value that the model names by `let`; refused where an added group changes what the model computes it from.
    fn inside(&self, name: &Name) -> Option<Result<Callable, Box<Diagnostic>>> {
        let CheckedModel { plan, inputs, .. } = &self.checked.model;
        let (output, program) = inside(&self.checked.items, name, self.names.constants)?;
        if let Some(changed) = &self.whole.changed {
            let (group, model) = (&changed.group, &plan.as_ref()?.name);
            let call = format!("{model}({})", inputs.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
            let error =
                Diagnostic::error("E0566", name.span, format!("`{}` cannot be read beside a `{group}`", name.text))
                    .related(changed.span, format!("with this, the model goes on from another `{}`", changed.value))
                    .help(format!("the prediction can be read, and has the `{group}` in it: `{call}`"))
                    .help(format!("a formula of inputs and parameters leaves the `{group}` out"));
            return Some(Err(Box::new(error)));
        }
        let dropout = &plan.as_ref()?.dropout;
        // Of a value that the prediction does not read, nothing is dropped.
        let drawn = |input: &str| !is_mask(input) || dropout.iter().any(|mask| mask.name == input);
        let complete = program.inputs.iter().all(|port| drawn(&port.name));
        complete.then(|| Ok(Callable { name: name.text.clone(), inputs: Types::new(), output, program }))
    }

    /// A formula of one example, with its dims.
    pub fn formula(&self, expr: &Expr, reason: &'static str, sink: &mut Sink) -> Option<(Vec<Dim>, Function)> {
        let known = self.known();
        let model = self.whole.callable.as_ref()?;
        let inside = |name: &Name| self.inside(name);
        let mut writer = Writer::new(self.names.constants, &known, Some(reason)).calling(model).reading(&inside);
        let value = writer.expr(expr, sink)?;
        Some((value.dims, writer.into_function("loss", vec![("value".into(), value.node)])))
    }

    /// The program of a loss or metric: a scalar from parameters and the example's variables.
    pub fn loss(&self, expr: &Expr, sink: &mut Sink) -> Option<Loss> {
        let reason = "a loss is computed from examples; what is random belongs into `tasks`";
        let (dims, function) = self.formula(expr, reason, sink)?;
        if !dims.is_empty() {
            sink.push(
                Diagnostic::error("E0308", expr.span, "the loss of one example must be a scalar")
                    .label(format!("this is {}", describe(&dims)))
                    .help("reduce it with `sum` or `mean`"),
            );
            return None;
        }
        Some(Loss::Expression { function })
    }

    /// The model reads the support set exactly where `adapt` says so, and its size is a fixed number.
    pub fn check_context(&self, fields: &Fields, sink: &mut Sink) -> Option<()> {
        let adapt = fields.get("adapt").map(|field| &field.value);
        let in_context = adapt.is_some_and(is_in_context);
        let of_support = |input: &&String| {
            let variable = input.strip_prefix(SUPPORT).is_some_and(|name| self.family.example.contains_key(name));
            variable && !self.family.example.contains_key(*input)
        };
        let reading = self.checked.model.inputs.keys().find(of_support);
        let at = fields.span("adapt");
        let error = match (in_context, reading) {
            (true, None) => {
                Diagnostic::error("E0561", at, "the model reads no support set, and nothing else adapts it")
                    .help("an input such as `support_x: [n, d]` is the variable `x` of all `n` support examples")
            }
            (false, Some(name)) => {
                Diagnostic::error("E0561", at, "the model reads the support set, and adapts otherwise")
                    .related(self.checked.input_span(name), "this is a variable of all support examples")
                    .help("write `adapt = in_context`")
            }
            (true, Some(_)) if self.support == Some(0) => {
                Diagnostic::error("E0561", at, "the model reads the support set, which has no fixed size here")
                    .help("say it: `split = { support: 10, query: 10 }`")
            }
            _ => return Some(()),
        };
        sink.push(error);
        None
    }
}
