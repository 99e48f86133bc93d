//! What can be wrong with a data file, where, and how to mend it.

use thiserror::Error;

/// Why bytes are no data set. Lines count from 1, as editors do; columns from 0, as the language does.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DataError {
    /// The file is packed with gzip, and cut short or damaged.
    #[error("the file cannot be unpacked: {0}")]
    Unreadable(String),
    /// The unpacked file is larger than the limit, in bytes.
    #[error("the file unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// There is no row of data.
    #[error("the file holds no rows of data")]
    Empty,
    /// A row with more or fewer columns than the first one.
    #[error("line {line} has {found} columns, the first row has {expected}")]
    Ragged {
        /// The line where the row begins.
        line: u64,
        /// Its number of columns.
        found: usize,
        /// The number of columns of the first row.
        expected: usize,
    },
    /// A column that the file does not have.
    #[error("there is no column {column} for the {role}: the file has {}", described(*.columns, *.blanks))]
    NoSuchColumn {
        /// `features` or `label`.
        role: &'static str,
        /// The column asked for.
        column: usize,
        /// How many there are.
        columns: usize,
        /// Whether blanks seem to separate its values.
        blanks: bool,
    },
    /// A column that the first row does not name, or names twice.
    #[error("there {} `{name}` for the {role}: the first row names {there}", if *twice { "are two columns" } else { "is no column" })]
    NoSuchName {
        /// `features` or `label`.
        role: &'static str,
        /// The name asked for.
        name: String,
        /// Whether it stands there twice.
        twice: bool,
        /// The names that are there.
        there: String,
    },
    /// No feature column was chosen.
    #[error("the range of feature columns is empty")]
    NoFeatures,
    /// The label is among the features, so that a model could read the answer.
    #[error("column {0} is the label and a feature as well")]
    LabelIsFeature(usize),
    /// A scale that is not a finite number.
    #[error("the scale is {0}")]
    Scale(f64),
    /// A cell that is not a finite number, or that the scale makes infinite.
    #[error("line {line}, column {column}: expected a finite number, found `{found}`")]
    Number {
        /// The line where the row begins.
        line: u64,
        /// The column.
        column: usize,
        /// The beginning of what stands there.
        found: String,
    },
    /// The file is not what its reader reads, or not whole.
    #[error("this is no readable {what}: {reason}")]
    Format {
        /// What was expected.
        what: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// Inputs and targets that do not belong together.
    #[error("there are {inputs} inputs and {targets} targets")]
    Counts {
        /// How many inputs.
        inputs: usize,
        /// How many targets.
        targets: usize,
    },
    /// A label that is not an integer from 0 to 2^32 - 1, among labels that are not all names.
    #[error("line {line}, column {column}: expected a label 0, 1, 2, ..., found `{found}`")]
    Label {
        /// The line where the row begins.
        line: u64,
        /// The column.
        column: usize,
        /// The beginning of what stands there.
        found: String,
    },
}

impl DataError {
    /// How to mend it, in one sentence.
    pub fn help(&self) -> String {
        match self {
            DataError::Unreadable(_) => "the file may be cut short: fetch or pack it again, then try `gzip -t`".into(),
            DataError::TooLarge(_) => "split the file, or keep only the rows and columns that are used".into(),
            DataError::Empty => "write one example a line, its values separated by commas".into(),
            DataError::Ragged { expected, .. } => {
                format!("give every row {expected} values; look for a missing or extra comma, or a quote left open")
            }
            DataError::NoSuchColumn { blanks: true, .. } => "separate the values by commas or tabs".into(),
            DataError::NoSuchColumn { columns, .. } => {
                format!("columns count from 0: the last one is {}", columns.saturating_sub(1))
            }
            DataError::NoSuchName { .. } => {
                "give a name that the first row has once, or the column's number, counted from 0".into()
            }
            DataError::NoFeatures => "name at least one column, as in `features: 0..64`".into(),
            DataError::LabelIsFeature(_) => "choose a range of features that leaves the label out".into(),
            DataError::Scale(_) => "give a finite number, as in `scale: 1 / 255`".into(),
            DataError::Number { found, .. } if found.is_empty() => {
                "the cell is empty: fill missing values in or leave the row out".into()
            }
            DataError::Number { line: 1, .. } | DataError::Label { line: 1, .. } => {
                "if the first line names the columns, choose one of them by its name, as in `label: \"class\"`; otherwise write numbers only".into()
            }
            DataError::Number { .. } => {
                "write plain numbers such as `0.5` or `1e-3`; leave rows with missing values out".into()
            }
            DataError::Format { .. } => "compare the file with the format, or choose another reader".into(),
            DataError::Counts { .. } => {
                "give every input its target: the files may belong to different parts of a data set".into()
            }
            DataError::Label { .. } => "number the classes from 0, or give every one a name".into(),
        }
    }
}

/// "65 columns", with a hint at the separator where that explains it.
fn described(columns: usize, blanks: bool) -> String {
    let s = if columns == 1 { "" } else { "s" };
    let hint = if blanks { ", with its values separated by blanks" } else { "" };
    format!("{columns} column{s}{hint}")
}
