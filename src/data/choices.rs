//! Texts to be answered by the right one of several others.

use rayon::prelude::*;

use super::texts::{Keep, Tokens};
use super::{DataError, DataSet, Features, Owners, Targets};

/// A text and its possible answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// Where it stands in the data, for messages.
    pub place: String,
    /// Whom it belongs to.
    pub owner: String,
    /// What is to be answered.
    pub context: String,
    /// The right answer, one of the candidates.
    pub right: String,
    /// All answers to choose from.
    pub candidates: Vec<String>,
}

/// Inputs `[candidates, length]`: a row is the text together with one candidate, of which the end is kept where it is too long. The
/// candidates stand in alphabetical order, so that the place of the right one, which is the target, tells nothing.
pub(super) fn read_choices(
    what: &'static str,
    choices: Vec<Choice>,
    tokenizer: &[u8],
    length: usize,
) -> Result<DataSet, DataError> {
    let count = choices.first().ok_or(DataError::Empty)?.candidates.len();
    let tokens = Tokens::new(tokenizer, length, Keep::End)?;
    let rows = choices.par_iter().map(|choice| {
        let mut candidates: Vec<&String> = choice.candidates.iter().collect();
        candidates.sort();
        let right =
            candidates.iter().position(|&c| *c == choice.right).ok_or("the answer is not among its candidates")?;
        if candidates.len() != count {
            return Err(format!("it has {} candidates, the first one {count}", candidates.len()));
        }
        let context = tokens.encode(&choice.context)?;
        let mut row: Vec<f32> = Vec::with_capacity(count * length);
        for candidate in candidates {
            row.extend(tokens.numbers(context.clone(), Some(tokens.encode(candidate)?))?.iter().map(|&id| id as f32));
        }
        Ok((row, right as u32))
    });
    let mut features: Vec<f32> = Vec::new();
    let mut labels = Vec::new();
    for (choice, row) in choices.iter().zip(rows.collect::<Vec<Result<_, String>>>()) {
        let (row, right) =
            row.map_err(|reason| DataError::Format { what, reason: format!("{}: {reason}", choice.place) })?;
        features.extend(row);
        labels.push(right);
    }
    let owners = Owners::from_names(&choices.into_iter().map(|choice| choice.owner).collect::<Vec<_>>());
    Ok(DataSet {
        features: Features::single(&[count, length], features),
        targets: Targets::classes(labels),
        owners: Some(owners),
    })
}
