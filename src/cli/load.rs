//! Reading an experiment and its data from files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::args::Overrides;
use super::failure::Failure;
use super::import::Project;
use super::read::read_path;
use crate::catalog::{Loss, Metric};
use crate::data::{self, DataError, DataSet, FileBytes, Weights};
use crate::diag::{self, Diagnostic, Severity, Sink, Span};
use crate::lang::{self, Compiled, Source, Texts};
use crate::plan::{Arm, Clients, DataSource, Objective, Plan, What};
use crate::syntax;
use crate::syntax::ast::{Field, ItemKind};
use crate::train::DataSets;

/// The largest `.meta` file that is read at all.
const MAX_SOURCE: u64 = 16 << 20;

/// A checked experiment, with its text and data.
pub struct Loaded {
    /// The name of the file, as it was given.
    pub name: String,
    /// The text of the file, as it is.
    pub source: String,
    /// What diagnostics point into: the text, the overrides of the command line, and the texts of imported files.
    pub texts: Texts,
    /// What was found, warnings included.
    pub diagnostics: Vec<Diagnostic>,
    /// The plan and the data; none where there are errors.
    pub experiment: Option<Experiment>,
}

/// A plan with the data it needs.
pub struct Experiment {
    /// The plan.
    pub plan: Plan,
    /// The files behind the data sets.
    pub files: Vec<DataBytes>,
    /// The data sets.
    pub sets: DataSets,
}

/// A data file.
pub struct DataBytes {
    /// The data set's name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The content.
    pub bytes: FileBytes,
}

/// The text of a `.meta` file.
pub fn read_source(file: &Path) -> Result<String, Failure> {
    let read = |error| Failure::Read { path: file.to_owned(), error };
    let size = std::fs::metadata(file).map_err(read)?.len();
    if size > MAX_SOURCE {
        return Err(Failure::Usage(format!(
            "`{}` has {size} bytes; an experiment is a text of a few kilobytes",
            file.display()
        )));
    }
    String::from_utf8(std::fs::read(file).map_err(read)?).map_err(|e| {
        Failure::Usage(format!(
            "`{}` is not UTF-8 text: byte {} is not part of a character",
            file.display(),
            e.utf8_error().valid_up_to()
        ))
    })
}

/// Reads, parses and checks an experiment, and loads its data.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Loaded, Failure> {
    check_text(file, read_source(file)?, overrides)
}

/// Parses and checks the text of an experiment, and loads the data that lies beside its file.
pub fn check_text(file: &Path, source: String, overrides: &Overrides) -> Result<Loaded, Failure> {
    let mut text = source.clone();
    let mut sink = Sink::new();
    let set = append_overrides(&mut text, overrides)?;
    let mut tree = syntax::parse(&text, &mut sink);
    let set = take_overrides(&mut tree, set);
    let project = Project::of(file);
    let main = Source { id: project.id(file), name: file.display().to_string(), text };
    let (tree, texts) = lang::import(tree, main, &|from, path| project.read(from, path), &mut sink);
    // A text that could not be read whole is not checked: half of it would be reported as missing.
    let compiled = if sink.has_errors() { None } else { lang::compile(&tree, &set, &mut sink) };
    let experiment = compiled.and_then(|compiled| with_data(compiled, &texts, &mut sink));
    let failed = sink.has_errors();
    let experiment = experiment.filter(|_| !failed);
    Ok(Loaded { name: file.display().to_string(), source, texts, diagnostics: sink.finish(), experiment })
}

/// Overrides become `arm` blocks behind the text, so that the one parser reads them and messages can show them.
fn append_overrides(text: &mut String, overrides: &Overrides) -> Result<usize, Failure> {
    for set in &overrides.set {
        let record = set.split_once('=').is_some_and(|(_, value)| value.trim_start().starts_with('{'));
        if !set.contains('=') || set.contains(['\n', '{', '}', ';']) && !record {
            return Err(Failure::Usage(format!(
                "`--set {set}` is not of the form PATH=EXPR, such as `train.steps=100`"
            )));
        }
        text.push_str(&format!("\narm command_line {{ {set} }}"));
    }
    if !overrides.set.is_empty() {
        text.push('\n');
    }
    Ok(overrides.set.len())
}

