//! Texts as numbers of tokens, by a tokenizer in the format of Hugging Face (`tokenizer.json`).

use serde_json::Value;

use super::json::read_lines;
use super::{DataError, DataSet, JsonlOptions};

#[cfg(feature = "text")]
pub(super) use cut::Tokens;
#[cfg(not(feature = "text"))]
pub(super) use uncut::Tokens;

/// What stands behind the last token of a text: no token at all.
pub const PADDING: f64 = -1.0;

/// Which part of a text that is too long stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Beginning,
    End,
}

/// Reads texts, one example a line of JSON, from the field `x` as `length` numbers of tokens each, the special ones of the tokenizer
/// included.
pub fn read_texts(lines: &[u8], tokenizer: &[u8], options: JsonlOptions, length: usize) -> Result<DataSet, DataError> {
    let tokens = Tokens::new(tokenizer, length, Keep::Beginning)?;
    read_lines(lines, options, |value, out| {
        let Value::String(text) = value else { return Err("the text is not in quotes".into()) };
        out.extend(tokens.numbers(tokens.encode(text)?, None)?);
        Ok(vec![length])
    })
}

#[cfg(feature = "text")]
mod cut {
    use tokenizers::{Encoding, Error, Tokenizer, TruncationDirection, TruncationParams};

    use super::{DataError, Keep, PADDING};

    /// A tokenizer for texts of one length.
    pub struct Tokens {
        /// Makes tokens of a text, however long.
        whole: Tokenizer,
        /// Joins tokens, cuts them to the length and adds the special ones.
        cutting: Tokenizer,
        length: usize,
    }

    impl Tokens {
        /// Reads `tokenizer.json`; texts become `length` tokens.
        pub fn new(bytes: &[u8], length: usize, keep: Keep) -> Result<Tokens, DataError> {
            let wrong = |e: Error| DataError::Format { what: "tokenizer", reason: e.to_string() };
            let mut whole = Tokenizer::from_bytes(bytes).map_err(wrong)?;
            whole.with_padding(None);
            whole.with_truncation(None).map_err(wrong)?;
            let direction =
                if keep == Keep::Beginning { TruncationDirection::Right } else { TruncationDirection::Left };
            let mut cutting = whole.clone();
            let params = TruncationParams { max_length: length, direction, ..TruncationParams::default() };
            cutting.with_truncation(Some(params)).map_err(wrong)?;
            // Room for the special tokens of a pair, which the crate takes for granted.
            let special = cutting.get_post_processor().map_or(0, |p| tokenizers::PostProcessor::added_tokens(p, true));
            if length < special {
                let reason = format!("it adds {special} tokens of its own, and the length is {length}");
                return Err(DataError::Format { what: "tokenizer", reason });
            }
            Ok(Tokens { whole, cutting, length })
        }

        /// The tokens of a text, without special ones.
        pub fn encode(&self, text: &str) -> Result<Encoding, String> {
            self.whole.encode(text, false).map_err(|e| e.to_string())
        }

        /// The numbers of the tokens of one text, or of two together, with the special ones; behind them padding.
        pub fn numbers(&self, first: Encoding, second: Option<Encoding>) -> Result<Vec<f64>, String> {
            let tokens = self.cutting.post_process(first, second, true).map_err(|e| e.to_string())?;
            let mut numbers: Vec<f64> = tokens.get_ids().iter().map(|&id| f64::from(id)).collect();
            numbers.resize(self.length, PADDING);
            Ok(numbers)
        }
    }
}

#[cfg(not(feature = "text"))]
mod uncut {
    use std::convert::Infallible;

    use super::{DataError, Keep};

    /// Tokens of a text that nobody can make here.
    #[derive(Clone)]
    pub struct Encoding;

    /// No tokenizer: this build has none.
    pub struct Tokens(Infallible);

    impl Tokens {
        /// Says that this build reads no texts.
        pub fn new(_: &[u8], _: usize, _: Keep) -> Result<Tokens, DataError> {
            let reason = "this build has no tokenizers: `cargo build --release --features text` has".into();
            Err(DataError::Format { what: "set of texts", reason })
        }

        /// Never called.
        pub fn encode(&self, _: &str) -> Result<Encoding, String> {
            match self.0 {}
        }

        /// Never called.
        pub fn numbers(&self, _: Encoding, _: Option<Encoding>) -> Result<Vec<f64>, String> {
            match self.0 {}
        }
    }
}
