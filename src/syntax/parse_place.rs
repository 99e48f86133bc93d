//! Which statement may stand where, and what to say to one that stands elsewhere.

use pest::iterators::Pair;

use crate::diag::{Diagnostic, Span, closest};

use super::ast::ExprKind;
use super::parse::{Builder, Rule, take};
use super::parse_rest::first_word;

/// The keywords that start an item.
const ITEMS: [&str; 19] = [
    "edition",
    "experiment",
    "use",
    "dim",
    "let",
    "data",
    "world",
    "tasks",
    "model",
    "fn",
    "layer",
    "train",
    "stage",
    "evaluate",
    "arm",
    "method",
    "measure",
    "sweep",
    "expect",
];
const IN_TASKS: [&str; 3] = ["stratum", "episode", "example"];
const IN_MODEL: [&str; 3] = ["param", "group", "let"];

/// Whether a statement may start with this keyword somewhere.
pub(super) fn is_keyword(word: &str) -> bool {
    ITEMS.contains(&word) || IN_TASKS.contains(&word) || IN_MODEL.contains(&word)
}

/// Whether an item starts with this keyword, and nothing else does: `let` may stand in a model too.
pub(super) fn starts_item_alone(word: &str) -> bool {
    ITEMS.contains(&word) && !IN_MODEL.contains(&word)
}

/// Where a statement stands; the word is the keyword of the block.
#[derive(Clone, Copy)]
pub(super) enum Place<'p> {
    /// Outside every block.
    Top,
    /// `world`, `stratum`, `episode` or `example`.
    Draws(&'p str),
    /// `tasks`.
    Tasks,
    /// `model`.
    Model,
    /// `layer`.
    Layer,
    /// `group` in a model.
    Group,
    /// `fn`.
    Function,
    /// `train`, `stage`, `evaluate`, `arm` or `method`.
    Settings(&'p str),
}

impl Place<'_> {
    /// What may stand there.
    fn holds(self) -> String {
        match self {
            Place::Top => "an item such as `let`, `train` or `measure`".to_owned(),
            Place::Draws(word) => format!("a declaration such as `x: [d] ~ normal`, as `{word}` holds nothing else"),
            Place::Tasks => "a declaration, a setting, or a `stratum`, `episode` or `example` block".to_owned(),
            Place::Model => "`param`, `group`, `let`, or the value that the model predicts".to_owned(),
            Place::Layer => "`param`, `group`, `let`, or the value of the layer".to_owned(),
            Place::Function => "`let`, or the value of the function".to_owned(),
            Place::Group => "a `param` declaration, as `group` holds nothing else".to_owned(),
            Place::Settings(word) => format!("a setting such as `steps = 500`, as `{word}` holds nothing else"),
        }
    }

    fn keywords(self) -> &'static [&'static str] {
        match self {
            Place::Top => &ITEMS,
            Place::Tasks => &IN_TASKS,
            Place::Model | Place::Layer => &IN_MODEL,
            Place::Group => &["param"],
            Place::Function => &["let"],
            Place::Draws(_) | Place::Settings(_) => &[],
        }
    }
}

impl Builder<'_, '_> {
    /// Reports a statement that cannot stand where it does.
    pub(super) fn misplaced(&mut self, statement: Pair<Rule>, place: Place) {
        match statement.as_rule() {
            Rule::EOI => {}
            Rule::rest => self.unexpected(&statement, &place.holds(), false),
            Rule::loose => self.misplaced_value(statement, place),
            Rule::entry => self.misplaced_entry(statement, place),
            _ => {
                let span = self.span(&statement);
                let keyword = first_word(statement.as_str());
                let belongs = match keyword {
                    "param" | "group" => "in a `model` or a `layer`",
                    "stratum" | "episode" | "example" => "in `tasks`",
                    _ => "outside of all blocks",
                };
                let head = Span::new(span.start, span.start + keyword.len());
                let message = format!("`{keyword}` belongs {belongs}");
                self.report.push(Diagnostic::error("E0115", head, message).help(format!("expected {}", place.holds())));
            }
        }
    }

