//! Thousands of damaged experiments: parsing and checking never panic, a text without errors has a plan that is whole and
//! can be lowered, a text with errors has none.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use metadsl::diag::{Severity, Sink, render};
use metadsl::lang::compile;
use metadsl::plan::lower::{ClientSizes, lower};
use metadsl::syntax::parse;

#[path = "common/shipped.rs"]
mod shipped;

/// Marsaglia's xorshift64.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What a person could write by mistake, or a fuzzer on purpose.
const PIECES: [&str; 62] = [
    "0",
    "1",
    "-1",
    "0.5",
    "1e9",
    "1e300",
    "1e-300",
    "2147483648",
    "pi",
    "all",
    "none",
    "last",
    "index",
    "[]",
    "[1]",
    "{ }",
    "\"\"",
    "true",
    "normal",
    "stiefel",
    "uniform(0, 1)",
    "sum(x)",
    "softmax(x)",
    "x @ x",
    "w ^ 200",
    "1 / 0",
    "0..0",
    "0..5",
    "mean",
    "worst(ascent: 1)",
    "average",
    "average(weights: examples)",
    "difference",
    "stop",
    "first_order",
    "risk",
    "squared",
    "cross_entropy",
    "gradient(all, rate: 1, steps: 2)",
    "ridge(all, penalty: 1)",
    "least_squares(w)",
    "sgd(all, rate: 1, epochs: 2, batch: 3)",
    "adam(rate: 1)",
    "replace: true",
    "[1, 1, 1, 1, 1, 1]",
    "mass(hard)",
    "in_context",
    "class_mean(w, of: x)",
    "mean(all, of: y)",
    "ahead: gradient(all, rate: 1, steps: 1)",
    "through: first_order",
    "toward: start, weight: 1",
    "average(control: true)",
    "lora(on: all, rank: 2)",
    "prompt(on: x)",
    "prompt(on: x, length: 3)",
    "head",
    "head(outputs: d)",
    "personal(on: all)",
    "[0, 1, 2]",
    "[own, others]",
    "implicit(cg: 2)",
];

/// Values of the fields of `train` and `evaluate`: most combinations make sense, and some only together.
const FIELDS: [(&str, &[&str]); 20] = [
    ("tasks", &["fresh(FAMILY, 3)", "pool(FAMILY, size: 7, batch: 3)", "pool(FAMILY, batch: 2)", "pool(FAMILY)"]),
    ("split", &["{ support: 3, query: 4 }", "{ support: 1, query: 1 }", "{ support: 3 }"]),
    ("loss", &["squared", "half_squared", "cross_entropy", "risk"]),
    (
        "adapt",
        &[
            "none",
            "gradient(all, rate: 0.1, steps: 2)",
            "gradient(PARAM, rate: 0.1, steps: 0)",
            "sgd(PARAM, rate: 0.1, epochs: 2, batch: 3, momentum: 0.9)",
            "adam(PARAM, rate: 0.1, steps: 2)",
            "ridge(PARAM, penalty: 0.1)",
            "least_squares(all)",
            "[ridge(PARAM, penalty: 1), gradient(PARAM, rate: 1, steps: 1)]",
            "in_context",
            "mean(PARAM, of: y * PARAM)",
            "class_mean(PARAM, of: x)",
            "gradient(PARAM, rate: 0.1, steps: 2, ahead: ridge(PARAM, penalty: 1))",
            "sgd(all, rate: 0.1, epochs: 2, batch: 2, ahead: gradient(all, rate: 1, steps: 2), through: first_order)",
            "gradient(lora, rate: 0.1, steps: 2, without: lora)",
            "[gradient(prompt, rate: 0.1, steps: 1), gradient(head, rate: 0.1, steps: 1)]",
        ],
    ),
    ("through", &["exact", "first_order", "stop", "difference"]),
    ("keep", &["PARAM", "all", "[]"]),
    (
        "outer",
        &[
            "mean",
            "average",
            "average(weights: examples)",
            "average(control: true)",
            "worst(ascent: 1)",
            "worst(over: stratum, ascent: 1)",
            "cvar(0.5)",
        ],
    ),
    ("update", &["sgd(rate: 1, momentum: 0.5, weight_decay: 0.1)", "adam(rate: 1)"]),
    ("steps", &["0", "1", "100"]),
    ("precision", &["f32", "f64"]),
    ("episodes", &["1", "3"]),
    (
        "with",
        &[
            "lora(on: PARAM, rank: 2)",
            "prompt(on: x)",
            "prompt(on: x, length: 2)",
            "head",
            "[head, prompt(on: x)]",
            "personal(on: PARAM)",
        ],
    ),
    ("freeze", &["PARAM", "all"]),
    ("reset", &["PARAM", "all"]),
    ("retract", &["qr(PARAM)", "normalise(PARAM)", "simplex(PARAM)"]),
    ("augment", &["none", "flip", "[crop(padding: 1), rotate]", "noise(std: 0.5)"]),
    ("turns", &["1", "2", "4"]),
    ("after", &["0", "[0, 1, 2]", "[1]"]),
    ("query", &["others", "[own, all]"]),
    ("interpolate", &["0.5", "[0, 1]"]),
];

