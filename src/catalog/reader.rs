//! Data readers: how files become examples.

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::hash::variants;

variants! {
    /// A column of a table.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Column {
        /// Counted from 0.
        At { number: u64 },
        /// As the first row names it.
        Named { name: String },
    }
}

variants! {
    /// Columns of a table.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Columns {
        /// Columns that follow each other, counted from 0.
        Range { first: u64, end: u64 },
        /// As the first row names them.
        Named { names: Vec<String> },
    }
}

variants! {
    /// How the files of a data set are read. Every reader gives inputs `x` and targets `y`, and some of them owners.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Reader {
        /// A table, one example a row: the feature columns, the column of the target, the one of the owner.
        Csv { first_feature: u64, end_feature: u64, target: u64, regression: bool, owner: Option<u64>, scale: f64 },
        /// The same, where the first row names some of the columns.
        Table { features: Columns, target: Column, regression: bool, owner: Option<Column>, scale: f64 },
        /// A file of images and one of labels.
        Idx { scale: f64 },
        /// CIFAR-10 or CIFAR-100 in its binary version.
        Cifar { classes: u64, part: String, scale: f64 },
        /// Arrays of NumPy.
        Npz { x: String, y: String, owner: Option<String>, scale: f64 },
        /// Arrays of NumPy, each in a file of its own: inputs, targets and, if so, owners.
        Npy { owner: bool, scale: f64 },
        /// One JSON object a line.
        Jsonl { x: String, y: String, owner: Option<String>, scale: f64 },
        /// Texts, one JSON object a line, and their tokenizer.
        Texts { text: String, y: String, owner: Option<String>, length: u64 },
        /// A table of Apache Parquet.
        Parquet { x: Vec<String>, y: String, owner: Option<String>, scale: f64 },
        /// The dialogues of ConvAI2, and their tokenizer.
        Convai { length: u64, history: Option<u64> },
        /// The tasks of Super-NaturalInstructions, and their tokenizer, which is the last of the files.
        Instructions { length: u64, candidates: u64 },
        /// The users of LEAF.
        Leaf { part: String, scale: f64 },
        /// Pictures in folders.
        Images { size: u64, channels: u64, invert: bool, owner: bool },
        /// The parameters of a trained network: tensors by name, and no examples.
        Safetensors {},
    }
}

impl Column {
    /// Its number, where it is not named.
    pub fn number(&self) -> Option<u64> {
        match self {
            Column::At { number } => Some(*number),
            Column::Named { .. } => None,
        }
    }
}

impl Reader {
    /// The reader of a checked call, and the paths it reads.
    pub fn from_args(name: &str, args: &Args) -> (Reader, Vec<String>) {
        let text = |name: &str| args.text(name).to_owned();
        let owner = || args.get("owner").map(|_| text("owner"));
        let reader = match name {
            "csv" => {
                let (features, label, owner) = (args.columns("features"), args.column("label"), args.column("owner"));
                let (regression, scale) = (label.is_none(), args.real("scale"));
                let target = label.or(args.column("target")).expect("the checker asks for one of them");
                match (features, target, owner) {
                    (
                        Columns::Range { first, end },
                        Column::At { number },
                        owner @ (None | Some(Column::At { .. })),
                    ) => {
                        let owner = owner.and_then(|column| column.number());
                        Reader::Csv { first_feature: first, end_feature: end, target: number, regression, owner, scale }
                    }
                    (features, target, owner) => Reader::Table { features, target, regression, owner, scale },
                }
            }
            "idx" => return (Reader::Idx { scale: args.real("scale") }, vec![text("images"), text("labels")]),
            "cifar10" | "cifar100" => Reader::Cifar {
                classes: if name == "cifar10" { 10 } else { 100 },
                part: args.word("part").to_owned(),
                scale: args.real("scale"),
            },
            "npz" => Reader::Npz { x: text("x"), y: text("y"), owner: owner(), scale: args.real("scale") },
            "npy" => {
                let owner = owner();
                let reader = Reader::Npy { owner: owner.is_some(), scale: args.real("scale") };
                return (reader, [text("x"), text("y")].into_iter().chain(owner).collect());
            }
            "jsonl" => Reader::Jsonl { x: text("x"), y: text("y"), owner: owner(), scale: args.real("scale") },
            "texts" => {
                let length = args.count("length").expect("a required parameter");
                let reader = Reader::Texts { text: text("text"), y: text("y"), owner: owner(), length };
                return (reader, [args.names("path"), args.names("tokenizer")].concat());
            }
            "parquet" => {
                Reader::Parquet { x: args.names("x"), y: text("y"), owner: owner(), scale: args.real("scale") }
            }
            "convai2" => {
                let length = args.count("length").expect("a required parameter");
                let reader = Reader::Convai { length, history: args.count("history") };
                return (reader, [args.names("path"), args.names("tokenizer")].concat());
            }
            "natural_instructions" => {
                let count = |name| args.count(name).expect("a required parameter");
                let reader = Reader::Instructions { length: count("length"), candidates: count("candidates") };
                return (reader, [args.names("path"), args.names("tokenizer")].concat());
            }
            "leaf" => Reader::Leaf { part: args.word("part").to_owned(), scale: args.real("scale") },
            "images" => Reader::Images {
                size: args.count("size").expect("a required parameter"),
                channels: if args.word("colour") == "grey" { 1 } else { 3 },
                invert: args.bool("invert"),
                owner: args.bool("owners"),
            },
            "safetensors" => Reader::Safetensors {},
            "omniglot" => Reader::Images {
                size: args.count("size").expect("a required parameter"),
                channels: 1,
                invert: true,
                owner: true,
            },
            other => unreachable!("`{other}` is not in the table of readers"),
        };
        (reader, args.names("path"))
    }