    /// A value where none can stand: mostly a misspelt keyword, or a setting without `=`.
    fn misplaced_value(&mut self, statement: Pair<Rule>, place: Place) {
        let given = self.report.given();
        let mut parts = statement.clone().into_inner();
        let Some(expr) = take(&mut parts, Rule::expr) else { return };
        let rest = take(&mut parts, Rule::rest);
        let value = self.expr(expr);
        if self.report.given() != given {
            return;
        }
        let ExprKind::Path(path) = &value.kind else {
            let message = format!("expected {}", place.holds());
            self.report.push(Diagnostic::error("E0114", value.span, message).label("a value that nothing takes"));
            return;
        };
        let name: Vec<&str> = path.iter().map(|n| n.text.as_str()).collect();
        let name = name.join(".");
        let keyword = closest(&name, place.keywords().iter().copied());
        let valued =
            rest.as_ref().filter(|r| r.as_str().starts_with(|c: char| c.is_alphanumeric() || "\"[-".contains(c)));
        match (keyword, valued, place) {
            (Some(keyword), _, _) => {
                let message = format!("`{name}` is not a keyword");
                let title = format!("did you mean `{keyword}`?");
                self.report.push(Diagnostic::error("E0114", value.span, message).fix(value.span, keyword, title));
            }
            (None, Some(rest), Place::Settings(_) | Place::Tasks) => {
                let gap = Span::new(value.span.end, self.span(rest).start);
                let message = format!("`=` is missing after `{name}`");
                self.report.push(Diagnostic::error("E0113", value.span, message).fix(gap, " = ", "put it in").safe());
            }
            _ => {
                let message = format!("`{name}` cannot stand alone here");
                self.report
                    .push(Diagnostic::error("E0114", value.span, message).help(format!("expected {}", place.holds())));
            }
        }
    }

    /// A setting or declaration outside of the blocks that hold such.
    fn misplaced_entry(&mut self, statement: Pair<Rule>, place: Place) {
        let mut parts = statement.clone().into_inner();
        let Some(path) = take(&mut parts, Rule::path) else { return };
        let span = self.span(&path);
        let text = path.as_str();
        let declares = take(&mut parts, Rule::annotation).is_some();
        let sign = take(&mut parts, Rule::assign);
        let at = Span::new(span.start, span.start);
        let diagnostic = match place {
            Place::Top if matches!(text, "dim" | "let" | "data" | "param" | "measure" | "sweep") => {
                Diagnostic::error("E0116", span, format!("a name is missing after `{text}`"))
            }
            Place::Top if is_keyword(text) => {
                let end = sign.map_or(span.end, |s| self.span(&s).end);
                let sign = Span::new(span.end, end);
                Diagnostic::error("E0113", span, format!("`{text}` is a keyword and takes no `=`"))
                    .fix(sign, "", format!("write `{text} ..`"))
                    .safe()
            }
            Place::Top if text.contains('.') => Diagnostic::error("E0115", span, "a path is set within an `arm` block")
                .help(format!("write `arm NAME {{ {text} = .. }}`")),
            Place::Top if declares => Diagnostic::error("E0115", span, "a tensor is declared within a block")
                .help("`world` is drawn once per seed, `tasks` once per task, `model` holds the parameters"),
            Place::Top => Diagnostic::error("E0115", span, format!("`{text}` is set outside of all blocks"))
                .fix(at, "let ", "name a constant")
                .help("settings such as `steps` stand in a block such as `train { .. }`"),
            Place::Model | Place::Layer | Place::Group if declares => Diagnostic::error(
                "E0115",
                span,
                format!("`{text}` is declared without a keyword"),
            )
            .fix(at, "param ", "declare a parameter"),
            Place::Group => Diagnostic::error("E0115", span, format!("`{text}` is set in a `group`"))
                .help(format!("expected {}", place.holds())),
            _ => Diagnostic::error("E0115", span, format!("`{text}` is set without a keyword")).fix(
                at,
                "let ",
                "name a part of the formula",
            ),
        };
        self.report.push(diagnostic);
    }
}
