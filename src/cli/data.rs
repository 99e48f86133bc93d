//! `metadsl data`: who holds what.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Data as Options;
use super::failure::Failure;
use super::load::{Experiment, load};
use super::table::columns;
use crate::catalog::Partition;
use crate::data::{DataSet, Targets};
use crate::numeric::median;
use crate::plan::{Clients, Stratum};
use crate::report::text::{count, visible};
use crate::train::{self, Client};

/// With more labels than this, a table says how many of them a client holds and not which.
const LABEL_COLUMNS: usize = 20;

/// The cells of the longest bar.
const BAR: usize = 24;

/// Shows how data is divided among clients.
pub fn data(options: &Options) -> Result<ExitCode, Failure> {
    let (experiment, _) = load(&options.file, &options.overrides)?.or_report()?;
    let seed = options.seed.unwrap_or_else(|| experiment.plan.seeds.first().copied().unwrap_or(0));
    let divisions = divisions(&experiment, seed)?;
    if divisions.is_empty() {
        let name = &experiment.plan.experiment;
        return Err(Failure::Usage(format!("no tasks of `{name}` are clients of a data set (`tasks NAME from DATA`)")));
    }
    let mut out = anstream::stdout();
    if options.json {
        writeln!(out, "{}", Json::from_iter(divisions.iter().map(|d| d.to_json(seed))))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (i, division) in divisions.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        write!(out, "{gap}{}\n{}", division.summary(seed), division.table(options.clients, options.plot))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One way in which arms divide a data set.
struct Division<'a> {
    family: &'a str,
    arms: Vec<&'a str>,
    source: &'a Clients,
    strata: &'a [Stratum],
    set: &'a DataSet,
    clients: Vec<Client>,
}

/// The ways in which the arms divide their data, each once.
fn divisions(experiment: &Experiment, seed: u64) -> Result<Vec<Division<'_>>, Failure> {
    let mut found: Vec<Division> = Vec::new();
    for arm in &experiment.plan.arms {
        let mut tables = train::client_tables(arm, seed, &experiment.sets)?;
        for family in &arm.families {
            let Some(source) = &family.source else { continue };
            let strata = family.strata.as_slice();
            let same = |d: &&mut Division| d.family == family.name && d.source == source && d.strata == strata;
            if let Some(same) = found.iter_mut().find(same) {
                same.arms.push(&arm.name);
                continue;
            }
            let clients = tables.remove(&family.name).expect("a table for every family made from data");
            let set = experiment.sets.get(&source.data).expect("the table was made from it");
            found.push(Division { family: &family.name, arms: vec![&arm.name], source, strata, set, clients });
        }
    }
    Ok(found)
}

