//! Experiments whose data cannot be shipped nor fetched, on small files of the same format: they read them and train.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

#[path = "common/shipped.rs"]
mod shipped;

/// Runs an experiment for one round under one seed beside data that `write` makes in a folder of the name that it reads,
/// without its claims, its sweep and its costly evaluation. Returns the accuracies that every arm ends with.
fn one_round(name: &str, data: &str, options: &[&str], write: impl Fn(&Path)) -> Vec<f64> {
    one_round_of(name, &shipped::unclaimed(name), data, options, write)
}

/// The same of its text, which may say something else.
fn one_round_of(name: &str, text: &str, data: &str, options: &[&str], write: impl Fn(&Path)) -> Vec<f64> {
    let desk = TempDir::new().expect("a temporary folder");
    let folder = desk.path().join("data").join(data);
    fs::create_dir_all(&folder).expect("a folder");
    write(&folder);
    let kept = |line: &&str| !line.starts_with("measure tuned") && !line.starts_with("sweep held");
    let text: String = text.lines().filter(kept).flat_map(|line| [line, "\n"]).collect();
    let file = desk.path().join("paper").join("experiment.meta");
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::write(&file, text).expect("a file");

    let mut command = Command::new(env!("CARGO_BIN_EXE_metadsl"));
    command.arg("run").arg(&file).arg("--json").arg("--ledger").arg(desk.path().join("ledger"));
    command.args(["--set", "train.steps=1", "--set", "seeds=1"]);
    for option in options {
        command.args(["--set", option]);
    }
    let output = command.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}: {said}"));
    let arms = report["measures"].as_object().expect("arms").values();
    arms.map(|arm| arm["accuracy"]["0"].as_f64().expect("finite")).collect()
}

/// So many arms, and accuracies that are shares.
fn all_trained(arms: usize, accuracies: &[f64]) {
    assert_eq!(accuracies.len(), arms, "{accuracies:?}");
    assert!(accuracies.iter().all(|a| (0.0..=1.0).contains(a)), "{accuracies:?}");
}

/// Records of the binary versions of CIFAR: the labels of an image, then its pixels.
fn cifar(count: usize, labels: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let record = |i: usize| {
        let pixels = (0..3072).map(move |p| ((p * 7 + i * 31) % 256) as u8);
        labels(i).into_iter().chain(pixels)
    };
    (0..count).flat_map(record).collect()
}

#[test]
fn fedrep_on_cifar_10() {
    let options = ["clients=10"];
    let write = |folder: &Path| {
        let records = cifar(20, |i| vec![(i % 10) as u8]);
        (1..=5).for_each(|n| fs::write(folder.join(format!("data_batch_{n}.bin")), &records).expect("a file"));
    };
    all_trained(3, &one_round("fedrep_cifar10", "cifar-10-batches-bin", &options, write));
}

#[test]
fn fedrep_on_cifar_100() {
    let options = ["tasks.clients.partition.clients=20", "train.tasks.batch=1"];
    let write = |folder: &Path| {
        fs::write(folder.join("train.bin"), cifar(200, |i| vec![(i % 20) as u8, (i % 100) as u8])).expect("a file");
    };
    all_trained(3, &one_round("fedrep_cifar100", "cifar-100-binary", &options, write));
}

#[test]
fn fedrep_on_the_writers_of_leaf() {
    let write = |folder: &Path| {
        let (mut users, mut held) = (String::new(), String::new());
        for user in 0..150 {
            let comma = if user == 0 { "" } else { "," };
            let pixels =
                |i: usize| (0..784).map(|p| format!("0.{}", (p + i + user) % 10)).collect::<Vec<_>>().join(",");
            let xs = (0..10).map(|i| format!("[{}]", pixels(i))).collect::<Vec<_>>().join(",");
            let ys = (0..10).map(|i| ((user + i % 3) % 10).to_string()).collect::<Vec<_>>().join(",");
            write!(users, "{comma}\"w{user:03}\"").expect("text");
            write!(held, "{comma}\"w{user:03}\":{{\"x\":[{xs}],\"y\":[{ys}]}}").expect("text");
        }
        let sizes = vec!["10"; 150].join(",");
        let text = format!("{{\"users\":[{users}],\"num_samples\":[{sizes}],\"user_data\":{{{held}}}}}");
        fs::create_dir(folder.join("train")).expect("a folder");
        fs::write(folder.join("train").join("all.json"), text).expect("a file");
    };
    all_trained(3, &one_round("fedrep_femnist", "femnist", &["train.tasks.batch=3"], write));
}

/// A small BERT, a tokenizer whose words are numbers, and twenty personas with two dialogues each.
#[cfg(feature = "text")]
#[test]
fn meta_lora_on_the_replies_of_convai() {
    let write = |folder: &Path| {
        let words = (3..20).map(|i| format!("\"w{i}\":{i}")).collect::<Vec<_>>().join(",");
        let model = format!("{{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{{\"?\":0,{words}}}}}");
        let none = "\"truncation\":null,\"padding\":null,\"normalizer\":null,\"post_processor\":null,\"decoder\":null";
        let splits = "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}";
        let tokenizer = format!("{{\"version\":\"1.0\",\"added_tokens\":[],{none},{splits},\"model\":{model}}}");
        let minilm = folder.with_file_name("minilm");
        let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny_bert.safetensors");
        fs::create_dir(&minilm).expect("a folder");
        fs::write(minilm.join("tokenizer.json"), tokenizer).expect("a file");
        fs::copy(checkpoint, minilm.join("model.safetensors")).expect("a file");

        let mut chats = String::new();
        for persona in 0..40 {
            writeln!(chats, "1 your persona: w{} w{}", 3 + persona % 4, 3 + persona % 5).expect("text");
            for turn in 0..3 {
                let reply = |i: usize| format!("w{} w{}", 3 + (persona + turn + i) % 17, 3 + i % 17);
                let replies = (0..20).map(reply).collect::<Vec<_>>();
                let right = &replies[(persona * 3 + turn) % 20];
                writeln!(chats, "{} w{}\t{right}\t\t{}", 2 + turn, 4 + turn, replies.join("|")).expect("text");
            }
        }
        fs::write(folder.join("train_self_original.txt"), chats).expect("a file");
    };
    let name = "meta_lora_convai";
    let tiny = "bert(x, mask, vocabulary: 20, width: width, depth: 2, heads: 2, inner: 12, longest: 9)";
    let text = shipped::unclaimed(name).replace("bert(x, mask)", tiny).replace("length: 64", "length: 9");
    all_trained(
        3,
        &one_round_of(name, &text, "convai2", &["width=8", "tokens=9", "evaluate.tuned.adapt.epochs=1"], write),
    );
}
