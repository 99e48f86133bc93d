//! JSON: one example a line (`.jsonl`), and the users of LEAF (Caldas et al. 2018).

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use super::archive::Archive;
use super::rows::{Rows, numbers};
use super::source::read_text;
use super::{DataError, DataSet};

/// The fields of one object a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JsonlOptions<'a> {
    /// The field of the inputs: a number, or lists of numbers as deep as the inputs have dims.
    pub x: &'a str,
    /// The field of the target: a whole number is a class, another one a number to be predicted.
    pub y: &'a str,
    /// The field that names the owner.
    pub owner: Option<&'a str>,
    /// What every input is multiplied by.
    pub scale: f64,
}

/// One example a line; empty lines are skipped. Targets are classes where all of them are whole and written without a point.
pub fn read_jsonl(bytes: &[u8], options: JsonlOptions) -> Result<DataSet, DataError> {
    read_lines(bytes, options, |value, out| numbers(value, options.scale, out))
}

/// The same, where `inputs` adds the numbers of the field `x` to a list and gives their dims.
pub(super) fn read_lines(
    bytes: &[u8],
    options: JsonlOptions,
    inputs: impl Fn(&Value, &mut Vec<f64>) -> Result<Vec<usize>, String>,
) -> Result<DataSet, DataError> {
    let text = read_text(bytes)?;
    let mut rows = Rows::default();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = format!("line {}", number + 1);
        let object: BTreeMap<String, Value> =
            serde_json::from_str(line).map_err(|e| wrong(JSONL, format!("{at}: {e}")))?;
        let field = |name: &str| {
            let known = || object.keys().cloned().collect::<Vec<_>>().join(", ");
            object.get(name).ok_or_else(|| wrong(JSONL, format!("{at} has no field `{name}`; it has {}", known())))
        };
        let owner = match options.owner.map(field).transpose()? {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => Some(other.to_string()),
        };
        let x = field(options.x)?;
        rows.push(|out| inputs(x, out), field(options.y)?, owner)
            .map_err(|reason| wrong(JSONL, format!("{at}: {reason}")))?;
    }
    rows.finish()
}

/// What a LEAF file holds.
#[derive(Deserialize)]
struct Leaf {
    users: Vec<String>,
    user_data: BTreeMap<String, LeafUser>,
}

#[derive(Deserialize)]
struct LeafUser {
    x: Vec<Value>,
    y: Vec<Value>,
}

/// All `.json` files of an archive whose path contains `part` (`train` or `test`); the users are the owners.
pub fn read_leaf(bytes: &[u8], part: &str, scale: f64) -> Result<DataSet, DataError> {
    let mut archive = Archive::open(bytes)?;
    let inside = |path: &String| path.ends_with(".json") && path.split('/').any(|folder| folder == part);
    let wanted: Vec<String> = archive.paths().into_iter().filter(inside).collect();
    if wanted.is_empty() {
        return Err(wrong(LEAF, format!("there is no `.json` file in a folder `{part}`")));
    }
    let mut rows = Rows::default();
    for path in wanted {
        let content = archive.read(&path)?;
        let leaf: Leaf = serde_json::from_slice(&content).map_err(|e| wrong(LEAF, format!("`{path}`: {e}")))?;
        for user in &leaf.users {
            let held =
                leaf.user_data.get(user).ok_or_else(|| wrong(LEAF, format!("`{path}`: user `{user}` has no data")))?;
            if held.x.len() != held.y.len() {
                return Err(DataError::Counts { inputs: held.x.len(), targets: held.y.len() });
            }
            for (i, (x, y)) in held.x.iter().zip(&held.y).enumerate() {
                rows.push(|out| numbers(x, scale, out), y, Some(user.clone()))
                    .map_err(|reason| wrong(LEAF, format!("`{path}`, example {i} of user `{user}`: {reason}")))?;
            }
        }
    }
    rows.finish()
}

const JSONL: &str = "file of JSON lines";
const LEAF: &str = "LEAF data set";

fn wrong(what: &'static str, reason: String) -> DataError {
    DataError::Format { what, reason }
}

#[cfg(test)]
mod tests {
    use super::super::Targets;
    use super::super::archive::pack;
    use super::*;

    const OPTIONS: JsonlOptions = JsonlOptions { x: "x", y: "y", owner: Some("who"), scale: 1.0 };

    #[test]
    fn lines() {
        let text =
            "{\"x\": [[1, 2], [3, 4]], \"y\": 1, \"who\": \"b\"}\n\n{\"x\": [[0, 0], [0, 1]], \"y\": 0, \"who\": 7}\n";
        let set = read_jsonl(text.as_bytes(), OPTIONS).unwrap();
        assert_eq!(set.features.dims(), [2, 2]);
        assert_eq!(set.targets, Targets::Classes { labels: vec![1, 0], count: 2 });
        assert_eq!(set.owners.unwrap().names, ["7", "b"]);
        let set = read_jsonl(b"{\"x\": 1, \"y\": 2}\n{\"x\": 1, \"y\": 0.5}", JsonlOptions { owner: None, ..OPTIONS });
        assert_eq!(set.unwrap().targets, Targets::Numbers(vec![2.0, 0.5]));
    }

    #[test]
    fn leaf_users() {
        let json = r#"{"users": ["f2", "f1"], "num_samples": [1, 2],
            "user_data": {"f1": {"x": [[0.5, 1], [0, 0]], "y": [3, 1]}, "f2": {"x": [[1, 1]], "y": [0]}}}"#;
        let packed =
            pack(vec![("femnist/train/all.json".into(), json.into()), ("femnist/test/t.json".into(), vec![])]).unwrap();
        let set = read_leaf(&packed, "train", 1.0).unwrap();
        assert_eq!(set.targets, Targets::Classes { labels: vec![0, 3, 1], count: 4 });
        let owners = set.owners.unwrap();
        assert_eq!((owners.of, owners.names), (vec![1, 0, 0], vec!["f1".to_owned(), "f2".to_owned()]));
        assert!(read_leaf(&packed, "test", 1.0).unwrap_err().to_string().contains("femnist/test/t.json"));
        assert!(read_leaf(&packed, "valid", 1.0).is_err());
    }

    #[test]
    fn faults_name_their_line() {
        let message =
            |text: &str| read_jsonl(text.as_bytes(), JsonlOptions { owner: None, ..OPTIONS }).unwrap_err().to_string();
        assert!(message("{\"x\": 1, \"y\": 0}\n{\"x\": 1}").contains("line 2 has no field `y`; it has x"));
        assert!(
            message("{\"x\": [1, 2], \"y\": 0}\n{\"x\": [1], \"y\": 0}")
                .contains("line 2: its inputs have dims [1], the first ones [2]")
        );
        assert!(message("{\"x\": [[1], [1, 2]], \"y\": 0}").contains("different lengths"));
        assert!(message("{\"x\": [\"a\"], \"y\": 0}").contains("not text"));
        assert!(message("{\"x\": 1, \"y\": null}").contains("not null"));
        assert!(message("{").contains("line 1"));
        assert!(message(&format!("{{\"x\": {}1", "[".repeat(100_000))).contains("recursion limit"));
        assert_eq!(read_jsonl(b"\n", OPTIONS), Err(DataError::Empty));
    }
}
