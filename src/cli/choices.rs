//! Options that several commands share.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::exec::exact::Path;

/// Changes of an experiment from the command line.
#[derive(Debug, clap::Args)]
pub struct Overrides {
    /// Override a field, an argument, a dim or a `let` in every arm, as `PATH=EXPR`; may be repeated.
    ///
    /// The same paths as in an `arm` block: `--set train.steps=100`, `--set train.adapt.rate=0.05`, `--set d=100`.
    #[arg(long = "set", value_name = "PATH=EXPR")]
    pub set: Vec<String>,
}

/// Where programs run.
#[derive(Debug, clap::Args)]
pub struct Machine {
    /// What computes [default: exact; `replay`: what the run used].
    #[arg(long, value_enum)]
    pub device: Option<Device>,
    /// The instructions of the exact device: avx512, avx2 or portable; all give the same bits [default: the fastest there is].
    #[arg(long, env = "METADSL_CPU", value_name = "PATH")]
    pub cpu: Option<Path>,
    /// The number of threads; arms and seeds run side by side [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// The most that a program of the exact device may have in use at once, such as `500MB`; shared evenly among the arms and seeds that run
    /// side by side. Where a program needs more, it computes values again in place of keeping them; the bits stay the same.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// How much memory there is for all arms and seeds of the exact device, such as `8GB` [default: nine tenths of what the system has
    /// available]. What does not fit beside those that run waits for them; what does not fit alone computes values again in place of
    /// keeping them. The bits stay the same. With `--memory`, nothing waits.
    #[arg(long, env = "METADSL_FREE_MEMORY", value_name = "SIZE", value_parser = size)]
    pub free_memory: Option<u64>,
}

/// A number of bytes: `800000`, `500MB`, `1.5 GB` of a thousand thousands each.
pub fn size(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[number.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => Some(1e0),
        "K" | "KB" => Some(1e3),
        "M" | "MB" => Some(1e6),
        "G" | "GB" => Some(1e9),
        "T" | "TB" => Some(1e12),
        _ => None,
    };
    let bytes = unit.zip(number.trim().parse::<f64>().ok()).map(|(unit, number)| unit * number);
    let bytes = bytes.filter(|bytes| (1.0..1e18).contains(bytes)).map(|bytes| bytes as u64);
    bytes.ok_or_else(|| "a number of bytes is wanted, such as 500MB or 2GB".to_owned())
}

/// Which of the parameters that cells end with are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepWeights {
    /// All of them.
    All,
    /// Those of cells that have at most so many bytes of them.
    UpTo(u64),
}

impl KeepWeights {
    /// `all`, `none` or a number of bytes.
    pub fn parse(text: &str) -> Result<KeepWeights, String> {
        match text {
            "all" => Ok(KeepWeights::All),
            "none" => Ok(KeepWeights::UpTo(0)),
            text => size(text)
                .map(KeepWeights::UpTo)
                .map_err(|_| "`all`, `none` or a number of bytes is wanted, such as 1MB".to_owned()),
        }
    }

    /// The most bytes of a cell that are kept; none for all.
    pub fn limit(self) -> Option<u64> {
        match self {
            KeepWeights::All => None,
            KeepWeights::UpTo(bytes) => Some(bytes),
        }
    }
}

/// The devices by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// On the CPU: fast, the same bits on every machine and any number of threads.
    Exact,
    /// dfdx on the CPU: a second opinion.
    Dfdx,
    /// dfdx on an NVIDIA GPU; needs a build with `--features cuda`.
    Cuda,
    /// Plain loops on the CPU: slow, the oracle of the tests.
    Reference,
}

/// Which ledger.
#[derive(Debug, clap::Args)]
pub struct LedgerChoice {
    /// The ledger's folder [default: the nearest `ledger/` upward, else a new `./ledger`].
    #[arg(long, env = "METADSL_LEDGER", value_name = "DIR")]
    pub ledger: Option<PathBuf>,
}

/// Where data files lie now.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DataChoice {
    /// Read this data of the run from there, in place of from where it lay; it must be the same file still.
    #[arg(long, value_name = "NAME=PATH", value_parser = DataPlace::parse)]
    pub data: Vec<DataPlace>,
}

/// Where one data file lies.
#[derive(Debug, Clone)]
pub struct DataPlace {
    /// The data's name in the experiment.
    pub name: String,
    /// Its path, from the working folder.
    pub path: PathBuf,
}

impl DataPlace {
    fn parse(text: &str) -> Result<DataPlace, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(DataPlace { name: name.to_owned(), path: path.into() })
            }
            _ => Err("it is not of the form NAME=PATH, such as `digits=data/digits.csv`".to_owned()),
        }
    }
}

/// What the ledger may give to a run, and this run to later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cache {
    /// Neither.
    Off,
    /// Cells that the ledger holds are not run again.
    Read,
    /// Every cell is run; later runs may take them.
    Write,
    /// Both.
    Rw,
}

impl Cache {
    /// Whether the ledger may give cells.
    pub fn reads(self) -> bool {
        matches!(self, Cache::Read | Cache::Rw)
    }

    /// Whether later runs may take this one's cells.
    pub fn writes(self) -> bool {
        matches!(self, Cache::Write | Cache::Rw)
    }
}
