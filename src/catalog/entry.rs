//! What a catalog entry is.

/// The place in an experiment where a name can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A distribution, after `~` or inside a declaration.
    Law,
    /// A function in a tensor expression.
    Function,
    /// `loss = ...`
    Loss,
    /// `adapt = ...`
    Adaptation,
    /// `through = ...`
    Through,
    /// `outer = ...`
    Outer,
    /// `update = ...`
    Update,
    /// `with = ...`
    Added,
    /// `rate: ...`, where it is not a number
    Schedule,
    /// `retract = ...`
    Retraction,
    /// `augment = ...`
    Augmentation,
    /// `tasks = ...`
    Tasks,
    /// `partition = ...`
    Partition,
    /// `data NAME = ...`
    Data,
    /// A measurement of the state: `measure NAME = ...`
    StateMetric,
    /// A measurement of one example: `measure NAME = mean(...) on ...`
    ExampleMetric,
    /// How per-task values become one number.
    Reduction,
    /// How the values of seeds, steps or the points of a sweep become one number, in a claim.
    SeedReduction,
    /// The values of a sweep.
    Sweep,
}

impl Kind {
    /// The words a person reads, with the article.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Law => "a law",
            Kind::Function => "a function",
            Kind::Loss => "a loss",
            Kind::Adaptation => "an adaptation",
            Kind::Through => "a way through an adaptation",
            Kind::Outer => "an outer objective",
            Kind::Update => "an update rule",
            Kind::Added => "an added group",
            Kind::Schedule => "a schedule",
            Kind::Retraction => "a retraction",
            Kind::Augmentation => "a change of examples",
            Kind::Tasks => "a source of tasks",
            Kind::Partition => "a partition",
            Kind::Data => "a data reader",
            Kind::StateMetric => "a metric of the state",
            Kind::ExampleMetric => "a metric of examples",
            Kind::Reduction => "a reduction over tasks",
            Kind::SeedReduction => "a reduction of measurements",
            Kind::Sweep => "what gives a sweep its values",
        }
    }
}

/// The type of a parameter, with its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ty {
    /// A real number with `above < x` (or `above <= x` where `closed`) and `x <= most`.
    Real {
        /// The lower bound.
        above: f64,
        /// Whether the lower bound itself is allowed.
        closed: bool,
        /// The upper bound, allowed.
        most: f64,
    },
    /// A step size: a real above zero, a schedule, or parameters that are the step sizes.
    Rate,
    /// A whole number of at least that size.
    Count(u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or strata of the family with their weights.
    Weights(&'static [&'static str]),
    /// One or more parameters or groups of the model, or `all`.
    Groups,
    /// Groups that `with` added to the model.
    AddedGroups,
    /// An input of the model.
    Input,
    /// A named dim.
    Dim,
    /// An adaptation.
    Adaptation,
    /// `start`, or one or more parameters or groups of the model.
    Anchor,
    /// A family of tasks.
    Family,
    /// Strata of the family.
    Strata,
    /// A range of whole numbers, `lo..hi`.
    Range,
    /// A range or a number, or a list of them.
    Ranges,
    /// A column of a table, by number or name.
    Column,
    /// Columns of a table: a range of numbers, a name, or a list of names.
    Columns,
    /// `true` or `false`.
    Bool,
    /// Quoted text.
    Text,
    /// One quoted text, or a list of them.
    Texts,
    /// The quoted path of a file or folder.
    Path,
    /// One quoted path, or a list of them.
    Paths,
    /// A tensor expression.
    Tensor,
    /// Dims of a tensor, by name.
    Dims,
    /// The dims that a tensor gets.
    Shape,
    /// A metric of examples.
    Metric,
    /// A measurement, in a claim.
    Measurement,
    /// What a claim reduces over: seeds, steps, or a sweep.
    Axis,
    /// The values of a sweep.
    Values,
}

impl Ty {
    /// Any finite real.
    pub const REAL: Ty = Ty::Real { above: f64::NEG_INFINITY, closed: false, most: f64::INFINITY };
    /// A real above zero.
    pub const POSITIVE: Ty = Ty::Real { above: 0.0, closed: false, most: f64::INFINITY };
    /// A real of at least zero.
    pub const NON_NEGATIVE: Ty = Ty::Real { above: 0.0, closed: true, most: f64::INFINITY };
    /// A real from 0 to 1.
    pub const SHARE: Ty = Ty::Real { above: 0.0, closed: true, most: 1.0 };

