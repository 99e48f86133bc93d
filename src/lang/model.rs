//! The model: parameters with their initial values, and the prediction for one example.

use super::constant::Constants;
use super::dims::{Dim, Types, describe, read_dims, same, same_sizes, sizes, slots};
use super::function::Callable;
use super::layers;
use super::sampler::sampler;
use super::writer::{Typed, Writer};
use crate::diag::{Diagnostic, Sink};
use crate::ir::Function;
use crate::plan::{Dropout, Model as PlanModel};
use crate::syntax::ast::{Decl, Expr, ExprKind, Item, ItemKind, Model, Name};

/// A model with the types of what it reads and gives.
pub(super) struct CheckedModel {
    /// `None` where the model has a mistake, which has been reported.
    pub plan: Option<PlanModel>,
    pub params: Types,
    pub inputs: Types,
    pub output: Option<Vec<Dim>>,
}

impl CheckedModel {
    /// The model as a function of its inputs.
    pub fn callable(&self) -> Option<Callable> {
        let plan = self.plan.as_ref()?;
        let output = self.output.clone()?;
        Some(Callable { name: plan.name.clone(), inputs: self.inputs.clone(), output, program: plan.forward.clone() })
    }
}

/// The parameters of the model and their types, before anything else of it is checked.
pub(super) fn param_types(model: &Model, constants: &Constants, sink: &mut Sink) -> Types {
    let mut types = Types::new();
    for param in &model.params {
        let dims = param.decl.dims.as_ref().and_then(|dims| read_dims(dims, constants, sink));
        types.insert(param.decl.name.text.clone(), dims);
    }
    types
}

/// The inputs of the model and their types. What is wrong with them is reported when the model is checked.
pub(super) fn input_types(model: &Model, constants: &Constants) -> Types {
    let read = |dims| read_dims(dims, constants, &mut Sink::new());
    model.inputs.iter().map(|(name, dims)| (name.text.clone(), read(dims))).collect()
}

/// Checks the model. Initial values may read the world.
pub(super) fn model(
    model: &Model,
    world: &Types,
    params: Types,
    constants: &Constants,
    sink: &mut Sink,
) -> CheckedModel {
    let decls: Vec<&Decl> = model.params.iter().map(|p| &p.decl).filter(|d| d.dims.is_some()).collect();
    let (init, _) = sampler("init", &decls, world, constants, sink);
    let mut inputs = Types::new();
    for (name, dims) in &model.inputs {
        inputs.insert(name.text.clone(), read_dims(dims, constants, sink));
    }
    let output = read_dims(&model.output, constants, sink);
    let mut known = params.clone();
    known.extend(inputs.iter().map(|(n, d)| (n.clone(), d.clone())));
    let forward = body(model, &PREDICTION, &known, output.as_deref(), constants, sink);
    if model.params.is_empty() {
        sink.push(
            Diagnostic::error(
                "E0539",
                model.name.span,
                format!("model `{}` has no parameters, so nothing can be learned", model.name.text),
            )
            .help("declare one: `param w: [d] = 0`"),
        );
    }
    let plan = forward.map(|(forward, dropout)| PlanModel {
        name: model.name.text.clone(),
        params: slots(&params),
        init,
        forward,
        added: vec![],
        weights: model.from.as_ref().map(|name| name.text.clone()),
        dropout,
    });
    CheckedModel { plan, params, inputs, output }
}

/// The model of an experiment with its layers written out; what is wrong with it is reported when it is checked.
pub(super) fn model_of(items: &[Item], constants: &Constants) -> Option<Model> {
    let found = items.iter().find_map(|item| if let ItemKind::Model(model) = &item.kind { Some(model) } else { None });
    Some(layers::expand(found?, items, constants, &mut Sink::new()))
}

/// What the prediction can read: parameters and inputs.
pub(super) fn known(model: &Model, constants: &Constants) -> Types {
    let mut known = param_types(model, constants, &mut Sink::new());
    known.extend(input_types(model, constants));
    known
}

/// A value that the model of an experiment names by `let`: its type, and its program without what it does not read.
pub(super) fn inside(items: &[Item], name: &Name, constants: &Constants) -> Option<(Vec<Dim>, Function)> {
    let model = model_of(items, constants)?;
    model.lets.iter().find(|decl| decl.name.text == name.text)?;
    let (dims, program) = named_value(&model, name, &known(&model, constants), constants, &mut Sink::new())?;
    Some((dims, program.without_unread(|_| false)))
}

/// A value that the model names by `let`, from parameters and inputs: its type and its program.
pub(super) fn named_value(
    model: &Model,
    name: &Name,
    known: &Types,
    constants: &Constants,
    sink: &mut Sink,
) -> Option<(Vec<Dim>, Function)> {
    let mut writer = Writer::new(constants, known, Some(PREDICTION.no_draws)).masking();
    for decl in &model.lets {
        writer.declare(decl, sink);
        if decl.name.text == name.text {
            break;
        }
    }
    let value = writer.expr(&Expr { kind: ExprKind::Path(vec![name.clone()]), span: name.span }, sink)?;
    Some((value.dims, writer.into_function(&name.text, vec![(name.text.clone(), value.node)])))
}

/// What the prediction of a model is.
pub(super) const PREDICTION: Body = Body {
    value: "prediction",
    no_draws: "a model is a function of its inputs and parameters; what is random belongs into `tasks`",
    drops: true,
};

/// How messages call the value of a block, and why nothing can be drawn in it.
pub(super) struct Body {
    pub value: &'static str,
    pub no_draws: &'static str,
    /// Whether values can be dropped in it.
    pub drops: bool,
}

/// The program of a model or a function, from the values it may read.
pub(super) fn body(
    model: &Model,
    what: &Body,
    known: &Types,
    output: Option<&[Dim]>,
    constants: &Constants,
    sink: &mut Sink,
) -> Option<(Function, Vec<Dropout>)> {
    let writer = Writer::new(constants, known, Some(what.no_draws));
    let mut writer = if what.drops { writer.masking() } else { writer };
    for decl in &model.lets {
        writer.declare(decl, sink);
    }
    if matches!(model.body.kind, ExprKind::Error) {
        return None;
    }
    let body = writer.expr(&model.body, sink)?;
    let output = output?;
    let body = match body.dims.as_slice() {
        [] => Typed { node: writer.b.expand(body.node, &sizes(output)), dims: output.to_vec() },
        _ => body,
    };
    if !same(&body.dims, output) {
        let error = Diagnostic::error(
            "E0301",
            model.body.span,
            format!("the {} of `{}` does not have its declared dims", what.value, model.name.text),
        )
        .label(format!("this is {}", describe(&body.dims)))
        .related(model.output.span, format!("declared {}", describe(output)));
        sink.push(if same_sizes(&body.dims, output) {
            error.help("the sizes are equal here, but dims agree by name")
        } else {
            error
        });
        return None;
    }
    let masks = writer.masks.take().unwrap_or_default();
    let function = writer.into_function(&model.name.text, vec![(what.value.into(), body.node)]);
    // Of a value that nothing reads, nothing is dropped.
    let function = function.without_unread(|input| masks.iter().all(|mask| mask.name != input));
    let masks = masks.into_iter().filter(|mask| function.inputs.iter().any(|port| port.name == mask.name)).collect();
    Some((function, masks))
}