/// The texts that are damaged: those without errors first, and how many of them there are.
fn corpus() -> (Vec<String>, usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = ["tests/fixtures/check", "tests/fixtures/catalog"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder of experiments"))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "meta"))
        .chain(shipped::files())
        .collect();
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).expect("a text"));
    let (mut sound, damaged): (Vec<String>, Vec<String>) = texts.partition(|text| {
        let mut sink = Sink::new();
        let file = parse(text, &mut sink);
        compile(&file, &[], &mut sink).is_some()
    });
    let count = sound.len();
    sound.extend(damaged);
    (sound, count)
}

/// Another value for a field of some block, or a field more.
fn set_field(text: &str, random: &mut Xorshift) -> String {
    let (key, values) = FIELDS[random.below(FIELDS.len())];
    let named = |word: &str| -> Vec<&str> {
        let after = text.split(word).skip(1).map(|rest| rest.trim_start());
        after.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()).collect()
    };
    let (params, families) = (named("param "), named("\ntasks "));
    let mut value = values[random.below(values.len())].to_owned();
    for (place, names) in [("PARAM", params), ("FAMILY", families)] {
        if !names.is_empty() {
            value = value.replace(place, names[random.below(names.len())]);
        }
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let sets = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let places: Vec<usize> = (0..lines.len()).filter(|&i| sets(&lines[i])).collect();
    let blocks: Vec<usize> =
        (0..lines.len()).filter(|&i| lines[i].starts_with("train {") || lines[i].starts_with("evaluate")).collect();
    let line = format!("  {key} = {value}");
    match (places.is_empty(), blocks.is_empty()) {
        (false, _) => lines[*random.pick(&places)] = line,
        (true, false) => lines.insert(random.pick(&blocks) + 1, line),
        (true, true) => lines.push(line),
    }
    lines.join("\n")
}

/// The borders of words, numbers, blanks and signs.
fn tokens(text: &str) -> Vec<&str> {
    let class = |c: char| {
        if c.is_alphanumeric() || "_.".contains(c) {
            0
        } else if c.is_whitespace() {
            1
        } else {
            2
        }
    };
    let mut tokens = Vec::new();
    let mut start = 0;
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    for pair in chars.windows(2) {
        if class(pair[0].1) != class(pair[1].1) || class(pair[0].1) == 2 {
            tokens.push(&text[start..pair[1].0]);
            start = pair[1].0;
        }
    }
    tokens.push(&text[start..]);
    tokens
}

