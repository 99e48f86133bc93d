//! Commands, options and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub use super::choices::{Cache, DataChoice, Device, KeepWeights, LedgerChoice, Machine, Overrides};

use crate::exec::exact::Path;

/// Experiments in meta-learning, federated learning and fine-tuning, stated in one file, checked before they run, and
/// recorded so that anyone can replay them.
#[derive(Debug, Parser)]
#[command(name = "metadsl", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 the experiment has errors, 2 wrong usage, 3 a claim did not hold, \
4 a file, device or ledger failed, 130 interrupted. \
`replay`: 0 identical, 10 within tolerance, 20 diverged, 30 inconclusive, 40 not comparable. `verify`: a sum of bits, see its help.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check an experiment without running it.
    ///
    /// Reads the file and its data, and reports every mistake with its place, the reason and a way to mend it: names,
    /// dims, parameters out of range, claims about what nobody measures.
    #[command(
        after_help = "Examples:\n  metadsl check experiments/maml_anil/representation.meta\n  metadsl check experiments/maml_anil/representation.meta --fix"
    )]
    Check(Check),
    /// Write an experiment to begin with.
    ///
    /// Writes `NAME.meta` into this folder: a small experiment that runs in seconds, with a comment at everything that it shows.
    #[command(after_help = "Examples:\n  metadsl new sine\n  metadsl new clients --template fedavg")]
    New(New),
    /// Put the blanks of experiments as they should be.
    ///
    /// Has no options of style. Changes blanks and nothing else; a line with a mistake stays as it is, and so does a file
    /// whose brackets or quotes do not balance. Without files: every `.meta` file of this folder.
    #[command(after_help = "Examples:\n  metadsl fmt\n  metadsl fmt experiments/maml_anil/representation.meta --check")]
    Fmt(Fmt),
    /// Write the hashes of imported files into the `use` lines.
    ///
    /// A frozen line, `use "base.meta" b3:HASH`, refuses a file whose text has changed. Imported files that use others are
    /// frozen first. The hash is the BLAKE3 hash of the file, as `b3sum` prints it.
    #[command(after_help = "Examples:\n  metadsl freeze experiment.meta\n  metadsl freeze experiment.meta --check")]
    Freeze(Freeze),
    /// Show the vocabulary: every name that an experiment can call, with its parameters.
    #[command(after_help = "Examples:\n  metadsl catalog\n  metadsl catalog gradient")]
    Catalog(Catalog),
    /// Say what the code of a message means.
    ///
    /// Prints why it is a mistake, an example of it, and the example mended. Without a code: all codes. The name of an
    /// experiment that examples are excerpts of prints that experiment.
    #[command(
        after_help = "Examples:\n  metadsl explain E0302\n  metadsl explain E0302 W0503\n  metadsl explain linear"
    )]
    Explain(Explain),
    /// Show what an experiment will do.
    ///
    /// Prints the plan: every default spelled out, arm by arm. The plan is what a run's identity is made of; comments,
    /// formatting and the order of fields leave it as it is.
    #[command(
        after_help = "Examples:\n  metadsl plan experiments/maml_anil/representation.meta\n  metadsl plan experiments/maml_anil/representation.meta --programs --arm maml\n  metadsl plan experiments/maml_anil/representation.meta --cost\n  metadsl plan before.meta --diff after.meta\n  metadsl plan experiments/maml_anil/representation.meta --help-params"
    )]
    Plan(Plan),
    /// Show how data is divided among clients: who holds how many examples of which label.
    ///
    /// One table for every way in which the arms divide a data set, under the first seed or that of `--seed`; `--plot` draws it.
    #[command(
        after_help = "Examples:\n  metadsl data experiments/fedrep/digits.meta\n  metadsl data experiments/fedrep/digits.meta --plot --set tasks.clients.partition='dirichlet(clients: 20, alpha: 0.1)'"
    )]
    Data(Data),
    /// Run an experiment, check its claims and record it.
    ///
    /// Every arm runs under every seed, in parallel, all arms on the same tasks and random streams. Ends with the
    /// measurements, the claims and the hash of the run, by which `metadsl replay` finds it.
    #[command(
        after_help = "Examples:\n  metadsl run experiments/maml_anil/representation.meta\n  metadsl run experiments/maml/sine.meta --set train.steps=2000 --json"
    )]
    Run(Run),
    /// Time the training steps of an experiment, and show where the time goes.
    ///
    /// Runs every arm under the first seed on the exact device for some seconds, its measurements left out, and prints
    /// steps per second, arithmetic per step, the share of the machine's peak in matrix products, and the share of each kind of
    /// operation; `host` is what lies between programs, such as drawing tasks. Nothing is recorded.
    #[command(
        after_help = "Examples:\n  metadsl bench experiments/maml_sine/maml_sine.meta\n  metadsl bench my.meta --trace trace.json   # for chrome://tracing or ui.perfetto.dev"
    )]
    Bench(Bench),
    /// Run a recorded experiment again and compare every bit.
    ///
    /// Works from the stored plan alone: the `.meta` file is not needed. Says whether every series, every digest of the
    /// parameters and every weight came out the same, or names the first that did not; between executors of other numerics,
    /// whether all values are as close as the stated tolerance. `--trace ops` goes on to the first operation that differs.
    #[command(
        after_help = "Examples:\n  metadsl replay 4f1c9a\n  metadsl replay 4f1c9a --device reference --trace ops"
    )]
    Replay(Replay),
    /// Go on with a run that was interrupted.
    ///
    /// A run writes down what it measures as it goes, and saves every cell now and then. What was killed goes on from there and
    /// ends with the very result, bit for bit, of a run that nothing interrupted; what is measured again is compared with
    /// what was measured before. `metadsl run` of the same file does the same.
    #[command(after_help = "Examples:\n  metadsl resume\n  metadsl resume --list\n  metadsl resume 4f1c9a")]
    Resume(Resume),
    /// List the runs of a ledger that answer a query.
    ///
    /// A query compares fields with values: `=`, `!=`, `<`, `<=`, `>`, `>=`, `~` (contains), joined by `and`, `or`, `not` and
    /// brackets; `order by FIELD [desc]` and `limit N` may follow. Fields are facts of the run (`experiment`, `status`,
    /// `failed`, `seconds`, `finished`, `tag`, ...), settings (`plan.train.update.rate`; parts in the middle may be left
    /// out), and measures (`last(angle)`, `best(maml.acc)`, `min`, `max`, `first`: medians over seeds). Where arms differ a
    /// run has several values, and one that fits suffices. `--fields` lists the fields of this ledger.
    #[command(
        after_help = "Examples:\n  metadsl log\n  metadsl log 'status = ok and last(angle) < 1e-2 order by seconds desc limit 5'\n  metadsl log 'plan.train.steps >= 1000 or tag = paper' --columns 'run,experiment,last(angle),course(maml.angle)'"
    )]
    Log(Log),
    /// Put a tag on a run, or take it off.
    ///
    /// Tags are words by which queries find runs: `metadsl log tag = paper`. They are no part of any hash.
    #[command(after_help = "Examples:\n  metadsl tag 4f1c9a paper\n  metadsl tag 4f1c9a paper --remove")]
    Tag(Tag),
    /// Write a note to a run.
    ///
    /// Notes are shown by `metadsl show`. They are no part of any hash; what was noted stays.
    #[command(after_help = "Example:\n  metadsl note 4f1c9a \"the run of figure 3\"")]
    Note(Note),
    /// Show one run: claims, measurements, identities, environment.
    #[command(after_help = "Example:\n  metadsl show 4f1c9a --series")]
    Show(Show),
    /// Watch a run that is at work in another terminal.
    ///
    /// Prints every measurement as it is written down, and ends with the run. `--once` shows how far every cell has come, and
    /// ends; it also shows runs that were interrupted.
    #[command(after_help = "Examples:\n  metadsl watch\n  metadsl watch --once")]
    Watch(Watch),
    /// Show what sets two runs apart.
    ///
    /// Compares the plans leaf by leaf (a tensor program is one leaf), data, numerics, machine and claims, and names for every
    /// series the first step at which its bits differ, with the bits.
    #[command(after_help = "Example:\n  metadsl diff 4f1c9a 77aa01")]
    Diff(Diff),
    /// Write every measured value as rows, for other programs.
    ///
    /// One row for each run, arm, seed, measure and step. Numbers are written in the shortest form that reads back as the
    /// same number. Without a hash it takes every run.
    #[command(
        after_help = "Examples:\n  metadsl export 4f1c9a -o run.csv\n  metadsl export --format jsonl > all.jsonl"
    )]
    Export(Export),
    /// Take in runs that other programs made and recorded.
    ///
    /// `mlflow` reads MLflow's folder `mlruns` or its `mlflow.db`; `csv` reads a table with one row for each step, or one written by
    /// `metadsl export`. Imported runs are listed, shown, tagged and exported like others, and answer the same queries (`origin =
    /// mlflow`); they are never taken for a held result and never replayed. What was imported before is not taken in again.
    #[command(
        after_help = "Examples:\n  metadsl import mlflow mlruns\n  metadsl import csv losses.csv --by model,seed --experiment baseline"
    )]
    Import(Import),
    /// Show runs as a page with curves, as figures, as a table, or as a checklist.
    ///
    /// The page is one HTML file that needs no network: claims and whether they hold, curves with bands over seeds, the last
    /// values, the plan in words, the machine, how to replay. Several runs are compared first. Without a hash it takes the
    /// last run of every experiment. Words and reference figures of claims come from `///` lines above an `expect`:
    /// `/// 7a: MAML recovers the representation` and `/// reference: 0.039 (NumPy)`.
    #[command(
        after_help = "Examples:\n  metadsl report 4f1c9a -o report.html\n  metadsl report 4f1c9a 77aa01 --figures figures\n  metadsl report --table experiments/README.md\n  metadsl report 4f1c9a --checklist"
    )]
    Report(Report),
    /// Re-hash everything a ledger holds, or check a bundle.
    ///
    /// Reads every pack, every object and every frame of the logs, recomputes their hashes and follows every reference. Names
    /// each damaged file and the runs it touches. The exit code is a sum: 1 a file whose bytes are not those that were
    /// written, 2 something missing, 4 an object that is not what its kind says, 8 a log that is damaged, rolled back or
    /// forked, 16 an unfinished frame at a log's end, 32 a pack that no log names, 64 a file that cannot be read or does
    /// not belong there. A bundle needs no ledger; 1 says that it is damaged. Parameters that every run left out which names them (`metadsl run
    /// --keep-weights`) are counted and are no damage.
    #[command(
        after_help = "Examples:\n  metadsl verify\n  metadsl verify --sample 10\n  metadsl verify --since checkpoint.txt\n  metadsl verify appendix.bundle"
    )]
    Verify(Verify),
    /// Find what no run needs any more.
    ///
    /// Lists packs, objects and temporary files that nothing needs. `--apply` sets them aside in the ledger's `trash/`, where a later
    /// `--empty-trash` deletes them. Nothing is collected while a run is at work.
    #[command(after_help = "Examples:\n  metadsl gc\n  metadsl gc --bury 4f1c9a --apply\n  metadsl gc --empty-trash")]
    Gc(Gc),
    /// Write runs with all they need to one file, as for a paper's appendix.
    ///
    /// Whoever has the file checks it with `metadsl verify FILE` and no ledger, or with the script `ledger/verify_bundle.py` and no
    /// metadsl. It proves which log listed the runs, too.
    #[command(after_help = "Example:\n  metadsl bundle 4f1c9a 77aa01 -o appendix.bundle")]
    Bundle(Bundle),
    /// Sign how far the ledger has come.
    ///
    /// Prints a checkpoint of every log: its length and the root of its Merkle tree, signed with an ed25519 key. Keep it, or give it
    /// away: evidence begins when a checkpoint leaves the machine. `metadsl verify --since FILE` tells later whether anything
    /// before it was changed.
    #[command(after_help = "Example:\n  metadsl sign --key me.key --new-key -o checkpoint.txt")]
    Sign(Sign),
    /// Send the ledger to a folder or to S3, as far as it is not there.
    ///
    /// The remote has the layout of a ledger; nothing on it is ever replaced but the heads of the logs. Several may push to one
    /// remote: each clone has a log of its own. With `--key`, a checkpoint is signed too, so that those who trust the key take
    /// your cells as held. S3 is set up by the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT.
    #[command(
        after_help = "Examples:\n  metadsl push /mnt/group/ledger\n  metadsl push s3://bucket/ledger --key me.key"
    )]
    Push(Push),
    /// Take over what a folder or S3 has and this ledger has not.
    ///
    /// Everything is hashed before it gets a name here; what is not what its name says is set aside in `quarantine/`. Pulled runs
    /// can be listed, shown, compared and replayed. Their cells count as held, and are not run again, where a key that you trust
    /// has signed for them.
    #[command(
        after_help = "Examples:\n  metadsl pull /mnt/group/ledger\n  metadsl pull s3://bucket/ledger --trust d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )]
    Pull(Pull),
}

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The `.meta` file.
    pub file: PathBuf,
    #[command(flatten)]
    pub overrides: Overrides,
    /// Put foreign spellings right in the file, and show what was changed; whatever needs a guess is left.
    #[arg(long, conflicts_with = "json")]
    pub fix: bool,
    /// Print the diagnostics as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `new`.