/// Takes the last `count` arms, which [`append_overrides`] wrote, out of the tree.
fn take_overrides(tree: &mut syntax::File, count: usize) -> Vec<Field> {
    let at = tree.items.len().saturating_sub(count);
    let taken = tree.items.split_off(at);
    taken
        .into_iter()
        .flat_map(|item| if let ItemKind::Arm { fields, .. } = item.kind { fields } else { vec![] })
        .collect()
}

/// Loads the data sets of a plan; a file that does not fit becomes a diagnostic at its `data` item.
fn with_data(compiled: Compiled, texts: &Texts, sink: &mut Sink) -> Option<Experiment> {
    let Compiled { plan, files } = compiled;
    let mut loaded: Vec<DataBytes> = Vec::new();
    for file in &files {
        // A path is taken from the folder of the file that it stands in.
        let folder = Path::new(texts.id(file.span)).parent().unwrap_or(Path::new("."));
        let path = folder.join(&file.path);
        match read_path(&path) {
            Ok(bytes) => loaded.push(DataBytes { name: file.name.clone(), path, bytes }),
            Err(error) => sink.push(
                Diagnostic::error("E0601", file.span, format!("`{}` cannot be read: {error}", file.path))
                    .help(format!("the path is taken from the folder of the `.meta` file: {}", path.display())),
            ),
        }
    }
    let mut sets = DataSets::new();
    for source in sources(&plan).into_values() {
        let Some(contents) = contents(source, |name| loaded.iter().find(|f| f.name == name).map(|f| &f.bytes)) else {
            continue; // A file that cannot be read has been reported.
        };
        let first = files.iter().find(|f| f.set == source.name)?;
        match read_into(&mut sets, source, &contents) {
            Ok(()) => check_fit(&plan, &source.name, &sets, first.span, sink),
            Err(error) => sink
                .push(Diagnostic::error("E0602", first.span, format!("`{}`: {error}", first.path)).help(error.help())),
        }
    }
    (!sink.has_errors()).then_some(Experiment { plan, files: loaded, sets })
}

/// The data sets that the arms of a plan read, each once.
fn sources(plan: &Plan) -> BTreeMap<&str, &DataSource> {
    plan.arms.iter().flat_map(|a| &a.data).map(|source| (source.name.as_str(), source)).collect()
}

/// The contents of the files of a data set, where all of them are there.
fn contents<'b>(source: &DataSource, find: impl Fn(&str) -> Option<&'b FileBytes>) -> Option<Vec<&'b FileBytes>> {
    source.file_names().iter().map(|name| find(name)).collect()
}

/// The data sets of a plan from the contents of its files.
pub fn read_sets(plan: &Plan, found: &BTreeMap<String, FileBytes>) -> Result<DataSets, String> {
    let mut sets = DataSets::new();
    for source in sources(plan).into_values() {
        let files =
            contents(source, |name| found.get(name)).ok_or_else(|| format!("data `{}` is missing", source.name))?;
        read_into(&mut sets, source, &files).map_err(|e| format!("data `{}`: {e}", source.name))?;
    }
    Ok(sets)
}

/// Adds what the files of a source hold: examples, or parameters.
fn read_into(sets: &mut DataSets, source: &DataSource, files: &[&FileBytes]) -> Result<(), DataError> {
    let name = source.name.clone();
    if source.reader.is_weights() {
        sets.insert_weights(name, data::read_safetensors(files.first().copied().cloned().unwrap_or_default())?);
    } else {
        let files: Vec<&[u8]> = files.iter().map(|file| &***file).collect();
        sets.insert(name, data::read(&source.reader, &files)?);
    }
    Ok(())
}

/// Examples or parameters must fit the plan that was made for them.
fn check_fit(plan: &Plan, name: &str, sets: &DataSets, span: Span, sink: &mut Sink) {
    if let Some(set) = sets.get(name) {
        check_set(plan, name, set, span, sink);
    }
    if let Some(weights) = sets.weights(name) {
        check_weights(plan, name, weights, span, sink);
    }
}

