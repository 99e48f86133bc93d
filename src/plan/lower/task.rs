//! One task: its loss on some examples, and its adaptation.

use super::sample::{example_slots, latent_slots};
use super::{Input, LowerError, Part, Ports, batch, closed_form, summary};
use crate::catalog::{Budget, Loss, Metric, Solver, Through};
use crate::ir::{Binary, Builder, Function, NodeId, Port, grad};
use crate::plan::adapter::{self, Adapted};
use crate::plan::types::{Addition, Anchor, Arm, Block, Family, Model, Objective, Rows};

/// A gradient times its learned step size.
pub(super) fn rated(b: &mut Builder, gradient: NodeId, rate: Option<NodeId>) -> NodeId {
    let Some(rate) = rate else { return gradient };
    let dims = b.dims(gradient).to_vec();
    let rate = if b.dims(rate).is_empty() { b.expand(rate, &dims) } else { rate };
    b.mul(gradient, rate)
}

/// Which examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All support examples, or those at some places.
    Support(Option<Rows>),
    Query,
}

/// A program for one task under construction.
pub(super) struct Task<'a> {
    pub ports: Ports,
    arm: &'a Arm,
    pub model: &'a Model,
    pub family: &'a Family,
    pub support: Part,
    pub query: Part,
    /// Whether values are dropped: while parameters move, and not where something is measured.
    drops: bool,
    /// How often masks were asked for.
    passes: usize,
    /// The parameters with adapters whose operands lose entries, each with its masks and what the adapter adds to it, as they were
    /// composed last.
    adapted: Vec<(String, String, NodeId)>,
}

impl<'a> Task<'a> {
    pub fn new(arm: &'a Arm, model: &'a Model, family: &'a Family, support: Part, query: Part) -> Task<'a> {
        Task { ports: Ports::new(), arm, model, family, support, query, drops: true, passes: 0, adapted: vec![] }
    }

    /// The same where something is measured: nothing is dropped.
    pub fn measuring(self) -> Task<'a> {
        Task { drops: false, ..self }
    }

