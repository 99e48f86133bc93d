//! `after`, `query` and `interpolate` of an evaluation: at which points of it its measures are taken. A value gives one point;
//! a list gives one for each of its values, and a measure then has a series at every point, which a claim chooses by name.

use super::calls::Names;
use super::fields::{Fields, word};
use crate::catalog::{Budget, Whose};
use crate::diag::{Diagnostic, Sink};
use crate::plan::{Block, Objective, TaskSource, length};
use crate::syntax::ast::{Expr, ExprKind, Field};

/// What varies from point to point, in the order of their names.
pub(super) const AXES: [&str; 3] = ["after", "query", "interpolate"];

/// The words of `query`.
const WHOSE: &[(&str, Whose)] = &[("own", Whose::Own), ("others", Whose::Others), ("all", Whose::All)];

/// The most points of one evaluation.
const MAX_POINTS: usize = 1000;

/// One point of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// What tells it from the others: what is listed, and its value.
    pub listed: Vec<(&'static str, String)>,
    pub after: Option<u64>,
    pub share: Option<f64>,
    pub query: Whose,
}

impl Point {
    /// The name of a measure that is taken there.
    pub fn name(&self, measure: &str) -> String {
        let parts: Vec<String> = self.listed.iter().map(|(axis, value)| format!("{axis}: {value}")).collect();
        if parts.is_empty() { measure.to_owned() } else { format!("{measure}[{}]", parts.join(", ")) }
    }
}

/// The points of an evaluation with that adaptation, those tasks and that objective.
pub(super) fn points(
    fields: &Fields,
    adapt: &[Block],
    tasks: &TaskSource,
    objective: &Objective,
    names: &Names,
    sink: &mut Sink,
) -> Option<Vec<Point>> {
    let count = |expr: &Expr, sink: &mut Sink| {
        let count = names.constants.count(expr, 0, "`after`", sink)?;
        Some((Some(count), count.to_string()))
    };
    let share = |expr: &Expr, sink: &mut Sink| {
        let share = names.constants.number(expr, sink)?;
        if !(0.0..=1.0).contains(&share) {
            let message = format!("a point on the way of an adaptation is a share from 0 to 1, not {share}");
            sink.push(Diagnostic::error("E0408", expr.span, message).help("0 is where it began, 1 where it ended"));
            return None;
        }
        Some((Some(share), share.to_string()))
    };
    let whose = |expr: &Expr, sink: &mut Sink| Some((word(expr, "query", WHOSE, sink)?, expr.to_string()));
    let after = axis(fields, "after", None, count, sink);
    let query = axis(fields, "query", Whose::Own, whose, sink);
    let shares = axis(fields, "interpolate", None, share, sink);
    let (after, query, shares) = (after?, query?, shares?);
    check_adaptation(fields, adapt, &after, sink)?;
    check_query(fields, tasks, objective, &query, sink)?;
    let count = [after.len(), query.len(), shares.len()].into_iter().fold(1, usize::saturating_mul);
    if count > MAX_POINTS {
        let field = AXES.into_iter().find(|axis| fields.get(axis).is_some()).unwrap_or("after");
        let message = format!("{count} points are too many to measure; the limit is {MAX_POINTS}");
        sink.push(Diagnostic::error("E0555", fields.span(field), message).help("list fewer values"));
        return None;
    }
    let mut found = vec![];
    for (after_text, after) in &after {
        for (query_text, query) in &query {
            for (share_text, share) in &shares {
                let texts = [after_text.as_ref(), query_text.as_ref(), share_text.as_ref()];
                let listed = AXES.into_iter().zip(texts).filter_map(|(axis, text)| Some((axis, text?.clone())));
                found.push(Point { listed: listed.collect(), after: *after, query: *query, share: *share });
            }
        }
    }
    Some(found)
}

/// The values of an axis, each with its text where it is one of a list.
type Values<T> = Vec<(Option<String>, T)>;

fn axis<T: Copy + PartialEq>(
    fields: &Fields,
    name: &str,
    initial: T,
    read: impl Fn(&Expr, &mut Sink) -> Option<(T, String)>,
    sink: &mut Sink,
) -> Option<Values<T>> {
    let Some(Field { value, .. }) = fields.get(name) else { return Some(vec![(None, initial)]) };
    let ExprKind::List(items) = &value.kind else {
        return read(value, sink).map(|(value, _)| vec![(None, value)]);
    };
    let mut values: Values<T> = vec![];
    for item in items {
        let (value, text) = read(item, sink)?;
        if values.iter().any(|(_, known)| *known == value) {
            let message = format!("`{name}` lists {item} twice");
            sink.push(Diagnostic::error("E0555", item.span, message).help("a measure has one value at each point"));
            return None;
        }
        values.push((Some(text), value));
    }
    if values.is_empty() {
        let error = Diagnostic::error("E0555", value.span, format!("`{name}` lists nothing"));
        sink.push(error.help("leave it out, or list what is to be measured"));
        return None;
    }
    Some(values)
}

/// What lies on the way of an adaptation needs one.
fn check_adaptation(
    fields: &Fields,
    adapt: &[Block],
    after: &[(Option<String>, Option<u64>)],
    sink: &mut Sink,
) -> Option<()> {
    if let Some(field) = fields.get("interpolate").filter(|_| adapt.is_empty()) {
        sink.push(
            Diagnostic::error("E0556", field.value.span, "nothing adapts here, so there is no way to be on")
                .related(fields.whole_span("adapt"), "nothing moves here"),
        );
        return None;
    }
    let last = after.iter().filter_map(|(_, count)| *count).max();
    let (Some(last), Some(field)) = (last, fields.get("after")) else { return Some(()) };
    let Some(budget) = length(adapt) else {
        sink.push(
            Diagnostic::error("E0556", field.value.span, "`after` counts the steps of one block of an adaptation")
                .related(fields.whole_span("adapt"), "this is not one block of steps")
                .help("for example `adapt = gradient(w, rate: 0.1, steps: 10)` and `after = [0, 1, 5, 10]`"),
        );
        return None;
    };
    let (length, unit) = match budget {
        Budget::Steps { count } => (count, "steps"),
        Budget::Epochs { count } => (count, "epochs"),
    };
    if last > length {
        sink.push(
            Diagnostic::error("E0556", field.value.span, format!("the adaptation ends after {length} {unit}"))
                .label(format!("this asks for {last}"))
                .related(fields.whole_span("adapt"), "how long it is, is said here"),
        );
        return None;
    }
    Some(())
}

/// Measuring on the examples of others needs others, and examples.
fn check_query(
    fields: &Fields,
    tasks: &TaskSource,
    objective: &Objective,
    query: &[(Option<String>, Whose)],
    sink: &mut Sink,
) -> Option<()> {
    let field = fields.get("query").filter(|_| query.iter().any(|(_, whose)| *whose != Whose::Own));
    let reason = match objective {
        Objective::Risk => "a risk belongs to its task, and has no examples on which others could be measured",
        Objective::Sample { .. } if tasks.per_step() < 2 => "there is one task, and no other",
        Objective::Sample { .. } => return Some(()),
    };
    let Some(field) = field else { return Some(()) };
    sink.push(
        Diagnostic::error("E0557", field.value.span, "there are no examples of other tasks to be measured on")
            .label(reason)
            .related(fields.span("tasks"), "the tasks"),
    );
    None
}
