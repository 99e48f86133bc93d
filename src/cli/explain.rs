//! `metadsl explain`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Explain;
use super::failure::Failure;
use crate::diag::{self, Explanation, closest};

/// The width that paragraphs are broken at.
const WIDTH: usize = 100;

/// Says what codes mean.
pub fn explain(options: &Explain) -> Result<ExitCode, Failure> {
    let mut out = anstream::stdout();
    if let [name] = options.codes.as_slice()
        && let Some(experiment) = diag::example_experiment(name)
    {
        write!(out, "{experiment}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let found: Vec<Explanation> = if options.codes.is_empty() {
        diag::explanations().collect()
    } else {
        options.codes.iter().map(|code| diag::explain(code).ok_or_else(|| unknown(code))).collect::<Result<_, _>>()?
    };
    if options.json {
        writeln!(out, "{}", found.iter().map(to_json).collect::<Value>())?;
    } else if options.codes.is_empty() {
        for e in &found {
            writeln!(out, "{}  {}", e.code, e.title)?;
        }
    } else {
        write!(out, "{}", found.iter().map(text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(code: &str) -> Failure {
    let known: Vec<&str> = diag::explanations().map(|e| e.code).collect();
    let near = closest(&code.to_uppercase(), known.iter().copied());
    let help = near.map_or("`metadsl explain` lists all".into(), |near| format!("did you mean `{near}`?"));
    Failure::Usage(format!("no message has the code `{code}`; {help}"))
}

fn text(e: &Explanation) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "{}: {}\n\n{}\n\nwrong:\n\n{}\nright:\n\n{}\nthe rest of the experiment: metadsl explain {}\n",
        e.code,
        e.title,
        wrap(e.reason),
        indented(e.wrong),
        indented(e.right),
        e.experiment
    )
}

/// A paragraph in lines of at most [`WIDTH`] characters, where its words allow it.
fn wrap(paragraph: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn to_json(e: &Explanation) -> Value {
    json!({
        "code": e.code, "title": e.title, "reason": e.reason, "experiment": e.experiment, "wrong": e.wrong, "right": e.right,
    })
}
