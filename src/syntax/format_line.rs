//! One line under the formatter: its tokens, the blanks between them, and the columns of neighbouring lines.

/// Signs of more than one character, longest first.
const LONG_SIGNS: [&str; 8] = ["..=", "..", "->", "<=", ">=", "==", "!=", "**"];
/// Words after which a sign belongs to the value.
const BEFORE_VALUE: [&str; 5] = ["from", "on", "every", "in", "expect"];
/// Lines whose columns differ by more than this are not aligned.
const FAR: usize = 8;

/// A token, with whether a blank stands before it in the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    text: &'a str,
    class: Class,
    blank: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    Sign,
    Comment,
    Unknown,
}

impl Token<'_> {
    pub(super) fn opens(&self) -> bool {
        matches!(self.text, "(" | "[" | "{")
    }

    pub(super) fn closes(&self) -> bool {
        matches!(self.text, ")" | "]" | "}")
    }

    pub(super) fn is_comment(&self) -> bool {
        self.class == Class::Comment
    }

    /// Whether the statement cannot end behind this token; brackets and commas count their own way.
    pub(super) fn waits_for_value(&self) -> bool {
        matches!(self.text, "+" | "-" | "*" | "/" | "@" | "^" | "=" | "~")
    }

    /// Whether a `-` behind this token is the sign of a number and not a difference.
    fn before_sign(&self) -> bool {
        match self.class {
            Class::Sign => !self.closes(),
            _ => BEFORE_VALUE.contains(&self.text),
        }
    }
}

/// The tokens of a line.
pub(super) fn lex(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = &line[at..];
        let trimmed = rest.trim_start_matches([' ', '\t']);
        let blank = trimmed.len() < rest.len();
        if trimmed.is_empty() {
            return tokens;
        }
        at = line.len() - trimmed.len();
        let (length, class) = token(trimmed);
        tokens.push(Token { text: trimmed[..length].trim_end_matches([' ', '\t']), class, blank });
        at += length;
    }
}

/// The length and class of the token at the start of a text.
fn token(rest: &str) -> (usize, Class) {
    let first = rest.chars().next().expect("the text is not empty");
    let run = |fits: fn(char) -> bool| rest.find(|c| !fits(c)).unwrap_or(rest.len());
    match first {
        '/' if rest.starts_with("//") => (rest.len(), Class::Comment),
        '"' => text(rest),
        '0'..='9' => (number(rest), Class::Word),
        c if c.is_alphabetic() || c == '_' => (run(|c| c.is_alphanumeric() || c == '_'), Class::Word),
        _ => match LONG_SIGNS.iter().find(|s| rest.starts_with(**s)) {
            Some(sign) => (sign.len(), Class::Sign),
            None if "()[]{}+-*/@^=~<>,;:.".contains(first) => (1, Class::Sign),
            None => (first.len_utf8(), Class::Unknown),
        },
    }
}

fn text(rest: &str) -> (usize, Class) {
    let mut escaped = false;
    for (n, c) in rest.char_indices().skip(1) {
        if c == '"' && !escaped {
            return (n + 1, Class::Word);
        }
        escaped = c == '\\' && !escaped;
    }
    (rest.len(), Class::Unknown)
}

/// The rule `number` of the grammar.
fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut n = 1;
    while let Some(&b) = bytes.get(n) {
        let after = bytes.get(n + 1);
        let exponent =
            matches!(b, b'+' | b'-') && matches!(bytes[n - 1], b'e' | b'E') && after.is_some_and(u8::is_ascii_digit);
        let point = b == b'.' && after != Some(&b'.') && bytes[n - 1] != b'.';
        if !(b.is_ascii_alphanumeric() || b == b'_' || exponent || point) {
            break;
        }
        n += 1;
    }
    n
}

