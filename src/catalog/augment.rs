//! Changes of examples that training draws anew at every visit.

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::hash::variants;

variants! {
    /// A random change of an example's input.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Augmentation {
        /// A window of its size in the image with so many zeros around.
        Crop { padding: u64 },
        /// Left and right exchanged, with that chance.
        Flip { chance: f64 },
        /// By no, one, two or three quarter turns, all as likely.
        Rotate {},
        /// Normal draws added.
        Noise { std: f64 },
        /// Every entry by itself to 1 less it, with that chance.
        FlipBits { chance: f64 },
        /// Every entry by itself to its negative, with that chance.
        FlipSigns { chance: f64 },
    }
}

impl Augmentation {
    /// The change of a checked call; none for `none`.
    pub fn from_args(name: &str, args: &Args) -> Option<Augmentation> {
        Some(match name {
            "none" => return None,
            "crop" => Augmentation::Crop { padding: args.count("padding").expect("a required parameter") },
            "flip" => Augmentation::Flip { chance: args.real("chance") },
            "rotate" => Augmentation::Rotate {},
            "noise" => Augmentation::Noise { std: args.real("std") },
            "flip_bits" => Augmentation::FlipBits { chance: args.real("chance") },
            "flip_signs" => Augmentation::FlipSigns { chance: args.real("chance") },
            other => unreachable!("`{other}` is not in the table of changes of examples"),
        })
    }

    /// The words a person reads.
    pub fn describe(&self) -> String {
        match self {
            Augmentation::Crop { padding } => format!("a window of their size among {padding} zeros on every side"),
            Augmentation::Flip { chance } => format!("left and right exchanged with chance {chance}"),
            Augmentation::Rotate {} => "turned by 0 to 3 quarters".into(),
            Augmentation::Noise { std } => format!("normal draws of std {std} added"),
            Augmentation::FlipBits { chance } => format!("bits flipped with chance {chance}"),
            Augmentation::FlipSigns { chance } => format!("signs flipped with chance {chance}"),
        }
    }

    /// Why it has no meaning for inputs of these dims, if it has none.
    pub fn refuses(&self, dims: &[usize]) -> Option<&'static str> {
        match self {
            Augmentation::Crop { .. } | Augmentation::Flip { .. } if dims.len() < 2 => Some(NO_IMAGE),
            Augmentation::Rotate {} => Augmentation::refuses_turns(dims),
            // An offset is drawn among as many windows as there are.
            Augmentation::Crop { padding } if *padding > MAX_PADDING => Some("padding is at most 4096 entries"),
            _ => None,
        }
    }

    /// Why inputs of these dims cannot be turned by a quarter, if they cannot.
    pub fn refuses_turns(dims: &[usize]) -> Option<&'static str> {
        match dims {
            [.., rows, columns] if rows == columns => None,
            [.., _, _] => Some("a quarter turn needs as many rows as columns"),
            _ => Some(NO_IMAGE),
        }
    }
}

const MAX_PADDING: u64 = 4096;
const NO_IMAGE: &str = "rows and columns are the last two dims of the model's input, as in `x: [1, 28, 28]`";

const fn augmentation(name: &'static str, params: &'static [Param], doc: &'static str, example: &'static str) -> Entry {
    Entry { name, kind: Kind::Augmentation, params, doc, example }
}

const CHANCE: Param = Param::required("chance", Ty::SHARE, "how likely each entry is flipped");

pub(super) const ENTRIES: &[Entry] = &[
    augmentation("none", &[], "Examples are seen as they are.", "augment = none"),
    augmentation(
        "crop",
        &[Param::required("padding", Ty::Count(1), "zeros on every side")],
        "The image with zeros around, of which a window of its size is cut out at a place drawn at random; all channels alike (He et al. 2016, section 4.2).",
        "augment = [crop(padding: 4), flip]",
    ),
    augmentation(
        "flip",
        &[Param::optional("chance", Ty::SHARE, Initial::Real(0.5), "how likely an image is flipped")],
        "Left and right of an image exchanged.",
        "augment = flip",
    ),
    augmentation(
        "rotate",
        &[],
        "A square image turned by 0, 90, 180 or 270 degrees, all as likely.",
        "augment = rotate",
    ),
    augmentation(
        "noise",
        &[Param::required("std", Ty::POSITIVE, "the standard deviation")],
        "A normal draw added to every entry.",
        "augment = noise(std: 0.1)",
    ),
    augmentation(
        "flip_bits",
        &[CHANCE],
        "Every entry by itself becomes 1 less it: 0 for 1, and 1 for 0.",
        "augment = flip_bits(chance: 0.05)",
    ),
    augmentation(
        "flip_signs",
        &[CHANCE],
        "Every entry by itself becomes its negative.",
        "augment = flip_signs(chance: 0.05)",
    ),
];