#[derive(Debug, clap::Args)]
pub struct New {
    /// The name of the experiment, and of its file.
    pub name: String,
    /// What it begins with.
    #[arg(long, value_enum, default_value_t = Template::Maml)]
    pub template: Template,
}

/// Experiments to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Meta-learning: MAML, ANIL and average-risk training of a network on sinusoids.
    Maml,
    /// Federated learning: FedAvg and FedRep over clients that differ, tested after fine-tuning.
    Fedavg,
    /// Population losses in closed form: does the method recover the shared representation?
    Risk,
}

/// Options of `fmt`.
#[derive(Debug, clap::Args)]
pub struct Fmt {
    /// The `.meta` files [default: those of this folder].
    pub files: Vec<PathBuf>,
    /// Change nothing; exit code 1 where a file is not formatted.
    #[arg(long)]
    pub check: bool,
}

/// Options of `freeze`.
#[derive(Debug, clap::Args)]
pub struct Freeze {
    /// The `.meta` file.
    pub file: PathBuf,
    /// Change nothing; exit code 1 where a line is not frozen, or its file has changed.
    #[arg(long)]
    pub check: bool,
}

/// Options of `catalog`.
#[derive(Debug, clap::Args)]
pub struct Catalog {
    /// All about one name.
    pub name: Option<String>,
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
    /// Print the page of the documentation.
    #[arg(long, conflicts_with_all = ["name", "json"])]
    pub markdown: bool,
}

