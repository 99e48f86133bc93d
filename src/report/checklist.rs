//! What a record knows of the questions of the NeurIPS paper checklist; what it cannot know it says.

use super::curve::band_words;
use super::record::Record;
use super::text::{count, duration};
use crate::plan::{TaskSource, print};

/// The facts of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The question's place in the checklist and its short name.
    pub question: &'static str,
    /// What the record knows, one fact a line; texts from the record are as they are.
    pub facts: Vec<String>,
}

/// The questions that a record can help to answer (NeurIPS paper checklist, questions 4 to 8 and 12).
pub fn checklist(record: &Record) -> Vec<Answer> {
    let answer = |question, facts| Answer { question, facts };
    vec![
        answer("4. Reproducibility of results", reproducibility(record)),
        answer("5. Open access to data and code", data_and_code(record)),
        answer("6. Experimental setting", setting(record)),
        answer("7. Statistical significance", significance(record)),
        answer("8. Compute resources", compute(record)),
        answer(
            "12. Licences of existing assets",
            vec!["The record does not know the licences of data and models; state them with their sources.".into()],
        ),
    ]
}

fn reproducibility(record: &Record) -> Vec<String> {
    let mut facts = vec![
        format!(
            "`metadsl replay {}` runs the experiment again from the record alone and compares every bit.",
            record.id
        ),
        format!("Same plan, data, seeds and numerics: input {}; the result: {}.", record.run.input, record.run.result),
        match record.replays.len() {
            0 => "The ledger holds no replay of this result yet.".to_owned(),
            n => format!("The ledger holds {}: {}.", count(n, "replay"), verdicts(record)),
        },
    ];
    if !record.plan.claims.is_empty() {
        facts.push(format!("{} of {} hold.", record.held(), count(record.plan.claims.len(), "stated claim")));
    }
    facts
}

/// `2 x identical`
pub(super) fn verdicts(record: &Record) -> String {
    let words: Vec<String> = record.replays.iter().map(ToString::to_string).collect();
    let mut distinct: Vec<&String> = Vec::new();
    for word in &words {
        if !distinct.contains(&word) {
            distinct.push(word);
        }
    }
    let times = |word: &String| words.iter().filter(|w| *w == word).count();
    distinct.into_iter().map(|w| format!("{} x {w}", times(w))).collect::<Vec<_>>().join("; ")
}

fn data_and_code(record: &Record) -> Vec<String> {
    let mut facts = vec![format!("Code: metadsl {}, and the recorded text of the experiment.", record.env.version)];
    if record.manifest.files.is_empty() {
        facts.push("Data: all data are drawn from the laws that the experiment states; there are no files.".into());
    }
    facts.extend(
        record.manifest.files.iter().map(|f| format!("Data `{}`: {} bytes, BLAKE3 {}.", f.name, f.bytes, f.blob)),
    );
    facts
}

fn setting(record: &Record) -> Vec<String> {
    let mut facts = Vec::new();
    for arm in &record.plan.arms {
        let text = print::arm(arm);
        let block = text.lines().skip_while(|l| !l.starts_with("  train"));
        let lines = block.clone().take(1).chain(block.skip(1).take_while(|l| l.starts_with("    ")));
        let lines: Vec<&str> = lines.map(str::trim).collect();
        facts.push(format!("Arm `{}`: {}.", arm.name, lines.join("; ")));
        for evaluation in &arm.evaluations {
            let count = match &evaluation.tasks {
                TaskSource::Fresh { .. } => format!("{} new tasks", evaluation.tasks.per_step()),
                TaskSource::Pool { .. } => {
                    format!("the {} tasks of a fixed set", evaluation.tasks.pool_size().unwrap_or_default())
                }
            };
            facts.push(format!("Arm `{}`, evaluation `{}`: on {count}.", arm.name, evaluation.name));
        }
    }
    facts.push("The plan spells out every default, laws of initial values and splits included.".into());
    facts
}

fn significance(record: &Record) -> Vec<String> {
    let seeds: Vec<String> = record.plan.seeds.iter().map(u64::to_string).collect();
    let mut facts = vec![
        format!(
            "{}: {}. All arms see the same random streams under a seed.",
            count(seeds.len(), "seed"),
            seeds.join(", ")
        ),
        format!("Curves: {}.", band_words(seeds.len())),
        "A seed changes everything that is drawn: the world, tasks, examples, initial parameters.".into(),
    ];
    facts.push(match record.diverged() {
        0 => "Every cell (arm and seed) made all its steps.".into(),
        n => format!("{n} of {} diverged; they count against the claims.", count(record.cells.len(), "cell")),
    });
    facts
}

fn compute(record: &Record) -> Vec<String> {
    let env = &record.env;
    let cells = record.cells.len();
    vec![
        format!("{} on {} threads of {} ({}/{}).", env.device, env.threads, env.cpu, env.os, env.arch),
        format!(
            "{} for all {}, measurements included; {} on average.",
            duration(record.seconds()),
            count(cells, "cell"),
            duration(record.seconds() * env.threads.min(cells as u64) as f64 / cells.max(1) as f64)
        ),
        "Preliminary and failed runs are in the ledger as far as they were recorded in it (`metadsl log`).".into(),
    ]
}
