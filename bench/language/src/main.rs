//! Times the language: parsing 8 KB, and checking every shipped experiment from its text to its plan. Prints medians, and fails
//! where a file takes longer than the project promises.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use metadsl::diag::Sink;
use metadsl::lang::{Source, compile, import};
use metadsl::syntax::{format, parse};

/// The bytes of text that are parsed.
const SIZE: usize = 8 << 10;
/// What is promised, in milliseconds: for parsing 8 KB, and for checking a file.
const PROMISED: (f64, f64) = (1.0, 20.0);
const ROUNDS: usize = 41;

/// The median time of some rounds, in milliseconds, after as many that warm caches and the processor up.
fn median(mut work: impl FnMut()) -> f64 {
    (0..ROUNDS).for_each(|_| work());
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// The shipped experiments, in the order of their names.
fn experiments() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let inside = |folder: &Path| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = inside(&folder).filter(|path| path.is_dir()).flat_map(|path| inside(&path)).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "meta"));
    files.sort();
    files
}

/// A file that another uses, from its folder.
fn beside(path: &Path, name: &str) -> Result<Source, String> {
    let text = fs::read_to_string(path.with_file_name(name)).map_err(|e| e.to_string())?;
    Ok(Source { id: name.to_owned(), name: name.to_owned(), text })
}

fn main() -> ExitCode {
    let files = experiments();
    let texts: Vec<String> = files.iter().map(|path| fs::read_to_string(path).expect("a text")).collect();
    // Whole experiments one behind the other, up to 8 KB.
    let text: String = texts.iter().flat_map(|text| text.lines()).flat_map(|line| [line, "\n"]).collect();
    let text = &text[..text[..SIZE].rfind('\n').expect("a line") + 1];
    let parsing = median(|| drop(parse(text, &mut Sink::new())));
    let formatting = median(|| drop(format(text)));
    println!("| work | ms |\n|---|---:|\n| parse {SIZE} bytes | {parsing:.3} |\n| format {SIZE} bytes | {formatting:.3} |");
    let mut slowest: f64 = 0.0;
    for (path, text) in files.iter().zip(&texts) {
        let checking = median(|| {
            let mut sink = Sink::new();
            let main = Source { id: String::new(), name: String::new(), text: text.clone() };
            let (file, _) = import(parse(text, &mut sink), main, &|_, name| beside(path, name), &mut sink);
            assert!(compile(&file, &[], &mut sink).is_some(), "{} has a mistake", path.display());
        });
        slowest = slowest.max(checking);
        let name: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
        println!("| check {}/{} | {checking:.3} |", name[1], name[0]);
    }
    if parsing <= PROMISED.0 && slowest <= PROMISED.1 {
        return ExitCode::SUCCESS;
    }
    println!("promised: {} ms to parse, {} ms to check", PROMISED.0, PROMISED.1);
    ExitCode::FAILURE
}
