//! Texts as numbers of tokens: one example a line of JSON, cut by a tokenizer in the format of Hugging Face (`tokenizer.json`).

use super::{DataError, DataSet, JsonlOptions};

/// What stands behind the last token of a text: no token at all.
pub const PADDING: f64 = -1.0;

/// Reads texts from the field `x` as `length` numbers of tokens each, the special ones of the tokenizer included.
#[cfg(feature = "text")]
pub fn read_texts(lines: &[u8], tokenizer: &[u8], options: JsonlOptions, length: usize) -> Result<DataSet, DataError> {
    use super::json::read_lines;
    use serde_json::Value;
    use tokenizers::{Tokenizer, TruncationParams};

    let wrong = |e: tokenizers::Error| DataError::Format { what: "tokenizer", reason: e.to_string() };
    let mut tokenizer = Tokenizer::from_bytes(tokenizer).map_err(wrong)?;
    tokenizer.with_padding(None);
    let truncation = TruncationParams { max_length: length, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(wrong)?;
    read_lines(lines, options, |value, out| {
        let Value::String(text) = value else { return Err("the text is not in quotes".into()) };
        let tokens = tokenizer.encode(text.as_str(), true).map_err(|e| e.to_string())?;
        let end = out.len() + length;
        out.extend(tokens.get_ids().iter().map(|&id| f64::from(id)));
        out.resize(end, PADDING);
        Ok(vec![length])
    })
}

/// Says that this build reads no texts.
#[cfg(not(feature = "text"))]
pub fn read_texts(_: &[u8], _: &[u8], _: JsonlOptions, _: usize) -> Result<DataSet, DataError> {
    let reason = "this build has no tokenizers: `cargo build --release --features text` has".into();
    Err(DataError::Format { what: "set of texts", reason })
}