/// The parts of a line with blanks as they should be; `None` where the line has to stay as it is.
pub(super) fn spaced(tokens: &[Token]) -> Option<Parts> {
    // The hash of a `use` line is no text of tokens.
    let import = tokens.first().is_some_and(|t| t.text == "use");
    if import || tokens.iter().any(|t| t.class == Class::Unknown) {
        return None;
    }
    let (code, comment) = match tokens.split_last() {
        Some((last, code)) if last.is_comment() => (code, Some(last.text.to_owned())),
        _ => (tokens, None),
    };
    let mut pieces: Vec<(bool, String)> = Vec::new();
    let mut sign = false;
    for (n, token) in code.iter().enumerate() {
        let before = n.checked_sub(1).map(|n| &code[n]);
        let blank = before.is_some_and(|before| !sign && blank_between(before, token));
        sign = token.text == "-" && before.is_none_or(Token::before_sign);
        pieces.push((blank, token.text.to_owned()));
    }
    let line: String = pieces.iter().map(|(blank, text)| format!("{}{text}", if *blank { " " } else { "" })).collect();
    // Blanks that hold two tokens apart stay.
    let again = lex(&line);
    let same = again.len() == code.len() && again.iter().zip(code).all(|(a, b)| a.text == b.text);
    same.then_some(Parts { pieces, comment })
}

/// Whether a blank stands between two tokens of one line.
fn blank_between(before: &Token, token: &Token) -> bool {
    match (before.text, token.text) {
        ("{", "}") => false,
        ("{", _) | (_, "}") => true,
        ("(" | "[" | "." | ".." | "..=", _) | (_, ")" | "]" | "," | ";" | ":" | "." | ".." | "..=") => false,
        ("," | ";" | ":", _) => true,
        // A blank before these decides what they mean: `f(x)` is a call, `w[0]` an index.
        (_, "(" | "[") if before.class == Class::Word || before.closes() => token.blank,
        _ => true,
    }
}

/// The tokens of a line, each with whether a blank stands before it, and its comment.
pub(super) struct Parts {
    pieces: Vec<(bool, String)>,
    comment: Option<String>,
}

impl Parts {
    /// What lines must share to stand in columns, and the tokens that start the columns.
    fn columns(&self) -> Option<(&str, Vec<usize>)> {
        let find = |signs: &[&str]| {
            let mut depth = 0_usize;
            self.pieces.iter().position(|(_, text)| {
                let found = depth == 0 && signs.contains(&text.as_str());
                match text.as_str() {
                    "(" | "[" | "{" => depth += 1,
                    ")" | "]" | "}" => depth = depth.saturating_sub(1),
                    _ => {}
                }
                found
            })
        };
        let (_, first) = self.pieces.first()?;
        let sign = find(&["=", "~"]);
        let colon = find(&[":"]).filter(|&n| n < 3 && sign.is_some_and(|sign| n < sign));
        match first.as_str() {
            "expect" => Some((first, vec![find(&["<=", ">=", "<", ">"])?])),
            "arm" | "stratum" | "evaluate" | "stage" => Some((first, vec![find(&["{"])?])),
            // A path, a declaration, or a keyword with a name: what is behind the sign is free.
            _ => match colon {
                Some(colon) if colon == 1 => Some((":", vec![colon + 1, sign?])),
                Some(colon) => Some((first, vec![colon + 1, sign?])),
                None if matches!(self.pieces.get(1)?.1.as_str(), "=" | "." | "[" | "~") => Some(("=", vec![sign?])),
                None => Some((first, vec![sign?])),
            },
        }
    }

    /// The width of the tokens before one of them, from the token `from` on.
    fn width(&self, from: usize, to: usize) -> usize {
        self.pieces[from..to].iter().map(|(blank, text)| usize::from(*blank) + text.chars().count()).sum()
    }
}

/// A line of the result.
pub(super) struct Line {
    indent: usize,
    code: String,
    comment: Option<String>,
    /// The column of the comment.
    column: usize,
    parts: Option<Parts>,
    /// Whether the line opens and closes the same brackets.
    whole: bool,
}

impl Line {
    /// A line that stays as it is.
    pub(super) fn kept(raw: &str) -> Line {
        Line { indent: 0, code: raw.to_owned(), comment: None, column: 0, parts: None, whole: false }
    }

