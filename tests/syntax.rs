//! The parser and its messages, seen from outside: what the shipped experiments read as, what every mistake is told,
//! and that no text whatsoever brings the parser down.

mod sexpr;
#[path = "common/shipped.rs"]
mod shipped;

use metadsl::diag::{Diagnostic, Severity, Sink, render, to_json};
use metadsl::syntax::ast::{ExprKind, ItemKind};
use metadsl::syntax::{File, parse};

fn read(text: &str) -> (File, Vec<Diagnostic>) {
    let mut sink = Sink::new();
    let file = parse(text, &mut sink);
    (file, sink.finish())
}

/// The text with an edition line, so that its absence is not among the diagnostics.
fn read_body(body: &str) -> (File, Vec<Diagnostic>) {
    read(&format!("edition 2026\n{body}"))
}

/// The S-expression of a `let` value, and the codes of the diagnostics.
fn value(text: &str) -> String {
    let (file, found) = read_body(&format!("let a = {text}"));
    let codes: Vec<&str> = found.iter().map(|d| d.code).collect();
    match file.items.first().map(|i| &i.kind) {
        Some(ItemKind::Let { value, .. }) if codes.is_empty() => sexpr::expr(value),
        _ => codes.join(" "),
    }
}

#[test]
fn every_mistake_has_its_message() {
    insta::glob!("fixtures/syntax/*.meta", |path| {
        let text = std::fs::read_to_string(path).expect("the fixture is text");
        let (_, found) = read(&text);
        assert!(!found.is_empty(), "{} has a mistake", path.display());
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!("mistake", render(&text, "test.meta", &found, false));
        });
    });
}

#[test]
fn the_experiments_parse_without_diagnostics() {
    let files = shipped::files();
    assert!(files.len() >= 8, "the experiments are there");
    for path in files {
        let text = shipped::read(&path);
        let (_, found) = read(&text);
        assert!(found.is_empty(), "{}", render(&text, &path.display().to_string(), &found, false));
        assert!(text.lines().count() <= 60 && text.starts_with("//! "), "{} is long", path.display());
    }
}

#[test]
fn the_experiments_read_as_these_trees() {
    for name in shipped::NAMES {
        let text = shipped::text(name);
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("tree_{name}"), sexpr::file(&read(&text).0));
        });
    }
}

#[test]
fn operators_bind_as_in_mathematics() {
    for (text, tree) in [
        ("a + b * c", "(+ a (* b c))"),
        ("a - b - c", "(- (- a b) c)"),
        ("a / b * c @ d", "(@ (* (/ a b) c) d)"),
        ("-x ^ 2", "(neg (^ x 2))"),
        ("2 ^ 3 ^ 4", "(^ 2 (^ 3 4))"),
        ("2 ^ -3", "(^ 2 (neg 3))"),
        ("-a * b", "(* (neg a) b)"),
        ("a * -b", "(* a (neg b))"),
        ("--a", "(neg (neg a))"),
        ("(a + b) * c", "(* (+ a b) c)"),
        ("a..b + 1", "(.. a (+ b 1))"),
        ("0..64", "(.. 0 64)"),
        ("w[0] ^ 2", "(^ (index w 0) 2)"),
        ("f(x)[0][1, 2]", "(index (index (f x) 0) 1 2)"),
        ("a.b[500] / c", "(/ (index a.b 500) c)"),
        ("1e-3-2", "(- 0.001 2)"),
        ("sgd([a, b], rate: 10_000,)", "(sgd (list a b) rate:10000)"),
        ("{ a: 1, b: [x], }", "(record a:1 b:(list x))"),
        ("\"a, \\\"b\\\" // c\"", "\"a, \\\"b\\\" // c\""),
        ("true", "true"),
    ] {
        assert_eq!(value(text), tree, "{text}");
    }
}

#[test]
fn a_line_ends_an_entry_unless_an_operator_or_a_bracket_is_open() {
    assert_eq!(value("x +\n  y"), "(+ x y)");
    assert_eq!(value("x + // why\n\n  y"), "(+ x y)");
    assert_eq!(value("f(\n  x,\n  // why\n  k: y\n  + z,\n)"), "(f x k:(+ y z))");
    assert_eq!(value("(x\n  - y)"), "(- x y)");
    assert_eq!(value("w[\n0\n]"), "(index w 0)");
    assert_eq!(value("{\n a: 1,\n\n b: 2\n}"), "(record a:1 b:2)");
    let model = |z: &str| read_body(&format!("model m(x: []) -> [] {{\n{z}\n}}"));
    let (file, found) = model("let z = x\n-z");
    assert!(found.is_empty(), "{found:?}");
    let Some(ItemKind::Model(model)) = file.items.first().map(|i| &i.kind) else { panic!("a model") };
    assert_eq!(sexpr::expr(&model.lets[0].value), "x");
    assert_eq!(sexpr::expr(&model.body), "(neg z)");
}

