//! The small records: what a run was asked to do, on what, where and when.

use crate::hash::{DecodeError, Id, Kind, record};

record! {
    /// What decides a result. It leaves out text, paths, host, hardware, time and thread count.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Input {
        /// The plan.
        pub plan: Id,
        /// The [`Manifest`] of the data.
        pub manifest: Id,
        /// Executor class, float type, numerics epoch, random generator.
        pub numerics: Id,
    }
}

record! {
    /// What decides one cell. Its id is the cell's key: a cell that the ledger holds under that key need not be run again.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CellInput {
        /// The arm's plan with an empty name, as an id of kind `arm`: two arms that do the same share their cells.
        pub arm: Id,
        /// The seed.
        pub seed: u64,
        /// The [`Manifest`] of the data that the arm reads.
        pub manifest: Id,
        /// The numerics of the arm.
        pub numerics: Id,
    }
}

impl CellInput {
    /// The cell's key.
    pub fn key(&self) -> Id {
        Id::of(Kind::Cell, self)
    }
}

record! {
    /// What somebody said of a run. Notes are outside every id but their own.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Note {
        /// The run.
        pub about: Id,
        /// What kind of note: `tag`, `untag`, `note`.
        pub key: String,
        /// The tag or the text.
        pub text: String,
        /// When it was made, in milliseconds since 1970-01-01 UTC.
        pub at_ms: u64,
    }
}

record! {
    /// A run that another program made and recorded. It can be looked at, asked for and compared with others; it is never
    /// taken for a held one, and never replayed, since there is no plan of it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Imported {
        /// The program, such as `mlflow`, or `csv`.
        pub origin: String,
        /// What that program calls the run.
        pub name: String,
        /// The experiment's name.
        pub experiment: String,
        /// `ok`, or that program's word for another end.
        pub status: String,
        /// What was set, in the order of names.
        pub settings: Vec<Setting>,
        /// What was measured, as [`Series`](super::Series).
        pub series: Vec<super::CellSeries>,
        /// When it began, in milliseconds since 1970-01-01 UTC; 0 where nobody knows.
        pub started_ms: u64,
        /// When it ended, in milliseconds since 1970-01-01 UTC; 0 where nobody knows.
        pub finished_ms: u64,
    }
}

record! {
    /// A setting of an imported run, as that program wrote it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Setting {
        /// Its name.
        pub name: String,
        /// Its value.
        pub value: String,
    }
}

record! {
    /// The data files of a run by content; where they lay is no part of it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Manifest {
        /// The files, in the order in which the plan names them.
        pub files: Vec<ManifestFile>,
    }
}

record! {
    /// One data file by content.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ManifestFile {
        /// The data's name in the plan.
        pub name: String,
        /// The plain BLAKE3 hash of the file, as `b3sum` prints it. The ledger need not hold the bytes.
        pub blob: Id,
        /// The file's size in bytes.
        pub bytes: u64,
    }
}

record! {
    /// The machine and program of one execution. The command line fills it in.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Env {
        /// The version of metadsl.
        pub version: String,
        /// The operating system, such as `linux`.
        pub os: String,
        /// The processor architecture, such as `x86_64`.
        pub arch: String,
        /// The processor's own name.
        pub cpu: String,
        /// The device that ran the tensor programs, such as `cpu` or a GPU's name.
        pub device: String,
        /// The worker threads.
        pub threads: u64,
    }
}

record! {
    /// Where a data file lay when it was read: a hint for a replay, no part of any result.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FileHint {
        /// The data's name in the plan.
        pub name: String,
        /// The path from the folder that the ledger lies in, else an absolute one.
        pub path: String,
    }
}

record! {
    /// One execution. Its id is the hash that `metadsl run` prints.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Run {
        /// The experiment's name.
        pub experiment: String,
        /// The [`Input`].
        pub input: Id,
        /// The [`Outcome`](super::Outcome).
        pub result: Id,
        /// The [`Env`].
        pub env: Id,
        /// The text of the `.meta` file, an object of kind `source`.
        pub source: Option<Id>,
        /// Where the data lay.
        pub files: Vec<FileHint>,
        /// When it began, in milliseconds since 1970-01-01 UTC.
        pub started_ms: u64,
        /// When it ended, in milliseconds since 1970-01-01 UTC.
        pub finished_ms: u64,
        /// The final [`Weights`](super::Weights) of its result that it did not keep, in the order of their ids. They are as
        /// much a part of the result as others, and need not be in the ledger.
        pub left_out: Vec<Id> = vec![],
    }
    checked by Run::check
}

impl Run {
    fn check(&self) -> Result<(), DecodeError> {
        check_left_out(&self.left_out)
    }
}

/// Refuses ids that are not in their order, or named twice: what is left out has one form.
pub(super) fn check_left_out(ids: &[Id]) -> Result<(), DecodeError> {
    if ids.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    Err(DecodeError::new("ids in their order are wanted, each once").within("left_out"))
}