/// Options of `explain`.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// Codes, such as `E0302` [default: a list of all].
    pub codes: Vec<String>,
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// Options of `plan`.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The `.meta` file.
    pub file: PathBuf,
    #[command(flatten)]
    pub overrides: Overrides,
    /// Show one arm alone.
    #[arg(long, value_name = "NAME")]
    pub arm: Option<String>,
    /// Show the tensor programs too.
    #[arg(long)]
    pub programs: bool,
    /// Show what a step and a measurement cost: parameters, floating-point operations, bytes.
    #[arg(long)]
    pub cost: bool,
    /// With `--cost`: what it costs where no program may have more in use at once on one thread, such as `500MB`.
    #[arg(long, value_name = "SIZE", value_parser = super::choices::size, requires = "cost")]
    pub memory: Option<u64>,
    /// Show what sets the plan of another experiment apart from this one, leaf by leaf, in place of the plan.
    #[arg(long, value_name = "OTHER", conflicts_with_all = ["programs", "cost", "arm"])]
    pub diff: Option<PathBuf>,
    /// List what `--set`, an arm or a sweep can override in this file, with its value and type, in place of the plan.
    #[arg(long, conflicts_with_all = ["programs", "cost", "arm", "diff"])]
    pub help_params: bool,
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `data`.
#[derive(Debug, clap::Args)]
pub struct Data {
    /// The `.meta` file.
    pub file: PathBuf,
    #[command(flatten)]
    pub overrides: Overrides,
    /// The seed under which the data is divided [default: the first of the experiment].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many clients are shown.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub clients: usize,
    /// Draw the counts instead of printing them.
    #[arg(long)]
    pub plot: bool,
    /// Print every client as JSON.
    #[arg(long, conflicts_with = "plot")]
    pub json: bool,
}

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// The `.meta` file.
    pub file: PathBuf,
    #[command(flatten)]
    pub overrides: Overrides,
    /// How long every arm is timed, once without and once with a look at its operations.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// The instructions to use: avx512, avx2 or portable [default: the fastest there is].
    #[arg(long, env = "METADSL_CPU", value_name = "PATH")]
    pub cpu: Option<Path>,
    /// The number of threads.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Write the first operations as a Chrome trace, for chrome://tracing or ui.perfetto.dev.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A length of time.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s| (0.01..=3600.0).contains(s));
    seconds.ok_or_else(|| "a number of seconds from 0.01 to 3600 is wanted".to_owned())
}