#[test]
fn entries_end_at_a_semicolon_or_a_brace() {
    let (one, found) = read_body("train { a = 1; b.c = 2 }; let k = 3;;let l = 4");
    assert!(found.is_empty(), "{found:?}");
    let (two, _) = read_body("train {\n\n  a = 1\n  b.c = 2\n\n}\nlet k = 3\nlet l = 4\n");
    assert_eq!(sexpr::file(&one), sexpr::file(&two));
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    for name in shipped::NAMES {
        let text = shipped::text(name);
        let (plain, _) = read(&text);
        let [both, lone] = ["\r\n", "\r"].map(|end| text.replace('\n', end));
        for other in [both, lone, format!("\u{FEFF}{text}"), text.trim_end().to_owned()] {
            let (file, found) = read(&other);
            assert!(found.is_empty(), "{}", render(&other, name, &found, false));
            assert_eq!(sexpr::file(&file), sexpr::file(&plain), "{name}");
        }
    }
}

#[test]
fn keywords_may_name_settings_and_keys() {
    let (file, found) = read_body("train { tasks = a; data.example = b; model = f(train: 1, on: 2) }\nstratum_x = 1");
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["E0115"], "only the last line is wrong");
    assert_eq!(
        sexpr::file(&file),
        "(edition 2026)\n(train\n  (tasks = a)\n  (data.example = b)\n  (model = (f train:1 on:2)))\n"
    );
}

#[test]
fn spans_are_the_text_of_their_node() {
    let text = "edition 2026\nlet abc = f(x, 1) + w[0] // why\nexpect  a.b <= 2 \n";
    let (file, found) = read(text);
    assert!(found.is_empty(), "{found:?}");
    let at = |span: metadsl::diag::Span| &text[span.start..span.end];
    assert_eq!(at(file.items[0].span), "let abc = f(x, 1) + w[0]");
    assert_eq!(at(file.items[1].span), "expect  a.b <= 2");
    let ItemKind::Let { name, value } = &file.items[0].kind else { panic!("a let") };
    assert_eq!((at(name.span), at(value.span)), ("abc", "f(x, 1) + w[0]"));
    let ExprKind::Binary(_, left, right) = &value.kind else { panic!("a sum") };
    assert_eq!((at(left.span), at(right.span)), ("f(x, 1)", "w[0]"));
}

#[test]
fn spans_point_at_the_source_after_a_missing_bracket() {
    let text = "edition 2026\ntrain {\n  a = f(x\n\ndim b = (y\nlet abc == 3\n";
    let (_, found) = read(text);
    let codes: Vec<(&str, &str)> = found.iter().map(|d| (d.code, &text[d.span.start..d.span.end])).collect();
    assert_eq!(codes, [("E0103", "{"), ("E0103", "("), ("E0103", "("), ("E0113", "==")]);
}

#[test]
fn good_lines_beside_a_bad_one_are_kept() {
    let (file, found) = read_body("train {\n  a = 1\n  b = ] % 2)\n  c = 3\n}\nfoo bar\nlet k = 4\n");
    assert!(!found.is_empty());
    assert_eq!(sexpr::file(&file), "(edition 2026)\n(train\n  (a = 1)\n  (c = 3))\n(let k 4)\n");
}

#[test]
fn depth_and_size_end_in_a_diagnostic() {
    let codes = |text: String| -> Vec<&'static str> { read_body(&text).1.iter().map(|d| d.code).collect() };
    for open in ["(", "[", "{", "f(", "a: {", "([{"] {
        assert_eq!(codes(format!("let a = {}", open.repeat(100_000))), ["E0102"], "{open}");
    }
    for chain in ["-", "1 +", "2 ^", "1 @", "x[0] *"] {
        assert_eq!(codes(format!("let a = {} 1", chain.repeat(20_000))), ["E0102"], "{chain}");
    }
    assert_eq!(codes(format!("let a = x{}", "[0]".repeat(20_000))), ["E0102"]);
    assert_eq!(codes(format!("let a = {}x{}", "(".repeat(120), ")".repeat(120))), [] as [&str; 0]);
    for (open, close) in [("f(k: ", ")"), ("{ k: ", "}"), ("x[", "]"), ("-(a + ", ")")] {
        let text = format!("let a = {}x{}", open.repeat(60), close.repeat(60));
        assert_eq!(codes(text), [] as [&str; 0], "{open}");
    }
    assert_eq!(codes("let a = 1\n".repeat(1 << 20)), ["E0101"]);
}

