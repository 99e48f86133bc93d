//! The report: one HTML page that needs no network and no script.

use std::fmt::Write;

use super::checklist::{checklist, verdicts};
use super::cite::{Citation, paper};
use super::curve::{Figure, figures};
use super::plot;
use super::record::{Record, Spread};
use super::text::{count, duration, escape, number, utc};
use crate::ledger::Status;
use crate::plan::print;

const FIGURE_STYLE: &str = include_str!("figure.css");
const PAGE_STYLE: &str = include_str!("page.css");

/// The page of these runs, of at least one. Several runs are first compared and then shown one by one.
pub fn page(records: &[Record]) -> String {
    let title = match records {
        [record] => record.run.experiment.clone(),
        _ => format!("{} compared", count(records.len(), "run")),
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
<link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>{FIGURE_STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(&title)
    );
    if let [record] = records {
        run(&mut out, record, &title);
    } else {
        comparison(&mut out, records, &title);
        for record in records {
            let _ = writeln!(out, "<hr id=\"r{}\">", record.id.short());
            run(&mut out, record, &record.run.experiment);
        }
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn comparison(out: &mut String, records: &[Record], title: &str) {
    let _ = writeln!(
        out,
        "<header><h1>{}</h1></header>\n<div class=\"scroll\"><table><thead><tr><th>run</th><th>experiment</th><th>finished (UTC)</th><th>claims that hold</th><th>time</th></tr></thead><tbody>",
        escape(title)
    );
    for record in records {
        let _ = writeln!(
            out,
            "<tr><td><a href=\"#r{id}\"><code>{id}</code></a></td><td>{}</td><td>{}</td><td class=\"n\">{} of {}</td><td class=\"n\">{}</td></tr>",
            escape(&record.run.experiment),
            utc(record.run.finished_ms),
            record.held(),
            record.plan.claims.len(),
            duration(record.seconds()),
            id = record.id.short(),
        );
    }
    out.push_str("</tbody></table></div>\n");
    // What only one of the runs measures is shown with that run.
    let shared: Vec<Figure> = figures(records)
        .into_iter()
        .filter(|f| records.iter().filter(|r| r.measures().contains(&f.title.as_str())).count() > 1)
        .collect();
    if shared.is_empty() {
        out.push_str("<p>These runs have no measure in common.</p>\n");
    } else {
        plots(out, &shared);
    }
}

fn run(out: &mut String, record: &Record, title: &str) {
    let (shows, cited) = paper(record.source.as_deref());
    let _ = writeln!(out, "<header><h1>{}</h1>", escape(title));
    for line in [shows, cited].iter().filter(|l| !l.is_empty()) {
        let _ = writeln!(out, "<p class=\"lead\">{}</p>", escape(line));
    }
    let claims = record.plan.claims.len();
    let (class, verdict) = match record.held() {
        _ if claims == 0 => ("none", "no claims".to_owned()),
        held if held == claims => ("good", format!("{} hold", count(claims, "claim"))),
        held => ("bad", format!("{held} of {} hold", count(claims, "claim"))),
    };
    let _ = writeln!(
        out,
        "<p class=\"facts\"><span class=\"badge {class}\">{verdict}</span><span>{}</span><span>{}</span><span>{}</span><span>{} UTC</span><code>{}</code></p></header>",
        count(record.plan.arms.len(), "arm"),
        count(record.plan.seeds.len(), "seed"),
        duration(record.seconds()),
        utc(record.run.finished_ms),
        record.id.short(),
    );
    claim_list(out, record);
    out.push_str("<section><h2>Curves</h2>\n");
    plots(out, &figures(std::slice::from_ref(record)));
    out.push_str("</section>\n");
    final_values(out, record);
    plan(out, record);
    provenance(out, record);
    questions(out, record);
}

fn claim_list(out: &mut String, record: &Record) {
    if record.plan.claims.is_empty() {
        return;
    }
    out.push_str("<section><h2>Claims</h2>\n<ul class=\"claims\">\n");
    let citations = Citation::of(record.source.as_deref(), record.plan.claims.len());
    for ((claim, verdict), citation) in record.plan.claims.iter().zip(&record.outcome.claims).zip(citations) {
        let (class, mark) = if verdict.holds { ("good", "holds") } else { ("bad", "fails") };
        let text = citation.text.map(|t| format!("<span class=\"said\">{}</span>", escape(&t))).unwrap_or_default();
        let reference = citation
            .reference
            .map(|r| format!("<span class=\"quiet\">reference: {}</span>", escape(&r)))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "<li><span class=\"badge {class}\">{mark}</span><div>{text}<code>{}</code><span class=\"quiet\">measured: {} {} {}</span>{reference}</div></li>",
            escape(&claim.to_string()),
            number(verdict.left),
            escape(claim.relation.symbol()),
            number(verdict.right),
        );
    }
    out.push_str("</ul></section>\n");
}

fn plots(out: &mut String, figures: &[Figure]) {
    out.push_str("<div class=\"plots\">\n");
    for figure in figures.iter().filter(|f| !f.curves.is_empty()) {
        let _ = writeln!(
            out,
            "<figure>{}<figcaption>{}{}</figcaption></figure>",
            plot::svg(figure),
            escape(&figure.note),
            if figure.curves.iter().any(|c| !c.diverged.is_empty()) { "; a cross: a seed diverged" } else { "" }
        );
    }
    out.push_str("</div>\n");
}

fn final_values(out: &mut String, record: &Record) {
    let measures = record.measures();
    out.push_str("<section><h2>Last values</h2>\n<p class=\"quiet\">Median over seeds, with least and most.</p>\n<div class=\"scroll\"><table><thead><tr><th>arm</th><th class=\"n\">step</th>");
    for measure in &measures {
        let _ = write!(out, "<th class=\"n\">{}</th>", escape(measure));
    }
    out.push_str("<th>seeds</th></tr></thead><tbody>\n");
    for (style, arm) in record.plan.arms.iter().enumerate() {
        let _ = write!(
            out,
            "<tr><td><span class=\"key s{}\"></span>{}</td><td class=\"n\">{}</td>",
            style % 8,
            escape(&arm.name),
            arm.steps()
        );
        for measure in &measures {
            let cell = match Spread::of(&record.last(&arm.name, measure)) {
                _ if !arm.measures.iter().any(|m| m.name == *measure) => String::new(),
                Some(s) => {
                    format!("{}<span class=\"range\">{} – {}</span>", number(s.median), number(s.min), number(s.max))
                }
                None => "diverged".into(),
            };
            let _ = write!(out, "<td class=\"n\">{cell}</td>");
        }
        let cells: Vec<_> = record.cells.iter().filter(|c| c.arm == arm.name).collect();
        let lost: Vec<String> = cells
            .iter()
            .filter_map(|c| match c.status {
                Status::Diverged { step } => Some(format!("{} diverged at step {step}", c.seed)),
                Status::Finished => None,
            })
            .collect();
        let words =
            if lost.is_empty() { cells.len().to_string() } else { format!("{}; {}", cells.len(), lost.join(", ")) };
        let _ = writeln!(out, "<td>{words}</td></tr>");
    }
    out.push_str("</tbody></table></div></section>\n");
}

/// The plan in words: the first arm whole, of the others first what sets them apart.
fn plan(out: &mut String, record: &Record) {
    out.push_str("<section><h2>Plan</h2>\n");
    let texts: Vec<(String, String)> = record.plan.arms.iter().map(|a| (a.name.clone(), print::arm(a))).collect();
    let base = texts.first().map_or("", |t| t.1.as_str());
    for (i, (name, text)) in texts.iter().enumerate() {
        let differs = |line: &&str| i > 0 && !base.lines().any(|l| l == *line);
        let mut apart: Vec<&str> = Vec::new();
        for line in text.lines().skip(1).filter(differs).map(str::trim) {
            if !apart.contains(&line) {
                apart.push(line);
            }
        }
        let summary = match apart.is_empty() {
            _ if i == 0 => String::new(),
            true => ": as the first arm, but for what it lacks".to_owned(),
            false => format!(": <span class=\"quiet\">{}</span>", escape(&apart.join(" · "))),
        };
        let _ = write!(out, "<details><summary><b>{}</b>{summary}</summary><pre>", escape(name));
        for line in text.lines() {
            let line_text = escape(line);
            let _ =
                if differs(&line) { writeln!(out, "<mark>{line_text}</mark>") } else { writeln!(out, "{line_text}") };
        }
        out.push_str("</pre></details>\n");
    }
    if let Some(source) = &record.source {
        let _ = writeln!(
            out,
            "<details><summary><b>the experiment as it was written</b></summary><pre>{}</pre></details>",
            escape(source)
        );
    }
    out.push_str("</section>\n");
}

fn provenance(out: &mut String, record: &Record) {
    let env = &record.env;
    let _ = writeln!(
        out,
        "<section><h2>Replay</h2>\n<p>With this ledger at hand, on any machine:</p>\n<pre class=\"command\">metadsl replay {}</pre>\n<p class=\"quiet\">{}</p>\n<h2>Provenance</h2>\n<div class=\"scroll\"><table class=\"pairs\"><tbody>",
        record.id.short(),
        if record.replays.is_empty() {
            "The ledger holds no replay of this result yet.".to_owned()
        } else {
            format!("Replayed: {}.", escape(&verdicts(record)))
        }
    );
    let mut rows = vec![
        ("run", format!("<code>{}</code>", record.id)),
        ("input", format!("<code>{}</code>", record.run.input)),
        ("result", format!("<code>{}</code>", record.run.result)),
        ("plan", format!("<code>{}</code>", record.input.plan)),
        (
            "numerics",
            escape(&format!(
                "{}, {}, epoch {}, {}",
                record.numerics.executor, record.numerics.precision, record.numerics.epoch, record.numerics.random
            )),
        ),
        ("program", escape(&format!("metadsl {}", env.version))),
        (
            "machine",
            escape(&format!("{}, {} threads, {} on {}/{}", env.device, env.threads, env.cpu, env.os, env.arch)),
        ),
        (
            "time",
            format!(
                "{} to {} UTC, {}",
                utc(record.run.started_ms),
                utc(record.run.finished_ms),
                duration(record.seconds())
            ),
        ),
    ];
    for file in &record.manifest.files {
        rows.push(("data", format!("{}, {} bytes, <code>{}</code>", escape(&file.name), file.bytes, file.blob)));
    }
    for (key, value) in rows {
        let _ = writeln!(out, "<tr><th>{key}</th><td>{value}</td></tr>");
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn questions(out: &mut String, record: &Record) {
    out.push_str(
        "<section><h2>Checklist</h2>\n<p class=\"quiet\">What the record knows of the NeurIPS paper checklist.</p>\n",
    );
    for answer in checklist(record) {
        let _ = write!(out, "<details><summary><b>{}</b></summary><ul>", escape(answer.question));
        for fact in &answer.facts {
            let _ = write!(out, "<li>{}</li>", escape(fact));
        }
        out.push_str("</ul></details>\n");
    }
    out.push_str("</section>\n");
}