/// Options of `run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The `.meta` file.
    pub file: PathBuf,
    #[command(flatten)]
    pub overrides: Overrides,
    #[command(flatten)]
    pub machine: Machine,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Run every cell even where the ledger holds it; the same as `--cache write`.
    #[arg(long, conflicts_with = "cache")]
    pub again: bool,
    /// What the ledger may give to this run, and this run to later ones.
    #[arg(long, value_enum, default_value_t = Cache::Rw)]
    pub cache: Cache,
    /// Save every cell after so many steps, besides every five seconds, for `metadsl resume`.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: Option<u64>,
    /// Keep in the ledger the parameters that cells end with: `all`, `none`, or those of cells that have at most so many bytes of them, such
    /// as `1MB` [default: all].
    ///
    /// Of what is not kept the record has the hash, so that `metadsl replay` proves it all the same; `metadsl export --model` needs the
    /// parameters themselves. A cell that the ledger holds without them is not run again for their sake, unless `all` is asked for.
    #[arg(long, value_name = "WHICH", value_parser = KeepWeights::parse)]
    pub keep_weights: Option<KeepWeights>,
    /// Print one JSON object at the end, and nothing else.
    #[arg(long)]
    pub json: bool,
}

/// Options of `resume`.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The name of the unfinished run, or its first digits [default: the only one].
    pub run: Option<String>,
    /// List the unfinished runs, and whether a process is at work on them.
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub machine: Machine,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    #[command(flatten)]
    pub data: DataChoice,
    /// What the ledger may give to this run, and this run to later ones.
    #[arg(long, value_enum, default_value_t = Cache::Rw)]
    pub cache: Cache,
    /// Save every cell after so many steps, besides every five seconds.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: Option<u64>,
    /// Keep in the ledger the parameters that cells end with: `all`, `none`, or those of cells that have at most so many bytes of them, such
    /// as `1MB` [default: as the run was begun].
    #[arg(long, value_name = "WHICH", value_parser = KeepWeights::parse, conflicts_with = "list")]
    pub keep_weights: Option<KeepWeights>,
    /// Print one JSON object at the end, and nothing else.
    #[arg(long)]
    pub json: bool,
}

