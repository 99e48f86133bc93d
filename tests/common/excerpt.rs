//! Excerpts of experiments, as the documentation shows them.

use std::collections::BTreeMap;

/// The statements of a text, each from its first line, which is not indented, to the last before the next.
fn statements(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        let starts = !line.is_empty() && !line.starts_with([' ', ')', ']', '}']);
        match found.last_mut() {
            Some(last) if !starts => last.push_str(&format!("\n{line}")),
            _ => found.push(line.to_owned()),
        }
    }
    found
}

/// What a statement is about, by which one takes the place of another: `train`, `dim k`, `measure angle`.
fn head(statement: &str) -> String {
    let words: Vec<&str> = statement
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .filter(|word| !word.is_empty())
        .collect();
    match words.as_slice() {
        [] => statement.to_owned(),
        [word @ ("edition" | "experiment" | "expect" | "train" | "world"), ..] | [word] => (*word).to_owned(),
        [word, name, ..] => format!("{word} {name}"),
    }
}

/// The settings of a block, and the name of each; one behind `//` counts.
fn settings(block: &str) -> BTreeMap<String, String> {
    let inner = block.split_once('{').map_or("", |(_, inner)| inner.trim_end().trim_end_matches('}'));
    let (mut depth, mut found, mut last) = (0, BTreeMap::new(), String::new());
    for c in inner.chars().chain(['\n']) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth <= 0 && matches!(c, '\n' | ';') {
            let text = last.trim().to_owned();
            let name = text.trim_start_matches("//").trim_start();
            let end = name.find(|c: char| !(c.is_alphanumeric() || "_.".contains(c))).unwrap_or(name.len());
            if end > 0 {
                found.insert(name[..end].to_owned(), text);
            }
            last.clear();
        } else {
            last.push(c);
        }
    }
    found
}

/// The block of an excerpt with the settings that it does not mention.
fn filled(excerpt: &str, whole: &str) -> String {
    let Some((start, rest)) = excerpt.split_once('{') else { return excerpt.to_owned() };
    let stated = settings(excerpt);
    let others = settings(whole).into_iter().filter(|(name, _)| !stated.contains_key(name));
    let others: String = others.map(|(_, text)| format!("\n  {text}")).collect();
    format!("{start}{{{others}\n{rest}")
}

/// The whole experiment of an excerpt: its statements stand in the place of those of `experiment`, a setting in a `train` or
/// `evaluate` block in the place of that setting, and what stands behind `//` is left out. A line that ends with `// × 300` stands for three hundred of them.
pub fn whole(experiment: &str, excerpt: &str) -> String {
    let repeated = |line: &str| match line.rsplit_once("// × ") {
        Some((line, times)) => format!("{}\n", line.trim_end()).repeat(times.parse().expect("a number of lines")),
        None => format!("{line}\n"),
    };
    let excerpt: String = excerpt.lines().map(repeated).collect();
    let (left_out, mut stated): (Vec<_>, Vec<_>) = statements(&excerpt).into_iter().partition(|s| s.starts_with("//"));
    let without: Vec<String> = left_out.iter().map(|s| head(s.trim_start_matches("//"))).collect();
    let mut all = Vec::new();
    for own in statements(experiment) {
        let about = head(&own);
        let replacing: Vec<String> = stated.extract_if(.., |s| head(s) == about).collect();
        let block = about == "train" || about.starts_with("evaluate ");
        match replacing.as_slice() {
            [] if without.contains(&about) => {}
            [] => all.push(own),
            [one] if block => all.push(filled(one, &own)),
            _ => all.extend(replacing),
        }
    }
    all.extend(stated);
    // Constants are read from top to bottom; everything else may stand anywhere.
    let early = |s: &String| ["//!", "edition", "experiment", "dim ", "let "].iter().any(|word| s.starts_with(word));
    let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(early);
    [first, rest, left_out].concat().join("\n") + "\n"
}
