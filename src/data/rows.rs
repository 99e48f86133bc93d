//! Examples as a file tells them, one after the other.

use serde_json::Value;

use super::{DataError, DataSet, Features, Owners, Targets};

/// Examples as they come in.
#[derive(Default)]
pub(super) struct Rows {
    dims: Option<Vec<usize>>,
    x: Vec<f64>,
    y: Vec<f64>,
    /// The targets where they are names of classes.
    names: Vec<String>,
    whole: bool,
    owners: Vec<String>,
}

impl Rows {
    /// Adds an example: `x` adds its numbers to a list and gives their dims.
    pub(super) fn push(
        &mut self,
        x: impl FnOnce(&mut Vec<f64>) -> Result<Vec<usize>, String>,
        y: &Value,
        owner: Option<String>,
    ) -> Result<(), String> {
        let dims = x(&mut self.x)?;
        match &self.dims {
            None => self.dims = Some(dims),
            Some(first) if *first != dims => {
                return Err(format!("its inputs have dims {dims:?}, the first ones {first:?}"));
            }
            Some(_) => {}
        }
        match y {
            Value::Number(target) if self.names.is_empty() => {
                self.whole =
                    (self.whole || self.y.is_empty()) && target.as_u64().is_some_and(|n| u32::try_from(n).is_ok());
                self.y.push(target.as_f64().filter(|v| v.is_finite()).ok_or("the target is not a finite number")?);
            }
            Value::String(name) if self.y.is_empty() => self.names.push(name.clone()),
            other if self.names.is_empty() => return Err(format!("the target must be a number, not {}", kind(other))),
            other => return Err(format!("the target must be text like those before it, not {}", kind(other))),
        }
        self.owners.extend(owner);
        Ok(())
    }

    /// How many bytes its numbers take.
    #[cfg(feature = "parquet")]
    pub(super) fn size(&self) -> u64 {
        8 * (self.x.len() as u64 + self.y.len() as u64)
    }

    /// The examples; targets are classes where all of them are text, or whole and written without a point.
    pub(super) fn finish(self) -> Result<DataSet, DataError> {
        let dims = self.dims.ok_or(DataError::Empty)?;
        let targets = if !self.names.is_empty() {
            Targets::named(&self.names)
        } else if self.whole {
            Targets::classes(self.y.iter().map(|&v| v as u32).collect())
        } else {
            Targets::Numbers(self.y)
        };
        let owners = (!self.owners.is_empty()).then(|| Owners::from_names(&self.owners));
        Ok(DataSet { features: Features::double(&dims, self.x), targets, owners })
    }
}

/// Adds the numbers of nested lists to `out`; gives their dims.
pub(super) fn numbers(value: &Value, scale: f64, out: &mut Vec<f64>) -> Result<Vec<usize>, String> {
    match value {
        Value::Number(n) => {
            out.push(n.as_f64().map(|v| v * scale).filter(|v| v.is_finite()).ok_or("a number is not finite")?);
            Ok(vec![])
        }
        Value::Array(items) => {
            let mut inner: Option<Vec<usize>> = None;
            for item in items {
                let dims = numbers(item, scale, out)?;
                match &inner {
                    Some(first) if *first != dims => return Err("its lists of numbers have different lengths".into()),
                    _ => inner = Some(dims),
                }
            }
            Ok([vec![items.len()], inner.unwrap_or_default()].concat())
        }
        other => Err(format!("inputs must be numbers, not {}", kind(other))),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