impl Division<'_> {
    /// The lines above a table.
    fn summary(&self, seed: u64) -> String {
        let sizes: Vec<f64> = self.clients.iter().map(|c| size(c) as f64).collect();
        let mut text = format!(
            "{} from {}: {}, seed {seed}\n  arms: {}\n  {} of {}: {}\n",
            self.family,
            visible(&self.source.data),
            self.source.partition.describe(),
            self.arms.join(", "),
            sizes.iter().sum::<f64>(),
            count(self.set.len(), "example"),
            spread(&sizes),
        );
        if self.set.classes() > 0 {
            let held: Vec<f64> =
                self.clients.iter().map(|c| self.labels(c).iter().filter(|n| **n > 0).count() as f64).collect();
            text.push_str(&format!("  of {}: {}\n", count(self.set.classes(), "label"), spread(&held)));
        }
        text
    }

    /// One line per client: what it holds, of every label, as numbers or drawn.
    fn table(&self, limit: usize, plot: bool) -> String {
        let shown = &self.clients[..self.clients.len().min(limit)];
        let each = (1..=LABEL_COLUMNS).contains(&self.set.classes());
        let largest = self.clients.iter().map(size).max().unwrap_or(0);
        let densest = self.clients.iter().flat_map(|c| self.labels(c)).max().unwrap_or(0);
        let mut head = vec!["client".to_owned()];
        head.extend(self.stratum(0).map(|_| "stratum".into()));
        head.extend(["examples", "train", "held out"].map(str::to_owned));
        match (each, plot) {
            (true, true) => {
                head.push((0..self.set.classes()).map(|label| label.to_string().pop().unwrap_or(' ')).collect())
            }
            (true, false) => head.extend((0..self.set.classes()).map(|label| label.to_string())),
            (false, _) if self.set.classes() > 0 => head.push("labels".into()),
            (false, _) => {}
        }
        let row = |(i, client): (usize, &Client)| {
            let mut cells = vec![self.name(i)];
            cells.extend(self.stratum(i).map(str::to_owned));
            cells.extend([size(client), client.train.len(), client.held_out.len()].map(|n| n.to_string()));
            let labels = self.labels(client);
            match (each, plot) {
                (true, true) => cells.push(labels.iter().map(|&n| shade(n, densest)).collect()),
                (true, false) => cells.extend(labels.iter().map(|&n| if n == 0 { ".".into() } else { n.to_string() })),
                (false, _) if !labels.is_empty() => cells.push(labels.iter().filter(|n| **n > 0).count().to_string()),
                (false, _) => {}
            }
            if plot {
                cells.push(bar(size(client), largest));
            }
            cells
        };
        let rows: Vec<Vec<String>> = [head].into_iter().chain(shown.iter().enumerate().map(row)).collect();
        let mut text = columns(&rows);
        if shown.len() < self.clients.len() {
            let (more, all) = (self.clients.len() - shown.len(), self.clients.len());
            text.push_str(&format!("and {} (`--clients {all}` shows all)\n", count(more, "more client")));
        }
        text
    }

    fn to_json(&self, seed: u64) -> Json {
        let clients = self.clients.iter().enumerate().map(|(i, c)| {
            let mut of = json!({ "client": self.name(i), "train": c.train.len(), "held_out": c.held_out.len(), "labels": self.labels(c) });
            if let Some(stratum) = self.stratum(i) {
                of["stratum"] = stratum.into();
            }
            of
        });
        json!({
            "family": self.family, "arms": self.arms, "data": self.source.data, "seed": seed,
            "partition": self.source.partition.describe(), "clients": clients.collect::<Vec<Json>>(),
        })
    }

    /// The stratum of a client, where they have several.
    fn stratum(&self, client: usize) -> Option<&str> {
        let mut ends = self.strata.iter().scan(0, |end, s| {
            *end += s.count;
            Some((s.name.as_str(), *end))
        });
        ends.find(|(_, end)| (client as u64) < *end).map(|(name, _)| name).filter(|_| self.strata.len() > 1)
    }

    /// The owner's name where owners are the clients, else the number.
    fn name(&self, client: usize) -> String {
        match (&self.source.partition, &self.set.owners) {
            (partition @ Partition::Owners { .. }, Some(owners)) => {
                let owner = partition.numbers().nth(client).expect("every client is an owner that is named");
                visible(&owners.names[owner as usize])
            }
            _ => client.to_string(),
        }
    }

    /// How many examples of every label a client holds; empty where targets are numbers.
    fn labels(&self, client: &Client) -> Vec<usize> {
        let mut counts = vec![0; self.set.classes()];
        if let Targets::Classes { labels, .. } = &self.set.targets {
            client.train.iter().chain(&client.held_out).for_each(|&row| counts[labels[row] as usize] += 1);
        }
        counts
    }
}

fn size(client: &Client) -> usize {
    client.train.len() + client.held_out.len()
}

/// `17 to 18 a client, median 18`
fn spread(values: &[f64]) -> String {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
    format!("{low} to {high} a client, median {}", median(values))
}

/// A count as a block of eight heights; none is a dot.
fn shade(n: usize, most: usize) -> char {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if n == 0 { '·' } else { HEIGHTS[(n * 8).div_ceil(most) - 1] }
}

/// A count as a bar with eight parts to a cell.
fn bar(n: usize, most: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = if most == 0 { 0 } else { (n * BAR * 8).div_ceil(most) };
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_shades_reach_from_nothing_to_the_most() {
        assert_eq!([0, 1, 4, 5, 8].map(|n| shade(n, 8)), ['·', '▁', '▄', '▅', '█']);
        assert_eq!(
            (bar(0, 0), bar(0, 48), bar(1, 48), bar(48, 48)),
            ("".into(), "".into(), "▌".into(), "█".repeat(24))
        );
    }
}
