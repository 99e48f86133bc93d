//! Series in claims: which arm at which point of the sweeps, which measure, which steps.

use super::claims::{Claims, Place};
use super::points::AXES;
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Arm, Quantity};
use crate::syntax::ast::{Arg, Expr, ExprKind, Name};

/// A series that a claim names.
struct Series<'a> {
    /// `None` where the arm has a mistake, which has been reported.
    arm: Option<&'a Arm>,
    measure: String,
}

/// What a claim names before it is said at which point of its evaluation.
struct Named<'a> {
    /// As in [`Series`].
    arm: Option<&'a Arm>,
    /// The name that the text gives the measure.
    measure: String,
    /// The keys of the index that no sweep knows, which choose what the evaluation lists.
    chosen: Vec<(&'a Name, &'a Expr)>,
}

impl Named<'_> {
    /// What the evaluation lists, each with its values.
    fn listed(&self) -> Vec<(&str, Vec<&str>)> {
        let mut listed: Vec<(&str, Vec<&str>)> = vec![];
        let measures = self.arm.into_iter().flat_map(|arm| &arm.measures);
        for (axis, value) in
            measures.map(|m| m.point()).filter(|(name, _)| *name == self.measure).flat_map(|(_, at)| at)
        {
            match listed.iter_mut().find(|(known, _)| *known == axis) {
                Some((_, values)) if values.contains(&value) => {}
                Some((_, values)) => values.push(value),
                None => listed.push((axis, vec![value])),
            }
        }
        listed
    }
}

/// The steps that an index chooses.
enum Steps {
    One(u64),
    /// `last(10)`, or all where there is no index.
    Several(Vec<u64>),
}

