//! `metadsl log`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Log as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use super::table::columns;
use crate::diag::{self, Diagnostic};
use crate::query::{self, Field, Index, Query, Row, Tags};
use crate::report::text::{json_line, visible};

/// Lists the runs of a ledger that answer a query.
pub fn log(options: &Options) -> Result<ExitCode, Failure> {
    let text = options.query.join(" ");
    let query = query::parse(&text).or_else(|d| refuse("query", &text, &[*d]))?;
    let (asked, fields) = match &options.columns {
        Some(list) => (list.clone(), parse_columns(list)?),
        None => (String::new(), Vec::new()),
    };
    let store = existing_ledger(&options.ledger.ledger)?;
    let seen = query::refresh(&store)?;
    let mut err = anstream::stderr();
    for problem in &seen.problems {
        writeln!(err, "warning: {}; `metadsl verify` tells more", visible(&problem.to_string()))?;
    }
    for (run, error) in &seen.unread {
        writeln!(err, "warning: run {}: {}; `metadsl verify` tells more", run.short(), visible(&error.to_string()))?;
    }
    let (index, tags) = (&seen.index, &seen.tags);
    let wrong = query::check(&query, index, &[]);
    if !wrong.is_empty() {
        return refuse("query", &text, &wrong);
    }
    let wrong = query::check(&Query::default(), index, &fields);
    if !wrong.is_empty() {
        return refuse("columns", &asked, &wrong);
    }
    let mut out = anstream::stdout();
    if options.fields {
        write!(out, "{}", fields_text(index))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = query::select(&query, index, tags);
    if options.json {
        let rows: Vec<Json> = rows.iter().map(|&row| row_json(row, &fields, index, tags)).collect();
        writeln!(out, "{}", json_line(&Json::Array(rows)))?;
    } else if rows.is_empty() {
        let empty = index.rows().next().is_none();
        writeln!(
            out,
            "{}",
            if empty { "no runs yet; `metadsl run FILE.meta` makes one" } else { "no run answers the query" }
        )?;
    } else if options.columns.is_some() {
        write!(out, "{}", columns(&chosen(&rows, &fields, index, tags)))?;
    } else {
        write!(out, "{}", columns(&usual(&rows, index, tags)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what is wrong with a text from the command line, as with an experiment.
fn refuse<T>(name: &str, text: &str, wrong: &[Diagnostic]) -> Result<T, Failure> {
    let colour = std::io::stderr().is_terminal();
    write!(anstream::stderr(), "{}", diag::render(text, name, wrong, colour))?;
    Err(Failure::Refused)
}

/// The fields between commas, those in brackets apart; spans point into the whole list.
fn parse_columns(list: &str) -> Result<Vec<Field>, Failure> {
    let mut at = 0;
    let mut fields = Vec::new();
    let mut inside = false;
    let between = |c: char| {
        inside = if inside { c != ']' } else { c == '[' };
        c == ',' && !inside
    };
    for part in list.split(between) {
        let moved = |span: diag::Span| diag::Span::new(span.start + at, span.end + at);
        match query::parse_field(part) {
            Ok(field) => fields.push(Field { span: moved(field.span), ..field }),
            Err(wrong) => return refuse("columns", list, &[Diagnostic { span: moved(wrong.span), ..*wrong }]),
        }
        at += part.len() + 1;
    }
    Ok(fields)
}

/// A field that is always there.
fn plain(text: &str) -> Field {
    Field { text: text.to_owned(), span: diag::Span::default() }
}

fn shown(row: Row, field: &Field, index: &Index, tags: &Tags) -> String {
    let text = match field.text.as_str() {
        "run" => row.id().short(),
        _ => query::cell(row, field, index, tags),
    };
    visible(&text)
}

fn usual(rows: &[Row], index: &Index, tags: &Tags) -> Vec<Vec<String>> {
    let head = ["run", "finished (UTC)", "experiment", "status", "claims", "seconds", "tags"].map(str::to_owned);
    let mut table = vec![head.to_vec()];
    for &row in rows {
        let cell = |name: &str| shown(row, &plain(name), index, tags);
        table.push(vec![
            cell("run"),
            cell("finished"),
            cell("experiment"),
            cell("status"),
            match cell("claims").as_str() {
                "0" => "none".into(),
                claims => format!("{} of {claims} hold", cell("held")),
            },
            cell("seconds"),
            cell("tag"),
        ]);
    }
    if table.iter().skip(1).all(|line| line[6].is_empty()) {
        table.iter_mut().for_each(|line| line.truncate(6));
    }
    table
}

fn chosen(rows: &[Row], fields: &[Field], index: &Index, tags: &Tags) -> Vec<Vec<String>> {
    let head = fields.iter().map(|f| visible(&f.text)).collect();
    let lines = rows.iter().map(|&row| fields.iter().map(|f| shown(row, f, index, tags)).collect());
    std::iter::once(head).chain(lines).collect()
}

fn row_json(row: Row, fields: &[Field], index: &Index, tags: &Tags) -> Json {
    let value = |name: &str| query::cell_json(row, &plain(name), index, tags);
    let mut object = json!({
        "run": value("run"),
        "input": value("input"),
        "result": value("result"),
        "experiment": value("experiment"),
        "status": value("status"),
        "claims_held": value("held"),
        "claims": value("claims"),
        "started": value("started"),
        "finished": value("finished"),
        "seconds": value("seconds"),
        "tags": tags.get(&row.id()).cloned().unwrap_or_default(),
    });
    if !fields.is_empty() {
        let chosen = fields.iter().map(|f| (f.text.clone(), query::cell_json(row, f, index, tags)));
        object["columns"] = Json::Object(chosen.collect());
    }
    object
}

/// Every field that a query may name here.
fn fields_text(index: &Index) -> String {
    let mut rows: Vec<Vec<String>> =
        query::FIXED.iter().map(|(name, what)| vec![(*name).to_owned(), (*what).to_owned()]).collect();
    let measured = |key: &&str| key.starts_with("last(");
    for key in index.keys().into_iter().filter(measured) {
        rows.push(vec![visible(key), "also first, min, max, best, course; medians over seeds".into()]);
    }
    for key in index.keys().into_iter().filter(|key| key.starts_with("plan.")) {
        rows.push(vec![visible(key), String::new()]);
    }
    columns(&rows)
}