    /// The words a person reads.
    pub fn describe(&self) -> String {
        match *self {
            Ty::Real { above, closed, most } => match (above.is_finite(), closed, most.is_finite()) {
                (false, _, false) => "a real number".into(),
                (false, _, true) => format!("a real number of at most {}", number(most)),
                (true, true, true) => format!("a real number from {} to {}", number(above), number(most)),
                (true, true, false) => format!("a real number of at least {}", number(above)),
                (true, false, true) => format!("a real number above {}, at most {}", number(above), number(most)),
                (true, false, false) => format!("a real number above {}", number(above)),
            },
            Ty::Rate => "a real number above 0, or a schedule such as `cosine(0.1, over: 500)`".into(),
            Ty::Count(0) => "a whole number".into(),
            Ty::Count(least) => format!("a whole number of at least {least}"),
            Ty::Word(words) => format!("one of {}", words.join(", ")),
            Ty::Weights(words) => {
                format!("one of {}, or strata with their weights, such as `{{ easy: 1, hard: 3 }}`", words.join(", "))
            }
            Ty::Groups => "parameters or groups of the model, such as `w`, `[B, w]` or `all`".into(),
            Ty::AddedGroups => "groups that `with` adds, such as `lora`".into(),
            Ty::Input => "an input of the model, or a value that it names by `let`".into(),
            Ty::Dim => "the name of a `dim`".into(),
            Ty::Adaptation => "an adaptation, such as `gradient(w, rate: 0.1, steps: 1)`".into(),
            Ty::Anchor => "`start`, or parameters or groups of the model".into(),
            Ty::Family => "the name of a `tasks` block".into(),
            Ty::Strata => "strata of the family, such as `[easy, hard]`".into(),
            Ty::Range => "a range of whole numbers, such as `0..64`".into(),
            Ty::Ranges => {
                "a range of whole numbers, such as `0..64`, or a list of ranges and numbers, such as `[0..4, 7]`".into()
            }
            Ty::Column => "the number of a column, counted from 0, or its quoted name".into(),
            Ty::Columns => {
                "a range of whole numbers, such as `0..64`, or quoted names, such as `[\"age\", \"dose\"]`".into()
            }
            Ty::Bool => "`true` or `false`".into(),
            Ty::Text => "quoted text".into(),
            Ty::Texts => "quoted text or a list of it".into(),
            Ty::Path => "a quoted path".into(),
            Ty::Paths => "a quoted path or a list of them".into(),
            Ty::Tensor => "a tensor".into(),
            Ty::Dims => "dims of the tensor, such as `h` or `[h, w]`".into(),
            Ty::Shape => "dims, such as `[h, 2 * w]`".into(),
            Ty::Metric => "the name of a metric of examples, such as `squared`".into(),
            Ty::Measurement => "a measurement, such as `maml.angle[500]`".into(),
            Ty::Axis => "`seeds`, `steps` or what a sweep varies".into(),
            Ty::Values => "values, such as `[1, 2]`, `0..5` or `log(1e-3, 1, 4)`, or a list of such".into(),
        }
    }
}

/// What a parameter is when it is not given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// It must be given.
    Required,
    /// It may be left out, and then means nothing.
    Absent,
    /// That number.
    Real(f64),
    /// That word.
    Word(&'static str),
    /// That truth value.
    Bool(bool),
    /// That text.
    Text(&'static str),
}

/// A parameter of an entry. Arguments without a key fill parameters in this order.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its key.
    pub name: &'static str,
    /// Its type and range.
    pub ty: Ty,
    /// Its value when not given.
    pub initial: Initial,
    /// What it does, in a few words, with its unit.
    pub doc: &'static str,
}

impl Param {
    /// A parameter that must be given.
    pub const fn required(name: &'static str, ty: Ty, doc: &'static str) -> Param {
        Param { name, ty, initial: Initial::Required, doc }
    }

    /// A parameter with a value of its own when not given.
    pub const fn optional(name: &'static str, ty: Ty, initial: Initial, doc: &'static str) -> Param {
        Param { name, ty, initial, doc }
    }
}

/// One name of the vocabulary.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name as it is written.
    pub name: &'static str,
    /// Where it can stand.
    pub kind: Kind,
    /// What it takes.
    pub params: &'static [Param],
    /// What it means, with its formula and source.
    pub doc: &'static str,
    /// One line that uses it.
    pub example: &'static str,
}

impl Entry {
    /// The signature: `sgd(on, rate, steps?, momentum = 0)`.
    pub fn signature(&self) -> String {
        let params = self.params.iter().map(|p| match p.initial {
            Initial::Required => p.name.to_owned(),
            Initial::Absent => format!("{}?", p.name),
            Initial::Real(x) => format!("{} = {}", p.name, number(x)),
            Initial::Word(w) => format!("{} = {w}", p.name),
            Initial::Bool(b) => format!("{} = {b}", p.name),
            Initial::Text(t) => format!("{} = {t:?}", p.name),
        });
        match self.params {
            [] => self.name.to_owned(),
            _ => format!("{}({})", self.name, params.collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A number as a person writes it: `1e-8` and not `0.00000001`.
fn number(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e5).contains(&x.abs()) { format!("{x:e}") } else { x.to_string() }
}