impl Claims<'_> {
    /// The value of a series at the step that its index chooses, or at the place within a reduction over steps.
    pub(super) fn at(
        &self,
        path: &[Name],
        path_span: Span,
        index: Option<&[Arg]>,
        span: Span,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Quantity> {
        if let ([name], None) = (path, index)
            && self.constants.defines(&name.text)
        {
            return None; // A constant whose own value is wrong, which has been reported.
        }
        let series = self.series(path, path_span, index, place, sink)?;
        let step = match (self.steps_of(&series, index, span, sink)?, place.step) {
            (Steps::One(step), _) => step,
            (Steps::Several(steps), Some(position)) => *steps.get(position)?,
            (Steps::Several(_), None) => {
                sink.push(self.several(&series, path, index, span));
                return None;
            }
        };
        Some(Quantity::At { arm: series.arm?.name.clone(), measure: series.measure, step })
    }

    /// The steps of a series that stands for several; `Some(None)` where its index chooses one.
    pub(super) fn window(
        &self,
        path: &[Name],
        path_span: Span,
        index: Option<&[Arg]>,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Option<Vec<u64>>> {
        let series = self.series(path, path_span, index, place, sink)?;
        Some(match self.steps_of(&series, index, path_span, sink)? {
            Steps::One(_) => None,
            Steps::Several(steps) => Some(steps),
        })
    }

    /// The error about a series that stands for several values where one is wanted.
    fn several(&self, series: &Series, path: &[Name], index: Option<&[Arg]>, span: Span) -> Diagnostic {
        let text: Vec<&str> = path.iter().map(|n| n.text.as_str()).collect();
        let measure = &series.measure;
        match (series.arm, index) {
            (_, Some(_)) => Diagnostic::error("E0709", span, format!("these are several values of `{measure}`"))
                .help(format!("reduce them: `mean({}[last(10)], over: steps)`", text.join("."))),
            (Some(arm), None) => Diagnostic::error("E0521", span, format!("`{measure}` is a series: at which step?"))
                .fix(span, format!("{}[{}]", text.join("."), arm.steps()), "name the last step"),
            (None, None) => Diagnostic::error("E0521", span, format!("`{measure}` is a series: at which step?"))
                .help("write for example `[last]` behind it"),
        }
    }

    /// The series that `maml.angle`, or `angle` where there is one arm, names; keys of the index choose a point of the sweeps, and
    /// of what the evaluation lists.
    fn series<'e>(
        &'e self,
        path: &[Name],
        span: Span,
        index: Option<&'e [Arg]>,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Series<'e>> {
        let named = self.named(path, span, index, place, sink)?;
        let listed = named.listed();
        if let Some((key, _)) = named.chosen.iter().find(|(key, _)| !listed.iter().any(|(axis, _)| *axis == key.text)) {
            // An arm with a mistake of its own may list anything.
            if named.arm.is_some() || !AXES.contains(&key.text.as_str()) {
                sink.push(self.nothing_varies(key, &listed));
                return None;
            }
        }
        let mut at = vec![];
        for (axis, values) in &listed {
            let chosen = named.chosen.iter().find(|(key, _)| key.text == *axis);
            let within = place.point.iter().rev().find(|(known, _)| known == axis);
            let value = match (chosen, within) {
                (Some((_, value)), _) => *self.listed_value(axis, values, value, sink)?,
                (None, Some((_, position))) => values.get(*position)?,
                (None, None) => {
                    let (name, of) = (&named.measure, values.join(", "));
                    sink.push(
                        Diagnostic::error(
                            "E0730",
                            span,
                            format!("`{name}` is taken at several points of its evaluation"),
                        )
                        .help(format!("`{axis}` lists {of}; choose one, as in `{name}[last, {axis}: {}]`", values[0]))
                        .help(format!("or reduce over them: `max({name}[last], over: {axis})`")),
                    );
                    return None;
                }
            };
            at.push(format!("{axis}: {value}"));
        }
        let measure = if at.is_empty() { named.measure } else { format!("{}[{}]", named.measure, at.join(", ")) };
        Some(Series { arm: named.arm, measure })
    }

    /// The values of `axis` that a series has; `Some(None)` where it has one, or its index chooses one.
    pub(super) fn list(
        &self,
        path: &[Name],
        span: Span,
        index: Option<&[Arg]>,
        axis: &str,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Option<Vec<String>>> {
        let named = self.named(path, span, index, place, sink)?;
        let chosen = named.chosen.iter().any(|(key, _)| key.text == axis);
        let listed = named.listed().into_iter().find(|(known, _)| *known == axis && !chosen);
        Some(listed.map(|(_, values)| values.into_iter().map(str::to_owned).collect()))
    }

    /// The one of the listed values that is meant by an expression: the same number, or the same text.
    fn listed_value<'v>(&self, axis: &str, values: &'v [&str], expr: &Expr, sink: &mut Sink) -> Option<&'v &'v str> {
        let (number, shown) = (self.constants.try_number(expr), expr.to_string());
        let is_meant = |text: &&&str| **text == shown || number.is_some() && text.parse().ok() == number;
        let found = values.iter().find(is_meant);
        if found.is_none() {
            let message = format!("the evaluation does not list `{axis}: {shown}`");
            sink.push(
                Diagnostic::error("E0707", expr.span, message).help(format!("its values are {}", values.join(", "))),
            );
        }
        found
    }

    fn nothing_varies(&self, key: &Name, listed: &[(&str, Vec<&str>)]) -> Diagnostic {
        let error = Diagnostic::error("E0707", key.span, format!("no sweep varies `{}`", key.text));
        if AXES.contains(&key.text.as_str()) {
            return error.help(format!("the evaluation does not list it either: `{} = [..]`", key.text));
        }
        error.suggest(key.span, &key.text, self.grid.names().chain(listed.iter().map(|(axis, _)| *axis)))
    }

    /// The arm at a point of the sweeps, and the measure.
    fn named<'e>(
        &'e self,
        path: &[Name],
        span: Span,
        index: Option<&'e [Arg]>,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Named<'e>> {
        let known = || self.declared.iter().map(String::as_str);
        let (arm, measure) = match (path, self.declared) {
            ([measure], [_]) => (0, measure),
            ([measure], _) => {
                let error = if self.measures.contains(&measure.text) {
                    Diagnostic::error("E0522", span, format!("which arm's `{}`?", measure.text)).help(format!(
                        "the arms are {}; write for example `{}.{}`",
                        known().collect::<Vec<_>>().join(", "),
                        self.declared[0],
                        measure.text
                    ))
                } else {
                    self.unmeasured(measure)
                };
                sink.push(error);
                return None;
            }
            ([arm, measure], _) => match self.declared.iter().position(|name| *name == arm.text) {
                Some(found) => (found, measure),
                None => {
                    let error = Diagnostic::error("E0219", arm.span, format!("no arm is called `{}`", arm.text));
                    sink.push(self.constants.elsewhere(error, arm, known()));
                    return None;
                }
            },
            _ => {
                sink.push(Diagnostic::error("E0520", span, "a measurement is written `arm.measure[step]`"));
                return None;
            }
        };
        if !self.measures.contains(&measure.text) {
            sink.push(self.unmeasured(measure));
            return None;
        }
        let (mut at, mut chosen) = (place.at.clone(), vec![]);
        for arg in index.into_iter().flatten() {
            let Some(key) = &arg.key else { continue };
            match self.grid.find(&key.text) {
                Some((axis, path)) => at[axis] = self.chosen_point(key, &arg.value, axis, path, sink)?,
                None => chosen.push((key, &arg.value)),
            }
        }
        let (_, arm) = self.arms.get(arm * self.grid.len() + self.grid.point(&at))?;
        Some(Named { arm: arm.as_ref(), measure: measure.text.clone(), chosen })
    }

    /// `d: 20`: the point of an axis at which `d` has that value.
    fn chosen_point(&self, key: &Name, value: &Expr, axis: usize, path: usize, sink: &mut Sink) -> Option<usize> {
        let swept = &self.grid.axes[axis];
        let number = self.constants.try_number(value);
        let shown = value.to_string();
        let is_meant = |point: &usize| match (number, swept.numbers[*point][path]) {
            (Some(a), Some(b)) => a == b,
            _ => swept.shown[*point][path] == shown,
        };
        let found: Vec<usize> = (0..swept.points.len()).filter(is_meant).collect();
        if let [point] = found.as_slice() {
            return Some(*point);
        }
        let values: Vec<&str> = swept.shown.iter().map(|point| point[path].as_str()).collect();
        let many = if found.is_empty() { "no point" } else { "more than one point" };
        sink.push(
            Diagnostic::error("E0707", value.span, format!("{many} of the sweep has `{}: {shown}`", key.text))
                .related(swept.span, "the sweep")
                .help(format!("its values are {}", values.join(", "))),
        );
        None
    }

    fn steps_of(&self, series: &Series, index: Option<&[Arg]>, span: Span, sink: &mut Sink) -> Option<Steps> {
        let chosen: Vec<&Expr> = index.into_iter().flatten().filter(|a| a.key.is_none()).map(|a| &a.value).collect();
        let index = match (index, chosen.as_slice()) {
            (None, _) => None,
            (Some(_), [only]) => Some(*only),
            (Some(_), _) => {
                sink.push(
                    Diagnostic::error("E0520", span, "a measurement is chosen by one step")
                        .help("for example `maml.angle[500]`, and with a sweep `maml.angle[500, d: 20]`"),
                );
                return None;
            }
        };
        let window = match index.map(|e| &e.kind) {
            Some(ExprKind::Call { callee, args }) if callee.text == "last" => match args.as_slice() {
                [Arg { key: None, value }] => Some(self.constants.count(value, 1, "the number of values", sink)?),
                _ => {
                    let message = "`last(10)` is the last ten values: it takes their number";
                    sink.push(Diagnostic::error("E0520", span, message));
                    return None;
                }
            },
            _ => None,
        };
        let is_last = index.and_then(Expr::single).is_some_and(|name| name.text == "last");
        let of_stage = index.and_then(stage_end);
        let step = match (index, of_stage, series.arm) {
            (Some(_), Some((stage, end)), Some(arm)) => Some(step_of_stage(arm, stage, end, sink)?),
            (Some(index), None, _) if !is_last && window.is_none() => {
                Some(self.constants.count(index, 0, "a step", sink)?)
            }
            _ => None,
        };
        // An arm with a mistake of its own still has a series.
        let Some(arm) = series.arm else {
            return Some(if index.is_none() || window.is_some() { Steps::Several(vec![]) } else { Steps::One(0) });
        };
        let (last, every) = (arm.steps(), arm.measures.iter().find(|m| m.name == series.measure)?.every);
        let all = || -> Vec<u64> {
            let inner = (0..last).step_by(usize::try_from(every).unwrap_or(usize::MAX));
            inner.chain([last]).collect()
        };
        match (index, window, step) {
            (None, ..) => Some(Steps::Several(all())),
            (Some(index), Some(count), _) => {
                let all = all();
                if count as usize > all.len() {
                    sink.push(
                        Diagnostic::error(
                            "E0709",
                            index.span,
                            format!("`{}` has only {} values", series.measure, all.len()),
                        )
                        .help(format!("it is measured every {every} steps from 0, and at the last, {last}")),
                    );
                    return None;
                }
                Some(Steps::Several(all[all.len() - count as usize..].to_vec()))
            }
            (Some(index), None, step) => self.one_step(series, step.unwrap_or(last), (every, last), index.span, sink),
        }
    }

    /// A step at which the series must be measured.
    fn one_step(
        &self,
        series: &Series,
        step: u64,
        (every, last): (u64, u64),
        span: Span,
        sink: &mut Sink,
    ) -> Option<Steps> {
        if step <= last && (step.is_multiple_of(every) || step == last) {
            return Some(Steps::One(step));
        }
        let (before, after) = (step - step % every, (step - step % every + every).min(last));
        let nearest = if step > last {
            last
        } else if step - before <= after - step {
            before
        } else {
            after
        };
        let reason = if step > last {
            format!("training ends at step {last}")
        } else {
            format!("it is measured every {every} steps from 0, and at the last, {last}")
        };
        sink.push(
            Diagnostic::error("E0523", span, format!("`{}` is not measured at step {step}", series.measure))
                .help(reason)
                .fix(span, nearest.to_string(), "the nearest step that is measured"),
        );
        None
    }

    fn unmeasured(&self, measure: &Name) -> Diagnostic {
        let known = self.measures.iter().map(String::as_str);
        let error = Diagnostic::error("E0220", measure.span, format!("nothing measures `{}`", measure.text));
        let error = self.constants.elsewhere(error, measure, known);
        if self.measures.is_empty() {
            error.help("declare it: `measure angle = subspace_distance(B, truth) every 10`")
        } else {
            error
        }
    }
}

/// The first or the last step of a stage.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// `polish.first`, `polish.last`: the stage, and which of its steps.
fn stage_end(index: &Expr) -> Option<(&Name, End)> {
    match &index.kind {
        ExprKind::Path(path) => match path.as_slice() {
            [stage, end] if end.text == "first" => Some((stage, End::First)),
            [stage, end] if end.text == "last" => Some((stage, End::Last)),
            _ => None,
        },
        _ => None,
    }
}

/// The step at which a stage begins or ends: where it begins, the one before has ended.
fn step_of_stage(arm: &Arm, stage: &Name, end: End, sink: &mut Sink) -> Option<u64> {
    let stages = arm.stages.iter().map(|stage| (stage.name.as_str(), stage.train.steps));
    let mut before = 0_u64;
    for (name, steps) in std::iter::once(("train", arm.train.steps)).chain(stages.clone()) {
        let last = before.saturating_add(steps);
        if name == stage.text {
            return Some(match end {
                End::First => before,
                End::Last => last,
            });
        }
        before = last;
    }
    let known = std::iter::once("train").chain(stages.map(|(name, _)| name));
    let error = Diagnostic::error("E0731", stage.span, format!("no stage is called `{}`", stage.text));
    sink.push(error.suggest(stage.span, &stage.text, known));
    None
}