/// Options of `replay`.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The hash of the run, or at least six of its first digits.
    pub run: String,
    /// Where a bit differs, run the cell again with every operation compared, and name the first that differs.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub trace: Option<Traced>,
    #[command(flatten)]
    pub machine: Machine,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    #[command(flatten)]
    pub data: DataChoice,
    /// Print one JSON object at the end, and nothing else.
    #[arg(long)]
    pub json: bool,
}

/// What is compared one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Traced {
    /// The operations of tensor programs, on the executors of the record and the replay, from the same operands.
    Ops,
}

/// Options of `log`.
#[derive(Debug, clap::Args)]
pub struct Log {
    /// The query; all runs where there is none.
    pub query: Vec<String>,
    /// Show these fields, separated by commas, in place of the usual ones.
    #[arg(long, value_name = "FIELD,FIELD")]
    pub columns: Option<String>,
    /// List the fields that a query may name, and end.
    #[arg(long)]
    pub fields: bool,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// Options of `tag`.
#[derive(Debug, clap::Args)]
pub struct Tag {
    /// The hash of the run, or at least six of its first digits.
    pub run: String,
    /// The tag.
    pub tag: String,
    /// Take the tag off.
    #[arg(long)]
    pub remove: bool,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `note`.
#[derive(Debug, clap::Args)]
pub struct Note {
    /// The hash of the run, or at least six of its first digits.
    pub run: String,
    /// The text.
    pub text: String,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The hash of the run, or at least six of its first digits.
    pub run: String,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Show every measured value and not the last ones alone.
    #[arg(long)]
    pub series: bool,
    /// Show the stored plan as RON.
    #[arg(long)]
    pub plan: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// The name of the run, or a part of it [default: the one that is at work].
    pub name: Option<String>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Show how far the run has come, and end.
    #[arg(long)]
    pub once: bool,
    /// Print one JSON object for each measurement.
    #[arg(long)]
    pub json: bool,
}

/// Options of `diff`.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The hash of a run, or at least six of its first digits.
    pub left: String,
    /// The hash of another run.
    pub right: String,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Hashes of runs, or at least six of the first digits of each [default: every run].
    #[arg(value_name = "HASH")]
    pub runs: Vec<String>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    #[command(flatten)]
    pub data: DataChoice,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
    /// Write to this file and not to the standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the final parameters of a run to model.safetensors in this folder: added groups are merged in, and what was loaded from a
    /// checkpoint has its names.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["format", "output"])]
    pub model: Option<PathBuf>,
    /// Write the low-rank adapters of a run alone to this folder, as PEFT lays them out.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["format", "output"])]
    pub adapter: Option<PathBuf>,
    #[command(flatten)]
    pub state: StateChoice,
}

/// Which final state of a run is exported.
#[derive(Debug, clap::Args)]
pub struct StateChoice {
    /// The arm, where the run has several.
    #[arg(long, value_name = "NAME")]
    pub arm: Option<String>,
    /// The seed, where the run has several.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The task or client, where parameters stay with theirs.
    #[arg(long, value_name = "N")]
    pub task: Option<usize>,
}

/// How exported rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a head.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet; needs a build with `--features parquet`.
    Parquet,
}

