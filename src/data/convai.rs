//! The dialogues of ConvAI2 (Dinan et al. 2019; Zhang et al. 2018), as `train_self_original.txt` has them.

use super::choices::{Choice, read_choices};
use super::source::read_text;
use super::{DataError, DataSet};

const CONVAI: &str = "ConvAI2 text";

/// Every message is to be answered by the right one of its candidates; who has the same persona is one owner.
///
/// Lines are numbered from 1 in every dialogue: `1 your persona: i like tea .` and so on, then `4 MESSAGE<tab>REPLY<tab><tab>` with the
/// candidates separated by `|`, the reply among them. What is answered is the dialogue so far, of it the last `history` messages
/// and replies where that many are asked for.
pub fn read_convai(text: &[u8], tokenizer: &[u8], length: usize, history: Option<u64>) -> Result<DataSet, DataError> {
    read_choices(CONVAI, choices(&read_text(text)?, history)?, tokenizer, length)
}

/// A dialogue as far as it was read.
#[derive(Default)]
struct Dialogue {
    lines: u64,
    persona: Vec<String>,
    said: Vec<String>,
}

fn choices(text: &str, history: Option<u64>) -> Result<Vec<Choice>, DataError> {
    let mut dialogue = Dialogue::default();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("line {}", number + 1);
        let wrong = |reason: String| DataError::Format { what: CONVAI, reason: format!("{place}: {reason}") };
        found.extend(dialogue.read(line, history, &place).map_err(wrong)?);
    }
    Ok(found)
}

impl Dialogue {
    /// Reads a line of it, or the first line of the next one.
    fn read(&mut self, line: &str, history: Option<u64>, place: &str) -> Result<Option<Choice>, String> {
        let (number, rest) = line.split_once(' ').ok_or("a line is a number, a blank and a text")?;
        let number: u64 = number.parse().map_err(|_| "a line begins with its number in the dialogue".to_owned())?;
        if number == 1 {
            *self = Dialogue::default();
        }
        self.lines += 1;
        if number != self.lines {
            return Err(format!("it has the number {number} where {} is next, or 1 of another dialogue", self.lines));
        }
        if let Some(persona) = rest.strip_prefix("your persona: ") {
            if !self.said.is_empty() {
                return Err("a persona is told before the dialogue begins".into());
            }
            self.persona.push(persona.trim().to_owned());
            return Ok(None);
        }
        if rest.starts_with("partner's persona: ") {
            return Ok(None);
        }
        if self.persona.is_empty() {
            return Err("no `your persona: ..` stands before the dialogue".into());
        }
        let [message, reply, _, candidates] = rest.split('\t').collect::<Vec<_>>()[..] else {
            return Err("a message, a tab, its reply, two tabs and the candidates are wanted".into());
        };
        let candidates: Vec<String> = candidates.split('|').map(|c| c.trim().to_owned()).collect();
        self.said.push(message.trim().to_owned());
        let first = self.said.len().saturating_sub(history.unwrap_or(u64::MAX) as usize);
        let right = reply.trim().to_owned();
        if !candidates.contains(&right) {
            return Err("the reply is not among its candidates".into());
        }
        let context = self.said[first..].join(" ");
        self.said.push(right.clone());
        Ok(Some(Choice { place: place.to_owned(), owner: self.persona.join(" "), context, right, candidates }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "1 your persona: i like tea .\n2 your persona: i am old .\n3 partner's persona: i run .\n\
                       4 hi\thello\t\tbye|hello\n5 tea ?\tyes\t\tno|yes\n1 your persona: i sing .\n2 la\tlo\t\tlo|li\n";

    #[test]
    fn dialogues_become_choices() {
        let found = choices(TWO, None).unwrap();
        let contexts: Vec<&str> = found.iter().map(|c| c.context.as_str()).collect();
        assert_eq!(contexts, ["hi", "hi hello tea ?", "la"]);
        assert_eq!((found[1].right.as_str(), found[1].candidates.join(",")), ("yes", "no,yes".to_owned()));
        assert_eq!((found[0].owner.as_str(), found[2].owner.as_str()), ("i like tea . i am old .", "i sing ."));
        let last: Vec<String> = choices(TWO, Some(1)).unwrap().into_iter().map(|c| c.context).collect();
        assert_eq!(last, ["hi", "tea ?", "la"]);
    }

    #[test]
    fn faults_name_their_line() {
        let message = |text: &str| choices(text, None).unwrap_err().to_string();
        assert!(message("1 your persona: a\nhello").contains("line 2: a line is a number"));
        assert!(message("one your persona: a").contains("line 1: a line begins with its number"));
        assert!(message("1 your persona: a\n3 hi\thello\t\thello").contains("line 2: it has the number 3 where 2"));
        assert!(message("1 hi\thello\t\thello").contains("line 1: no `your persona: ..`"));
        assert!(message("1 your persona: a\n2 hi\thello").contains("line 2: a message, a tab, its reply, two tabs"));
        assert!(message("1 your persona: a\n2 hi\thello\t\tbye|no").contains("line 2: the reply is not among"));
        let late = "1 your persona: a\n2 hi\thello\t\thello\n3 your persona: b";
        assert!(message(late).contains("line 3: a persona is told before"));
    }
}
