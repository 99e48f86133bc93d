//! Tables of comma-separated values: one row for each step, or one for each value as `metadsl export` writes them.

use std::collections::BTreeMap;

use csv::StringRecord;

use super::{Foreign, Found, whole};
use crate::cli::args::Import as Options;
use crate::cli::export::COLUMNS;
use crate::cli::failure::Failure;

/// Columns that are taken for that of the steps where none is named.
const STEPS: [&str; 3] = ["step", "epoch", "iteration"];

/// Reads a table.
pub(super) fn read(options: &Options) -> Result<Found, Failure> {
    let wrong = |what: String| Failure::Usage(format!("`{}`: {what}", options.path.display()));
    let mut reader = csv::Reader::from_path(&options.path).map_err(|e| wrong(e.to_string()))?;
    let head = reader.headers().map_err(|e| wrong(e.to_string()))?.clone();
    let layout = Layout::of(options, &head).map_err(wrong)?;
    let stem = options.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut runs: BTreeMap<Vec<String>, (u64, Foreign)> = BTreeMap::new();
    for row in reader.records() {
        let row = row.map_err(|e| wrong(e.to_string()))?;
        let line = row.position().map_or(0, csv::Position::line);
        let key: Vec<String> = layout.by.iter().map(|&(_, at)| row[at].to_owned()).collect();
        let (rows, run) = runs.entry(key.clone()).or_insert_with(|| (0, layout.run(&stem, &key)));
        let step = match layout.step {
            Some(at) => {
                whole(row[at].trim()).ok_or_else(|| wrong(format!("line {line}: `{}` is no step", &row[at])))?
            }
            None => *rows,
        };
        *rows += 1;
        for (measure, text) in layout.values(&row) {
            if !text.trim().is_empty() {
                let number = text.trim().parse().map_err(|_| {
                    wrong(format!(
                        "line {line}: `{text}` in `{measure}` is no number; `--by {measure}` makes it a setting"
                    ))
                })?;
                run.series.entry(measure.to_owned()).or_default().push((step, number));
            }
        }
    }
    Ok(Found { runs: runs.into_values().map(|(_, run)| run).collect(), skipped: Vec::new() })
}

/// What the columns of a table are.
struct Layout {
    step: Option<usize>,
    /// The columns whose values tell runs apart.
    by: Vec<(String, usize)>,
    measures: Measures,
    /// The column with the name of the experiment.
    experiment: Option<usize>,
}

enum Measures {
    /// A column for each.
    Wide(Vec<(String, usize)>),
    /// The columns of its name and its value.
    Long(usize, usize),
}

impl Layout {
    fn of(options: &Options, head: &StringRecord) -> Result<Layout, String> {
        let find = |name: &str| head.iter().position(|column| column == name);
        let missing = |name: &String| format!("there is no column `{name}`; there are {}", list(head));
        let named = |name: &String| find(name).map(|at| (name.clone(), at)).ok_or_else(|| missing(name));
        if head.iter().eq(COLUMNS) {
            let [run, experiment, arm, seed, measure, step, value] = COLUMNS.map(|name| find(name).unwrap_or(0));
            let by = vec![
                ("run".to_owned(), run),
                ("experiment".to_owned(), experiment),
                ("arm".to_owned(), arm),
                ("seed".to_owned(), seed),
            ];
            let measures = Measures::Long(measure, value);
            return Ok(Layout { step: Some(step), by, measures, experiment: Some(1) });
        }
        let by = options.by.iter().map(named).collect::<Result<Vec<_>, _>>()?;
        let step = match &options.step {
            Some(name) => Some(named(name)?.1),
            None => STEPS.iter().find_map(|name| find(name)),
        };
        let others = head.iter().enumerate().filter(|(at, _)| Some(*at) != step && by.iter().all(|(_, b)| b != at));
        let measures = Measures::Wide(others.map(|(at, name)| (name.to_owned(), at)).collect());
        Ok(Layout { step, by, measures, experiment: None })
    }

    /// The run that these values of the columns `by` tell from others.
    fn run(&self, stem: &str, key: &[String]) -> Foreign {
        let settings = self.by.iter().zip(key).map(|((name, _), value)| (name.clone(), value.clone()));
        let said = settings.clone().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        Foreign {
            name: if said.is_empty() { stem.to_owned() } else { said.join(" ") },
            experiment: self.experiment.and_then(|at| key.get(at)).map_or_else(|| stem.to_owned(), Clone::clone),
            status: "ok".to_owned(),
            settings: settings.collect(),
            ..Foreign::default()
        }
    }

    /// The measures of a row with their texts.
    fn values<'a>(&'a self, row: &'a StringRecord) -> Vec<(&'a str, &'a str)> {
        match &self.measures {
            Measures::Wide(columns) => columns.iter().map(|(name, at)| (name.as_str(), &row[*at])).collect(),
            Measures::Long(measure, value) => vec![(&row[*measure], &row[*value])],
        }
    }
}

fn list(head: &StringRecord) -> String {
    head.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