/// Options of `import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// What made the runs.
    #[arg(value_enum)]
    pub origin: Origin,
    /// Its folder or file.
    pub path: PathBuf,
    /// The experiment's name [default: the one recorded, else the name of the file].
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// csv: the column of steps [default: `step`, `epoch` or `iteration`, else rows are counted].
    #[arg(long, value_name = "COLUMN")]
    pub step: Option<String>,
    /// csv: the columns whose values tell runs apart; they become settings.
    #[arg(long, value_name = "COLUMN,COLUMN", value_delimiter = ',')]
    pub by: Vec<String>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The programs whose runs can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Origin {
    /// MLflow: a folder `mlruns`, or a file `mlflow.db`, which needs a build with `--features sqlite`.
    Mlflow,
    /// A table of comma-separated values with a head.
    Csv,
}

/// Options of `report`.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// Hashes of runs, or at least six of the first digits of each [default: the last run of every experiment].
    #[arg(value_name = "HASH")]
    pub runs: Vec<String>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Write the page to this file [default: `report.html`, where nothing else is asked for].
    #[arg(short, long, value_name = "FILE.html")]
    pub output: Option<PathBuf>,
    /// Write every figure as an SVG file into this folder.
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Write the table of claims into this Markdown file: between its lines `<!-- results: begin -->` and
    /// `<!-- results: end -->`, or as a new file. `.meta` files beside it or below it are linked.
    #[arg(long, value_name = "FILE.md")]
    pub table: Option<PathBuf>,
    /// Print what the record knows of the NeurIPS paper checklist.
    #[arg(long)]
    pub checklist: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// A bundle to check instead of a ledger.
    pub bundle: Option<PathBuf>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Read every byte, which is the default.
    #[arg(long, conflicts_with_all = ["structure", "sample"])]
    pub full: bool,
    /// Of large objects, look only whether they are there.
    #[arg(long, conflicts_with = "sample")]
    pub structure: bool,
    /// Read that share of the large objects, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub sample: Option<u8>,
    /// Set damaged files aside in `quarantine/`, and cut unfinished frames; nothing is deleted.
    #[arg(long)]
    pub repair: bool,
    /// Check that the log goes on from the checkpoints in this file.
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
    /// The public key that must have signed them.
    #[arg(long, value_name = "KEY", requires = "since")]
    pub signer: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `gc`.
#[derive(Debug, clap::Args)]
pub struct Gc {
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// First take this run off all listings; may be repeated.
    #[arg(long, value_name = "HASH")]
    pub bury: Vec<String>,
    /// Set what is found aside in `trash/`.
    #[arg(long)]
    pub apply: bool,
    /// Delete what earlier calls set aside.
    #[arg(long)]
    pub empty_trash: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `bundle`.
#[derive(Debug, clap::Args)]
pub struct Bundle {
    /// The hashes of the runs, or at least six of the first digits of each.
    #[arg(required = true, value_name = "HASH")]
    pub runs: Vec<String>,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub ledger: LedgerChoice,
}

/// Options of `sign`.
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The file with the secret key: 64 hexadecimal digits.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// First make a new key in that file, which must not exist.
    #[arg(long)]
    pub new_key: bool,
    /// Write the checkpoints to this file instead of the terminal.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
}

/// Options of `push`.
#[derive(Debug, clap::Args)]
pub struct Push {
    /// A folder, or a URL such as `s3://bucket/prefix`.
    pub remote: String,
    /// Sign a checkpoint with the secret key in this file; `metadsl sign --new-key` makes one.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `pull`.
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// A folder, or a URL such as `s3://bucket/prefix`.
    pub remote: String,
    /// Trust what this public key has signed, from now on; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub trust: Vec<String>,
    /// Trust this public key no longer; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub distrust: Vec<String>,
    #[command(flatten)]
    pub ledger: LedgerChoice,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