/// A file of parameters must have some of the model's, and with the dims that they have there.
fn check_weights(plan: &Plan, name: &str, weights: &Weights, span: Span, sink: &mut Sink) {
    for model in plan.arms.iter().map(|arm| &arm.model).filter(|model| model.weights.as_deref() == Some(name)) {
        let found = model.params.iter().filter_map(|slot| Some((slot, weights.dims(&slot.name)?)));
        let found: Vec<_> = found.collect();
        if let Some((slot, there)) = found.iter().find(|(slot, dims)| *dims != slot.dims) {
            let here = &slot.dims;
            let message = format!("`{}` has dims {there:?} in the file, but {here:?} in the model", slot.name);
            sink.push(
                Diagnostic::error("E0607", span, message).help("give the model the sizes that the file was made with"),
            );
            return;
        }
        if found.is_empty() {
            let some: Vec<&str> = weights.names().take(3).collect();
            sink.push(
                Diagnostic::error("E0607", span, "no parameter of the model has its name in this file")
                    .help(format!("it has `{}`, ..", some.join("`, `")))
                    .help("names of layers are those of the `let`s that they stand in; what stands before may be left out"),
            );
            return;
        }
    }
}

/// Examples must have the size that the plan was made for, and class numbers lie within the model's outputs.
fn check_set(plan: &Plan, name: &str, set: &DataSet, span: Span, sink: &mut Sink) {
    for arm in &plan.arms {
        let readers: Vec<&Clients> =
            arm.families.iter().filter_map(|f| f.source.as_ref()).filter(|s| s.data == name).collect();
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        if let Some(source) = readers.iter().find(|s| size(&s.example[0].dims) != size(set.features.dims())) {
            let (found, wanted) = (set.features.dims(), &source.example[0].dims);
            sink.push(
                Diagnostic::error(
                    "E0604",
                    span,
                    format!("an example has dims {found:?}, but the model takes {wanted:?}"),
                )
                .help("give the model's input `x` these dims, or as many entries under other dims"),
            );
        }
        let classes = arm.model.forward.output_dims().next().and_then(|d| d.first().copied()).unwrap_or(0);
        let numbered = readers.iter().filter(|s| s.ways.is_none());
        let told_apart = numbered.map(|s| s.partition.own_classes().map_or(set.classes(), |n| n as usize)).max();
        let Some(found) = told_apart.filter(|_| takes_classes(arm)) else { continue };
        if set.classes() == 0 {
            sink.push(
                Diagnostic::error("E0605", span, "the targets are numbers, and the loss is one of classes")
                    .help("choose a loss of numbers such as `squared`, or read a column of classes with `label`"),
            );
        } else if found > classes {
            sink.push(
                Diagnostic::error(
                    "E0603",
                    span,
                    format!("the data has {found} classes, but the model predicts {classes}"),
                )
                .help("widen the model's output, or check the `label` column"),
            );
        }
    }
}

fn takes_classes(arm: &Arm) -> bool {
    let objectives = arm.evaluations.iter().map(|e| &e.objective).chain(arm.trains().map(|t| &t.objective));
    let mut losses = objectives.filter_map(|o| if let Objective::Sample { loss, .. } = o { Some(loss) } else { None });
    let accuracy = arm.measures.iter().any(|m| matches!(m.what, What::Evaluation { metric: Metric::Accuracy, .. }));
    accuracy || losses.any(|l| *l == Loss::CrossEntropy)
}

impl Loaded {
    /// The experiment, or the failure after printing its errors. Warnings are printed either way.
    pub fn or_report(self) -> Result<(Experiment, String), Failure> {
        self.print_diagnostics()?;
        match self.experiment {
            Some(experiment) => Ok((experiment, self.source)),
            None => Err(Failure::Experiment),
        }
    }

    /// Prints the diagnostics on the error stream.
    pub fn print_diagnostics(&self) -> Result<(), Failure> {
        if !self.diagnostics.is_empty() {
            let colour = std::io::stderr().is_terminal();
            let mut out = anstream::stderr();
            for (name, text, diagnostics) in self.texts.split(&self.diagnostics) {
                write!(out, "{}", diag::render(text, name, &diagnostics, colour))?;
            }
            let codes: BTreeSet<&str> = self.diagnostics.iter().map(|d| d.code).collect();
            writeln!(out, "more: metadsl explain {}", Vec::from_iter(codes).join(" "))?;
        }
        Ok(())
    }

    /// Whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}