/// One edit: a field set, a token replaced, dropped, doubled or exchanged, or a line moved.
fn mutate(text: &str, random: &mut Xorshift) -> String {
    if random.below(2) == 0 {
        return set_field(text, random);
    }
    if random.below(8) == 0 {
        let mut lines: Vec<&str> = text.lines().collect();
        let (from, to) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(3) {
            0 => lines.swap(from, to),
            1 => lines.insert(to, lines[from]),
            _ => drop(lines.remove(from)),
        }
        return lines.join("\n");
    }
    let mut tokens = tokens(text);
    let solid: Vec<usize> = (0..tokens.len()).filter(|&i| !tokens[i].trim().is_empty()).collect();
    let at = *random.pick(&solid);
    let other = tokens[*random.pick(&solid)];
    match random.below(8) {
        0 => drop(tokens.remove(at)),
        1 => tokens.insert(at, tokens[at]),
        2 | 3 => tokens[at] = other,
        4 => tokens.insert(at, other),
        _ => tokens[at] = PIECES[random.below(PIECES.len())],
    }
    tokens.concat()
}

fn check(text: &str, lowered: &mut HashSet<String>) {
    let mut sink = Sink::new();
    let file = parse(text, &mut sink);
    let unreadable = sink.has_errors();
    let compiled = compile(&file, &[], &mut sink);
    let errors = sink.has_errors();
    let diagnostics = sink.finish();
    let rendered = render(text, "mutant.meta", &diagnostics, false);
    let said = diagnostics.iter().all(|d| !d.message.trim().is_empty() && d.span.end <= text.len());
    assert!(said && diagnostics.is_empty() == rendered.trim().is_empty(), "an empty diagnosis: {diagnostics:#?}");
    if unreadable {
        assert!(!diagnostics.is_empty(), "an error without a word");
        return;
    }
    assert_eq!(compiled.is_some(), !errors, "a plan exactly where there are no errors: {diagnostics:#?}");
    assert_eq!(errors, diagnostics.iter().any(|d| d.severity == Severity::Error));
    let Some(compiled) = compiled else { return };
    compiled.plan.verify().expect("a checked plan is whole");
    for arm in &compiled.plan.arms {
        // Lowering does not depend on numbers of steps or names of arms; equal arms are lowered once.
        if lowered.insert(format!("{:?}", (&arm.families, &arm.model, &arm.train, &arm.evaluations, &arm.measures))) {
            lower(arm, &ClientSizes::default()).expect("a checked arm has programs");
        }
    }
}

#[test]
fn damaged_texts_are_refused_and_never_crash() {
    // All of them take a minute or two of a processor; a test run looks at the first few thousand, the same each time.
    let mutants = match (std::env::var_os("METADSL_ALL_MUTANTS"), cfg!(debug_assertions)) {
        (Some(_), _) => 20_000,
        (None, false) => 3000,
        (None, true) => 1000,
    };
    let (corpus, sound) = corpus();
    let mut random = Xorshift(0x9E37_79B9_7F4A_7C15);
    let (mut lowered, mut failed) = (HashSet::new(), Vec::new());
    for _ in 0..mutants {
        let edits = 1 + random.below(6);
        let range = if random.below(3) == 0 { corpus.len() } else { sound };
        let start = corpus[random.below(range)].clone();
        let mutant = (0..edits).fold(start, |text, _| mutate(&text, &mut random));
        if catch_unwind(AssertUnwindSafe(|| check(&mutant, &mut lowered))).is_err() {
            failed.push(mutant);
        }
    }
    assert!(failed.is_empty(), "{} mutants crash, the first is:\n{}", failed.len(), failed[0]);
    assert!(lowered.len() > mutants / 50, "only {} mutants are sound: the others test little", lowered.len());
}

/// Deep and long expressions stay within the stack of a test's thread.
#[test]
fn deep_and_long_expressions_are_read_or_refused() {
    let template =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/catalog/function.meta"))
            .expect("a template");
    let shapes: [fn(usize) -> String; 6] = [
        |n| format!("{}x{}", "relu(".repeat(n), ")".repeat(n)),
        |n| format!("{}x{}", "(".repeat(n), ")".repeat(n)),
        |n| format!("{}x", "-".repeat(n)),
        |n| format!("x{}", " + x".repeat(n)),
        |n| format!("x{}", " * x".repeat(n)),
        |n| format!("x{}", " ^ 2".repeat(n)),
    ];
    for shape in shapes {
        for size in [1, 50, 150, 199, 200, 201, 5000] {
            check(&template.replace("EXAMPLE", &shape(size)), &mut HashSet::new());
        }
    }
}