    /// The number of features, where the reader itself says it; otherwise the files do.
    pub fn features(&self) -> Option<u64> {
        match self {
            Reader::Csv { first_feature: first, end_feature: end, .. } => Some(end - first),
            Reader::Table { features: Columns::Range { first, end }, .. } => Some(end - first),
            Reader::Table { features: Columns::Named { names }, .. } => Some(names.len() as u64),
            Reader::Cifar { .. } => Some(3 * 32 * 32),
            Reader::Images { size, channels, .. } => Some(size * size * channels),
            Reader::Texts { length, .. } => Some(*length),
            Reader::Instructions { length, candidates } => Some(length.saturating_mul(*candidates)),
            Reader::Idx { .. }
            | Reader::Parquet { .. }
            | Reader::Convai { .. }
            | Reader::Npz { .. }
            | Reader::Npy { .. }
            | Reader::Jsonl { .. }
            | Reader::Leaf { .. }
            | Reader::Safetensors {} => None,
        }
    }

    /// Whether it reads parameters and no examples.
    pub fn is_weights(&self) -> bool {
        matches!(self, Reader::Safetensors {})
    }

    /// Whether examples can have owners.
    pub fn has_owners(&self) -> bool {
        match self {
            Reader::Csv { owner, .. } => owner.is_some(),
            Reader::Table { owner, .. } => owner.is_some(),
            Reader::Npz { owner, .. } | Reader::Jsonl { owner, .. } | Reader::Texts { owner, .. } => owner.is_some(),
            Reader::Parquet { owner, .. } => owner.is_some(),
            Reader::Images { owner, .. } | Reader::Npy { owner, .. } => *owner,
            Reader::Cifar { classes, .. } => *classes == 100,
            Reader::Leaf { .. } | Reader::Convai { .. } | Reader::Instructions { .. } => true,
            Reader::Idx { .. } | Reader::Safetensors {} => false,
        }
    }
}