#[test]
fn a_file_of_the_wrong_kind_is_told_once() {
    for line in ["foo bar baz\n", "% ", "let a == 1\n", "f(lambda, lambda)\n", "train {\n", "\"", "(]", "}\n", "a[(b\n"]
    {
        let (_, found) = read_body(&line.repeat(1 << 13));
        assert!((1..=101).contains(&found.len()), "{line:?} gives {}", found.len());
    }
}

/// Thousands of random edits of valid files: no panic, spans within the text, and a rendering without control characters.
#[test]
fn mutants_of_the_experiments_are_survived() {
    let pieces = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "“",
        "”",
        "\n",
        "\r\n",
        "\r",
        "\\\r\n",
        ";",
        ",",
        ":",
        "=",
        "==",
        "~",
        "..",
        ".",
        "-",
        "->",
        "*",
        "**",
        "@",
        "^",
        "//",
        "//!",
        "/*",
        "*/",
        "#",
        "\\",
        " ",
        "\t",
        "\u{FEFF}",
        "\u{1b}[2J",
        "\u{202e}",
        "é",
        "θ",
        "train {",
        "let ",
        "model m(",
        "expect ",
        "\nmeasure a = ",
        "lambda x",
        "if",
        "1e",
        ".5",
        "10k",
        "True",
        "on",
        "in",
        "every",
        "\0",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let sources: Vec<Vec<char>> = shipped::NAMES.map(|name| shipped::text(name).chars().collect()).to_vec();
    for round in 0..4000 {
        let mut chars = sources[next(sources.len())].clone();
        // Small texts reach more shapes in the same time.
        let start = next(chars.len());
        chars = chars[start..(start + 20 + next(400)).min(chars.len())].to_vec();
        for _ in 0..=next(6) {
            let at = next(chars.len());
            let end = (at + next(12)).min(chars.len());
            match next(3) {
                0 => drop(chars.drain(at..end)),
                1 => drop(chars.splice(at..at, pieces[next(pieces.len())].chars())),
                _ => drop(chars.splice(at..end, pieces[next(pieces.len())].chars())),
            }
        }
        let text: String = chars.into_iter().collect();
        let (_, found) = read(&text);
        assert!(
            found.iter().all(|d| d.code != "E0124" || !d.message.contains("from here on")),
            "round {round}: {text}"
        );
        for d in &found {
            assert!(text.get(d.span.start..d.span.end).is_some(), "round {round}: {d:?} of {text}");
            if let Some(fix) = &d.fix {
                assert!(text.get(fix.span.start..fix.span.end).is_some(), "round {round}: {d:?} of {text}");
            }
        }
        let shown = render(&text, "mutant.meta", &found, false);
        let raw = |c: char| c.is_control() && c != '\n' && c != '\t' || matches!(c, '\u{202A}'..='\u{202E}');
        assert!(!shown.contains(raw), "round {round}: {shown:?}");
        assert_eq!(to_json(&found, &text).as_array().map(Vec::len), Some(found.len()));
    }
}

/// Applying the fixes of a fixture one after the other never adds an error, and comes to an end.
#[test]
fn fixes_mend_what_they_say() {
    let errors = |found: &[Diagnostic]| found.iter().filter(|d| d.severity == Severity::Error).count();
    let mut mended = 0;
    for entry in std::fs::read_dir("tests/fixtures/syntax").expect("the fixtures are there") {
        let path = entry.expect("a file").path();
        let mut text = std::fs::read_to_string(&path).expect("text");
        let mut found = read(&text).1;
        let mut steps = 0;
        while let Some(fix) = found.iter().find_map(|d| d.fix.clone()) {
            text.replace_range(fix.span.start..fix.span.end, &fix.replacement);
            let after = read(&text).1;
            let shown = render(&text, "mended.meta", &after, false);
            assert!(errors(&after) <= errors(&found), "{}: {fix:?}\n{shown}", path.display());
            steps += 1;
            assert!(steps < 30, "{}: {fix:?}\n{shown}", path.display());
            found = after;
        }
        mended += steps;
    }
    assert!(mended > 80, "the fixtures have fixes: {mended}");
}
