//! The tasks of Super-NaturalInstructions (Wang et al. 2022): one JSON file a task.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

use super::archive::Archive;
use super::choices::{Choice, read_choices};
use super::{DataError, DataSet};

const INSTRUCTIONS: &str = "Super-NaturalInstructions task";

/// What is read of a file; the other fields are left alone.
#[derive(Deserialize)]
struct Task {
    #[serde(rename = "Definition")]
    definition: Lines,
    #[serde(rename = "Instances")]
    instances: Vec<Instance>,
}

/// A text, or a list of texts that stand together.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Instance {
    input: String,
    output: Lines,
}

impl Lines {
    fn list(self) -> Vec<String> {
        match self {
            Lines::One(text) => vec![text],
            Lines::Many(texts) => texts,
        }
    }
}

/// All `.json` files of folders or archives; the owner of an instance is its task, by the name of the file.
///
/// The definition of the task and the input are to be answered by the first output of the instance, among `candidates` answers of
/// which the others are outputs of other instances of the task. Which ones, a hash of the texts says: the same ones everywhere.
pub fn read_instructions(
    archives: &[&[u8]],
    tokenizer: &[u8],
    length: usize,
    candidates: usize,
) -> Result<DataSet, DataError> {
    let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
    for bytes in archives {
        let mut archive = Archive::open(bytes)?;
        for path in archive.paths().into_iter().filter(|path| path.ends_with(".json")) {
            let task = serde_json::from_slice(&archive.read(&path)?).map_err(|e| wrong(format!("`{path}`: {e}")))?;
            let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json").to_owned();
            if tasks.insert(name, task).is_some() {
                return Err(wrong(format!("`{path}`: another file has the same name")));
            }
        }
    }
    if tasks.is_empty() {
        return Err(wrong("there are no `.json` files".into()));
    }
    let mut found = Vec::new();
    for (name, task) in tasks {
        found.extend(choices(&name, task, candidates)?);
    }
    read_choices(INSTRUCTIONS, found, tokenizer, length)
}

fn wrong(reason: String) -> DataError {
    DataError::Format { what: INSTRUCTIONS, reason }
}

fn choices(name: &str, task: Task, candidates: usize) -> Result<Vec<Choice>, DataError> {
    let definition = task.definition.list().join(" ");
    let mut instances = Vec::new();
    for (i, instance) in task.instances.into_iter().enumerate() {
        let outputs = instance.output.list();
        if outputs.is_empty() {
            return Err(wrong(format!("`{name}.json`, instance {i}: there is no output")));
        }
        instances.push((instance.input, outputs));
    }
    let known: BTreeSet<String> = instances.iter().map(|(_, outputs)| outputs[0].clone()).collect();
    let mut found = Vec::new();
    for (i, (input, outputs)) in instances.into_iter().enumerate() {
        let place = format!("`{name}.json`, instance {i}");
        let mark = |other: &String| blake3::hash(format!("{input}\0{other}").as_bytes());
        let mut others: Vec<&String> = known.iter().filter(|other| !outputs.contains(other)).collect();
        if others.len() + 1 < candidates {
            let have = others.len() + 1;
            return Err(wrong(format!(
                "{place}: the task has {have} answers to choose from, and {candidates} are asked for"
            )));
        }
        others.sort_by_cached_key(|other| *mark(other).as_bytes());
        let right = outputs[0].clone();
        let others = others.into_iter().take(candidates - 1).cloned();
        let candidates = std::iter::once(right.clone()).chain(others).collect();
        found.push(Choice {
            place,
            owner: name.to_owned(),
            context: format!("{definition} {input}"),
            right,
            candidates,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(instances: &str) -> Task {
        let text = format!(
            "{{\"Contributors\": [], \"Definition\": [\"Say the\", \"colour.\"], \"Positive Examples\": [], \"Instances\": [{instances}]}}"
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn instances_become_choices() {
        let instance =
            |i: usize| format!("{{\"id\": \"t-{i}\", \"input\": \"fruit {i}\", \"output\": [\"colour {i}\"]}}");
        let all: Vec<String> = (0..9).map(instance).collect();
        let found = choices("task1", task(&all.join(",")), 4).unwrap();
        assert_eq!((found.len(), found[2].context.as_str()), (9, "Say the colour. fruit 2"));
        for choice in &found {
            let different: BTreeSet<&String> = choice.candidates.iter().collect();
            assert!(different.len() == 4 && choice.candidates.contains(&choice.right));
        }
        let others: BTreeSet<&String> = found.iter().flat_map(|c| &c.candidates[1..]).collect();
        assert!(others.len() > 4, "the others differ from instance to instance");
    }

    #[test]
    fn faults_name_their_instance() {
        let two = "{\"input\": \"a\", \"output\": \"x\"}, {\"input\": \"b\", \"output\": [\"y\", \"x\"]}";
        let message = |text: &str, n| choices("t", task(text), n).unwrap_err().to_string();
        assert!(message(two, 2).contains("`t.json`, instance 1: the task has 1 answers"), "{}", message(two, 2));
        assert!(message("{\"input\": \"a\", \"output\": []}", 1).contains("`t.json`, instance 0: there is no output"));
    }
}