const SCALE: Param = Param::optional("scale", Ty::REAL, Initial::Real(1.0), "what every feature is multiplied by");
const FILES: Param = Param::required("path", Ty::Paths, "the archives or folders, relative to the `.meta` file");
const FILE: Param = Param::required("path", Ty::Path, "the file, relative to the `.meta` file; may be gzipped");
const FOLDER: Param = Param::required("path", Ty::Path, "the folder or zip archive, relative to the `.meta` file");
const TOKENIZER: Param = Param::required("tokenizer", Ty::Path, "the `tokenizer.json` of Hugging Face");
const SIZE: Param = Param::required("size", Ty::Count(1), "the height and width that pictures are averaged down to");

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "csv",
        kind: Kind::Data,
        params: &[
            FILE,
            Param::required("features", Ty::Columns, "the feature columns, counted from 0 or by name"),
            Param::optional("label", Ty::Column, Initial::Absent, "the column of the class"),
            Param::optional(
                "target",
                Ty::Column,
                Initial::Absent,
                "the column of the number to be predicted, instead of `label`",
            ),
            Param::optional("owner", Ty::Column, Initial::Absent, "the column that names the owner of an example"),
            SCALE,
        ],
        doc: "A table, one example a row, read as `x` (the features) and `y` (the class, or with `target` a number). Values are separated by \
              commas, or by tabs, semicolons or bars where the first row has no comma; a first row without a number names the columns. Classes \
              are whole numbers, or names, which are numbered in their order.",
        example: "data digits = csv(\"data/digits.csv.gz\", features: 0..64, label: 64, scale: 1 / 16)",
    },
    Entry {
        name: "idx",
        kind: Kind::Data,
        params: &[
            Param::required("images", Ty::Text, "the file of images; may be gzipped"),
            Param::required("labels", Ty::Text, "the file of their labels; may be gzipped"),
            SCALE,
        ],
        doc: "Images and labels in the format of MNIST and its successors. The dims of `x` are those of the model's input.",
        example: "data fashion = idx(images: \"train-images-idx3-ubyte.gz\", labels: \"train-labels-idx1-ubyte.gz\", scale: 1 / 255)",
    },
    Entry {
        name: "cifar10",
        kind: Kind::Data,
        params: &[
            FOLDER,
            Param::optional(
                "part",
                Ty::Word(&["data_batch", "test_batch"]),
                Initial::Word("data_batch"),
                "which files",
            ),
            SCALE,
        ],
        doc: "CIFAR-10 in its binary version: `x` is [3, 32, 32], `y` one of 10 classes (Krizhevsky 2009).",
        example: "data cifar = cifar10(\"cifar-10-batches-bin\", scale: 1 / 255)",
    },
    Entry {
        name: "cifar100",
        kind: Kind::Data,
        params: &[
            FOLDER,
            Param::optional("part", Ty::Word(&["train", "test"]), Initial::Word("train"), "which file"),
            SCALE,
        ],
        doc: "CIFAR-100 in its binary version: `x` is [3, 32, 32], `y` the fine class of 100; the owner of an example is its coarse class \
              (Krizhevsky 2009).",
        example: "data cifar = cifar100(\"cifar-100-binary\", scale: 1 / 255)",
    },
    Entry {
        name: "npz",
        kind: Kind::Data,
        params: &[
            Param::required("path", Ty::Path, "the file, relative to the `.meta` file"),
            Param::optional("x", Ty::Text, Initial::Text("x"), "the array of inputs, one example a row"),
            Param::optional(
                "y",
                Ty::Text,
                Initial::Text("y"),
                "the array of targets: whole numbers are classes, floats are numbers",
            ),
            Param::optional("owner", Ty::Text, Initial::Absent, "the array of owners"),
            SCALE,
        ],
        doc: "Arrays written by `numpy.savez`.",
        example: "data schools = npz(\"schools.npz\", owner: \"school\")",
    },
    Entry {
        name: "npy",
        kind: Kind::Data,
        params: &[
            Param::required("x", Ty::Text, "the file of inputs, one example a row, relative to the `.meta` file"),
            Param::required("y", Ty::Text, "the file of targets: whole numbers are classes, floats are numbers"),
            Param::optional("owner", Ty::Text, Initial::Absent, "the file of owners"),
            SCALE,
        ],
        doc: "Arrays written by `numpy.save`, each in a file of its own.",
        example: "data digits = npy(x: \"images.npy\", y: \"labels.npy\", scale: 1 / 255)",
    },
    Entry {
        name: "jsonl",
        kind: Kind::Data,
        params: &[
            FILE,
            Param::optional(
                "x",
                Ty::Text,
                Initial::Text("x"),
                "the field of the inputs: a number or nested lists of numbers",
            ),
            Param::optional("y", Ty::Text, Initial::Text("y"), "the field of the target"),
            Param::optional("owner", Ty::Text, Initial::Absent, "the field that names the owner"),
            SCALE,
        ],
        doc: "One JSON object a line. Targets are classes where all of them are whole numbers, or text, which is numbered in its order.",
        example: "data notes = jsonl(\"notes.jsonl\", x: \"features\", y: \"label\", owner: \"writer\")",
    },
    Entry {
        name: "leaf",
        kind: Kind::Data,
        params: &[
            FOLDER,
            Param::optional("part", Ty::Word(&["train", "test"]), Initial::Word("train"), "which folder"),
            SCALE,
        ],
        doc: "The users of a LEAF benchmark (Caldas et al. 2018): JSON files in the folders `train` and `test`. Users are the owners.",
        example: "data femnist = leaf(\"femnist/data\", part: train)",
    },
    Entry {
        name: "images",
        kind: Kind::Data,
        params: &[
            FILES,
            SIZE,
            Param::optional("colour", Ty::Word(&["grey", "rgb"]), Initial::Word("grey"), "one channel or three"),
            Param::optional("invert", Ty::Bool, Initial::Bool(false), "whether black becomes 1 and white 0"),
            Param::optional(
                "owners",
                Ty::Bool,
                Initial::Bool(false),
                "whether the folder above the class is the owner",
            ),
        ],
        doc: "Pictures (PNG or JPEG) from 0 to 1, in folders named by their class: `x` is [channels, size, size]. A picture is made smaller by \
              averaging over equal areas in whole numbers, so that the bits are the same everywhere.",
        example: "data birds = images(\"birds\", size: 32, colour: rgb)",
    },
    Entry {
        name: "omniglot",
        kind: Kind::Data,
        params: &[FILES, SIZE],
        doc: "Omniglot (Lake et al. 2015), folders `alphabet/character/drawing.png`: `x` is [1, size, size] with ink 1 and paper 0, `y` the \
              character, the owner its alphabet.",
        example: "data omniglot = omniglot([\"images_background.zip\", \"images_evaluation.zip\"], size: 28)",
    },
    Entry {
        name: "texts",
        kind: Kind::Data,
        params: &[
            FILE,
            TOKENIZER,
            Param::required("length", Ty::Count(1), "the tokens of a text; longer ones are cut"),
            Param::optional("text", Ty::Text, Initial::Text("text"), "the field of the text"),
            Param::optional(
                "y",
                Ty::Text,
                Initial::Text("label"),
                "the field of the target: whole numbers are classes, and so is text, numbered in its order",
            ),
            Param::optional("owner", Ty::Text, Initial::Absent, "the field that names the owner of an example"),
        ],
        doc: "Texts, one JSON object a line: `x` is [length] numbers of tokens, those that open and close a text included, and -1 where it has \
              ended, so that `sign(x + 1)` is the mask. Needs a build with `--features text`.",
        example: "data mails = texts(\"mails.jsonl\", tokenizer: \"minilm/tokenizer.json\", length: 64)",
    },
    Entry {
        name: "parquet",
        kind: Kind::Data,
        params: &[
            Param::required("path", Ty::Path, "the file, relative to the `.meta` file"),
            Param::required(
                "x",
                Ty::Texts,
                "the column of the inputs, of numbers or nested lists of them; or several columns of numbers",
            ),
            Param::required(
                "y",
                Ty::Text,
                "the column of the target: whole numbers and text are classes, floats are numbers",
            ),
            Param::optional("owner", Ty::Text, Initial::Absent, "the column that names the owner of an example"),
            SCALE,
        ],
        doc: "A table of Apache Parquet, one example a row. Needs a build with `--features parquet`.",
        example: "data houses = parquet(\"houses.parquet\", x: [\"rooms\", \"age\"], y: \"price\", owner: \"town\")",
    },
    Entry {
        name: "convai2",
        kind: Kind::Data,
        params: &[
            FILE,
            TOKENIZER,
            Param::required(
                "length",
                Ty::Count(1),
                "the tokens of a dialogue and a candidate together; of longer ones the end is read",
            ),
            Param::optional(
                "history",
                Ty::Count(1),
                Initial::Absent,
                "how many of the last messages and replies are read; all of them, if left out",
            ),
        ],
        doc: "The dialogues of ConvAI2 (Zhang et al. 2018) in the format of `train_self_original.txt`: `x` is [candidates, length], every row \
              the tokens of the dialogue so far and of one candidate reply, with -1 behind them; `y` is the row of the right one. Candidates \
              stand in alphabetical order. The owner of an example is its persona. Needs a build with `--features text`.",
        example: "data chats = convai2(\"train_self_original.txt\", tokenizer: \"roberta/tokenizer.json\", length: 64)",
    },
    Entry {
        name: "natural_instructions",
        kind: Kind::Data,
        params: &[
            FILES,
            TOKENIZER,
            Param::required(
                "length",
                Ty::Count(1),
                "the tokens of an input and an answer together; of longer ones the end is read",
            ),
            Param::required("candidates", Ty::Count(2), "how many answers there are to choose from"),
        ],
        doc: "The tasks of Super-NaturalInstructions (Wang et al. 2022), one JSON file a task: `x` is [candidates, length], every row the \
              tokens of the definition and the input, and of one answer, with -1 behind them; `y` is the row of the right one. The other \
              answers are outputs of other instances of the task, in alphabetical order with the right one. The owner of an example is its task. \
              Needs a build with `--features text`.",
        example: "data instructions = natural_instructions(\"tasks\", tokenizer: \"roberta/tokenizer.json\", length: 128, candidates: 4)",
    },
    Entry {
        name: "safetensors",
        kind: Kind::Data,
        params: &[FILE],
        doc: "The parameters of a trained network, as Hugging Face and PyTorch write them: `model net(..) -> [..] from NAME` begins with those of \
              its parameters that the file has, by their names.",
        example: "data minilm = safetensors(\"minilm/model.safetensors\")",
    },
];