    /// The same task in a program of its own, which goes on with the masks.
    pub fn another(&self) -> Task<'a> {
        let Task { arm, model, family, support, query, drops, passes, .. } = *self;
        Task { drops, passes, ..Task::new(arm, model, family, support, query) }
    }

    /// The parameters as inputs, in the order of the model.
    pub fn params(&mut self) -> Vec<NodeId> {
        let slots = &self.model.params;
        slots.iter().enumerate().map(|(i, s)| self.ports.get(Input::Param(i), &s.name, &s.dims)).collect()
    }

    /// What is minimised, at these parameters: a scalar. The added groups `without` change nothing.
    pub fn loss(
        &mut self,
        objective: &Objective,
        params: &[NodeId],
        which: Which,
        without: &[String],
    ) -> Result<NodeId, LowerError> {
        let params = self.composed(params, without)?;
        match objective {
            Objective::Risk => self.risk(&params),
            Objective::Sample { loss, .. } => {
                self.mean_over_examples(&Metric::Loss { loss: loss.clone() }, &params, which)
            }
        }
    }

    /// A metric of the query examples, or of the risk: a scalar.
    pub fn metric(&mut self, metric: &Metric, params: &[NodeId]) -> Result<NodeId, LowerError> {
        let params = self.composed(params, &[])?;
        match metric {
            Metric::Risk => self.risk(&params),
            Metric::Nmi { .. } | Metric::Purity { .. } => self.together(metric, &params),
            _ => self.mean_over_examples(metric, &params, Which::Query),
        }
    }

    /// The parameters as predictions and risks read them: changed by the added groups, save those `without`.
    fn composed(&mut self, params: &[NodeId], without: &[String]) -> Result<Vec<NodeId>, LowerError> {
        let mut composed = params.to_vec();
        self.adapted.clear();
        for group in self.model.added.iter().filter(|g| !without.contains(&g.name)) {
            let args = group.compose.inputs.iter().map(|p| Ok(composed[self.param(&p.name)?]));
            let args: Vec<NodeId> = args.collect::<Result<_, LowerError>>()?;
            let changed = self.ports.b.inline(&group.compose, &args);
            for (port, node) in group.compose.outputs.iter().zip(changed) {
                composed[self.param(&port.name)?] = node;
                self.adapted.retain(|(name, ..)| *name != port.name);
            }
            self.drop_before(group, &args);
        }
        Ok(composed)
    }

    /// Remembers what a group adds to parameters in front of which it drops.
    fn drop_before(&mut self, group: &Addition, args: &[NodeId]) {
        let mask = |port: &Port| {
            let name = adapter::mask_name(&group.name, &port.name);
            (self.drops && self.model.mask(&name).is_some()).then_some(name)
        };
        let masks: Vec<Option<String>> = group.compose.outputs.iter().map(mask).collect();
        if masks.iter().all(Option::is_none) {
            return;
        }
        // What is added to zero is the difference.
        let changes = |name: &str| group.compose.outputs.iter().any(|port| port.name == name);
        let bases: Vec<bool> = group.compose.inputs.iter().map(|port| changes(&port.name)).collect();
        let b = &mut self.ports.b;
        let zeroed = args.iter().zip(bases).map(|(&arg, is_base)| {
            let dims = b.dims(arg).to_vec();
            if is_base { b.full(0.0, &dims) } else { arg }
        });
        let zeroed: Vec<NodeId> = zeroed.collect();
        let differences = b.inline(&group.compose, &zeroed);
        for ((port, mask), difference) in group.compose.outputs.iter().zip(masks).zip(differences) {
            self.adapted.extend(mask.map(|mask| (port.name.clone(), mask, difference)));
        }
    }

    fn risk(&mut self, params: &[NodeId]) -> Result<NodeId, LowerError> {
        let risk = self
            .family
            .risk
            .as_ref()
            .ok_or_else(|| LowerError::Dangling(format!("a risk of `{}`", self.family.name)))?;
        let latents = latent_slots(self.family);
        let mut args = Vec::new();
        for port in &risk.inputs {
            let param = self.model.position(&port.name);
            let latent = latents.iter().position(|(n, _)| *n == port.name);
            args.push(match (param, latent) {
                (Some(i), _) => params[i],
                (None, Some(i)) => self.ports.get(Input::Latent(i), &port.name, &latents[i].1),
                (None, None) => self
                    .ports
                    .world(self.arm, &port.name)
                    .ok_or_else(|| LowerError::Dangling(format!("`{}`", port.name)))?,
            });
        }
        Ok(self.ports.b.inline(risk, &args)[0])
    }

    /// The mean of a metric of single examples, over those that are there.
    fn mean_over_examples(&mut self, metric: &Metric, params: &[NodeId], which: Which) -> Result<NodeId, LowerError> {
        let one = self.example(metric)?;
        let values = self.over_examples(&one, params, which)?[0];
        let part = self.part(which);
        if !part.masked {
            return Ok(self.ports.b.mean(values, 0));
        }
        let mask = self.mask(which);
        let b = &mut self.ports.b;
        // Filling may hold any finite number: its losses are cut out. (The gradient of a cut is a product with zero.)
        let nothing = b.full(0.0, &[part.size]);
        let counted = b.select(mask, values, nothing);
        let (total, count) = (b.sum(counted, 0), b.sum(mask, 0));
        let one = b.constant(1.0);
        let count = b.binary(Binary::Max, count, one);
        Ok(b.div(total, count))
    }

    /// A metric of all query examples at once.
    fn together(&mut self, metric: &Metric, params: &[NodeId]) -> Result<NodeId, LowerError> {
        let forward = self.model.forward.clone();
        let predictions = self.over_examples(&forward, params, Which::Query)?[0];
        let mut b = Builder::new();
        let slots = example_slots(self.family);
        let (_, dims) = slots.iter().find(|(n, _)| n == "y").ok_or_else(no_target)?;
        let target = b.input("y", dims);
        let target = b.finish("target", vec![("y".into(), target)]);
        let targets = self.over_examples(&target, params, Which::Query)?[0];
        let part = self.query;
        let present = if part.masked { self.mask(Which::Query) } else { self.ports.b.full(1.0, &[part.size]) };
        let value = metric.lower_together(&mut self.ports.b, predictions, targets, present);
        value.ok_or_else(|| LowerError::Dangling("a metric of all examples".into()))
    }

    /// A program of one example, run on all of them: every output gets a leading axis.
    pub fn over_examples(
        &mut self,
        one: &Function,
        params: &[NodeId],
        which: Which,
    ) -> Result<Vec<NodeId>, LowerError> {
        let rewritten;
        let one = match self.adapted.as_slice() {
            [] => one,
            adapted => {
                let adapted: Vec<Adapted> = adapted.iter().map(|(param, mask, _)| Adapted { param, mask }).collect();
                rewritten = adapter::dropping(one, &adapted);
                &rewritten
            }
        };
        let slots = example_slots(self.family);
        let part = self.part(which);
        let prefix = if which == Which::Query { "query" } else { "support" };
        let (mut args, mut mapped) = (Vec::new(), Vec::new());
        let pass = self.passes;
        for port in &one.inputs {
            if let Some((at, call)) = self.model.mask(&port.name) {
                let dims = one.dims(port.node);
                mapped.push(self.drops);
                if !self.drops {
                    args.push(self.ports.b.full(1.0, dims));
                    continue;
                }
                let (name, dims) = (format!("{prefix}.{}.{pass}", port.name), [&[part.size], dims].concat());
                args.push(self.ports.get(Input::Mask { at, call, pass }, &name, &dims));
                self.passes = pass + 1;
                continue;
            }
            let difference = |(_, mask, _): &&(String, String, NodeId)| adapter::difference_name(mask) == port.name;
            if let Some((.., difference)) = self.adapted.iter().find(difference) {
                mapped.push(false);
                args.push(*difference);
                continue;
            }
            let variable = slots.iter().position(|(n, _)| *n == port.name);
            mapped.push(variable.is_some());
            let of_support = self.family.support_variable(&port.name);
            if let Some(i) = of_support.and_then(|name| slots.iter().position(|(n, _)| n == name)) {
                args.push(self.ports.get(Input::Support(i), &format!("support.{}", slots[i].0), one.dims(port.node)));
                continue;
            }
            args.push(match variable {
                Some(i) => {
                    let input = if which == Which::Query { Input::Query(i) } else { Input::Support(i) };
                    let dims = [&[self.all(which).size], slots[i].1.as_slice()].concat();
                    let values = self.ports.get(input, &format!("{prefix}.{}", port.name), &dims);
                    self.chosen(which, values)
                }
                None => params[self.param(&port.name)?],
            });
        }
        let present = part.masked.then(|| self.mask(which));
        batch(&mut self.ports.b, one, &args, &mapped, part.size, present)
    }

    /// The examples that these are some of.
    fn all(&self, which: Which) -> Part {
        match which {
            Which::Support(_) => self.support,
            Which::Query => self.query,
        }
    }

    /// Their size, and whether some may be missing.
    pub fn part(&self, which: Which) -> Part {
        match which {
            Which::Support(Some(rows)) => Part { size: (rows.end - rows.first) as usize, ..self.support },
            Which::Support(None) | Which::Query => self.all(which),
        }
    }

    /// Of a value for every example, those of these.
    fn chosen(&mut self, which: Which, values: NodeId) -> NodeId {
        match which {
            Which::Support(Some(Rows { first, end })) => {
                self.ports.b.slice(values, 0, first as usize, (end - first) as usize)
            }
            Which::Support(None) | Which::Query => values,
        }
    }

    /// 1 for every example that is there.
    pub fn mask(&mut self, which: Which) -> NodeId {
        let size = self.all(which).size;
        let mask = match which {
            Which::Support(_) => self.ports.get(Input::SupportMask, "support.mask", &[size]),
            Which::Query => self.ports.get(Input::QueryMask, "query.mask", &[size]),
        };
        self.chosen(which, mask)
    }

    fn param(&self, name: &str) -> Result<usize, LowerError> {
        self.model.position(name).ok_or_else(|| LowerError::Dangling(format!("parameter `{name}`")))
    }

    /// A metric of one example: inputs are parameters and the example's variables, by name.
    fn example(&self, metric: &Metric) -> Result<Function, LowerError> {
        if let Metric::Loss { loss: Loss::Expression { function } } = metric {
            return Ok(function.clone());
        }
        let forward = &self.model.forward;
        let mut b = Builder::new();
        let args: Vec<NodeId> = forward.inputs.iter().map(|p| b.input(p.name.clone(), forward.dims(p.node))).collect();
        let prediction = b.inline(forward, &args)[0];
        let slots = example_slots(self.family);
        let (_, dims) = slots.iter().find(|(n, _)| n == "y").ok_or_else(no_target)?;
        let target = b.input("y", dims);
        let value = metric
            .lower(&mut b, prediction, target)
            .ok_or_else(|| LowerError::Dangling("a metric of examples".into()))?;
        Ok(b.finish("example", vec![("value".into(), value)]))
    }

    /// The parameters after all blocks, unrolled so that they can be differentiated.
    pub fn adapt(
        &mut self,
        objective: &Objective,
        blocks: &[Block],
        through: Through,
        params: &[NodeId],
    ) -> Result<Vec<NodeId>, LowerError> {
        let start = params;
        let mut params = params.to_vec();
        for block in blocks {
            let on = self.model.positions(&block.on);
            if let Solver::ClosedForm { penalty } = block.solver {
                let solved = closed_form::solve(self, objective, block, penalty, &params)?;
                for (&i, step) in on.iter().zip(solved) {
                    let step = if through == Through::Exact { step } else { self.ports.b.detach(step) };
                    params[i] = self.ports.b.sub(params[i], step);
                }
                continue;
            }
            if let Solver::Mean { of, by_class } = &block.solver {
                let composed = self.composed(&params, &block.without)?;
                for &i in &on {
                    let mean =
                        summary::mean(self, Which::Support(block.examples), (of, *by_class), &composed, params[i])?;
                    params[i] = if through == Through::Exact { mean } else { self.ports.b.detach(mean) };
                }
                continue;
            }
            let Budget::Steps { count } = block.budget else {
                return Err(LowerError::Dangling("epochs inside a differentiated adaptation".into()));
            };
            let (slots, rates) = (&self.model.params, self.model.positions(&block.rates));
            let mut memory: Vec<Vec<NodeId>> = on
                .iter()
                .map(|&i| block.solver.memory().iter().map(|_| self.ports.b.full(0.0, &slots[i].dims)).collect())
                .collect();
            for step in 1..=count {
                let gradients = self.local_gradients(objective, block, &params, start)?;
                let schedule: Vec<NodeId> =
                    block.solver.schedule(step).into_iter().map(|x| self.ports.b.constant(x)).collect();
                for (k, &i) in on.iter().enumerate() {
                    let b = &mut self.ports.b;
                    let gradient = if through == Through::Exact { gradients[k] } else { b.detach(gradients[k]) };
                    let gradient = rated(b, gradient, rates.get(k).map(|&r| params[r]));
                    (params[i], memory[k]) = block.solver.step(b, params[i], gradient, &memory[k], &schedule);
                }
            }
        }
        if matches!(through, Through::Stop | Through::Implicit { .. }) {
            for i in blocks.iter().flat_map(|b| self.model.positions(&b.on)) {
                params[i] = self.ports.b.detach(params[i]);
            }
        }
        Ok(params)
    }

    /// The gradient of a block's loss, its proximal term included, by the parameters that it moves. `start` holds all
    /// parameters as they were when the adaptation began.
    pub fn local_gradients(
        &mut self,
        objective: &Objective,
        block: &Block,
        params: &[NodeId],
        start: &[NodeId],
    ) -> Result<Vec<NodeId>, LowerError> {
        let on = self.model.positions(&block.on);
        let after = match &block.ahead {
            Some(ahead) => self.adapt(objective, &ahead.adapt, ahead.through, params)?,
            None => params.to_vec(),
        };
        let loss = self.loss(objective, &after, Which::Support(block.examples), &block.without)?;
        let at: Vec<NodeId> = on.iter().map(|&i| params[i]).collect();
        let mut gradients = grad(&mut self.ports.b, loss, &at);
        let Some(toward) = &block.toward else { return Ok(gradients) };
        let anchors: Vec<NodeId> = match &toward.anchor {
            Anchor::Start => on.iter().map(|&i| start[i]).collect(),
            Anchor::Params { names } => self.model.positions(names).into_iter().map(|i| params[i]).collect(),
        };
        let b = &mut self.ports.b;
        for ((gradient, &theta), anchor) in gradients.iter_mut().zip(&at).zip(anchors) {
            let away = b.sub(theta, anchor);
            let pull = b.scale(away, toward.weight);
            *gradient = b.add(*gradient, pull);
        }
        Ok(gradients)
    }
}

fn no_target() -> LowerError {
    LowerError::Dangling("a target `y`".into())
}