    /// A line with new blanks; `raw` says where its comment stood.
    pub(super) fn formatted(raw: &str, indent: usize, parts: Parts, whole: bool) -> Line {
        let comment = parts.comment.clone();
        let length = comment.as_ref().map_or(0, |c| c.len());
        let code_end = raw.trim_end_matches([' ', '\t']).len() - length;
        let column = raw[..code_end].chars().count();
        Line { indent, code: String::new(), comment, column, parts: Some(parts), whole }
    }

    pub(super) fn text(&self) -> String {
        let blanks = |n: usize| " ".repeat(n);
        match &self.comment {
            None if self.code.is_empty() => String::new(),
            None if self.parts.is_none() => self.code.clone(),
            None => format!("{}{}", blanks(self.indent), self.code),
            Some(comment) if self.code.is_empty() => format!("{}{comment}", blanks(self.indent)),
            Some(comment) => {
                let gap = self.column.saturating_sub(self.end());
                format!("{}{}{}{comment}", blanks(self.indent), self.code, blanks(gap))
            }
        }
    }

    fn end(&self) -> usize {
        self.indent + self.code.chars().count()
    }

    fn columns(&self) -> Option<(&str, Vec<usize>)> {
        self.parts.as_ref().filter(|_| self.whole).and_then(Parts::columns)
    }
}

/// Puts the signs of neighbouring lines of one kind, and runs of trailing comments, in columns.
pub(super) fn align(lines: &mut [Line]) {
    let mut start = 0;
    while start < lines.len() {
        let mut end = start + 1;
        if let Some((kind, columns)) = lines[start].columns() {
            let least = |line: &Line, columns: &[usize]| line.parts.as_ref().map_or(0, |p| p.width(0, columns[0]));
            let (mut low, mut high) = (least(&lines[start], &columns), least(&lines[start], &columns));
            while let Some(line) = lines.get(end) {
                let Some((other, places)) = line.columns() else { break };
                let width = least(line, &places);
                let fits = width.max(high) - width.min(low) <= FAR;
                if other != kind || places.len() != columns.len() || line.indent != lines[start].indent || !fits {
                    break;
                }
                (low, high, end) = (low.min(width), high.max(width), end + 1);
            }
        }
        write_code(&mut lines[start..end]);
        start = end;
    }
    align_comments(lines);
}

/// Writes the code of lines that share their columns.
fn write_code(lines: &mut [Line]) {
    let places: Vec<Vec<usize>> = lines.iter().map(|l| l.columns().map_or(vec![], |(_, c)| c)).collect();
    let width = |line: &Line, places: &[usize], n: usize| {
        let from = if n == 0 { 0 } else { places[n - 1] };
        line.parts.as_ref().map_or(0, |p| p.width(from, places[n]))
    };
    let count = places.first().map_or(0, Vec::len);
    let widest: Vec<usize> = (0..count)
        .map(|n| lines.iter().zip(&places).map(|(line, places)| width(line, places, n)).max().unwrap_or(0))
        .collect();
    for (line, places) in lines.iter_mut().zip(&places) {
        let pads: Vec<usize> = (0..count).map(|n| widest[n] - width(line, places, n)).collect();
        let Some(parts) = &line.parts else { continue };
        let mut code = String::new();
        for (n, (blank, text)) in parts.pieces.iter().enumerate() {
            let pad = places.iter().position(|&p| p == n).map_or(0, |c| pads[c]);
            code.push_str(&" ".repeat(pad + usize::from(*blank)));
            code.push_str(text);
        }
        line.code = code;
    }
}

/// Comments that stood in one column move together, and only where the code needs the place.
fn align_comments(lines: &mut [Line]) {
    let trailing: Vec<usize> =
        (0..lines.len()).filter(|&n| lines[n].comment.is_some() && !lines[n].code.is_empty()).collect();
    for run in trailing.chunk_by(|&a, &b| lines[a].column == lines[b].column).map(<[usize]>::to_vec).collect::<Vec<_>>()
    {
        let needed = run.iter().map(|&n| lines[n].end() + 2).max().unwrap_or(0);
        for n in run {
            lines[n].column = lines[n].column.max(needed);
        }
    }
}
