//! Every reader from the command line: a small data set in its exact format is checked, trained on and replayed, and a file
//! that does not fit is a diagnostic at its `data` item.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/desk.rs"]
mod desk;
#[path = "common/npy.rs"]
mod npy;

use desk::{Desk, code, stderr};
use npy::npy;

/// Two rounds of federated training on four inputs and two classes; the partition and the data as given.
fn experiment(data: &str, partition: &str) -> String {
    format!(
        "edition 2026
experiment readers
dim d = 4
dim classes = 2
data things = {data}
tasks clients from things {{ partition = {partition}; hold_out = 0.5 }}
model net(x: [d]) -> [classes] {{
  param W: [d, classes] = 0
  x @ W
}}
train {{
  tasks = pool(clients)
  loss  = cross_entropy
  adapt = sgd(W, rate: 0.1, epochs: 1)
  outer = average
  steps = 2
}}
evaluate local {{ tasks = pool(clients); adapt = none }}
measure accuracy = mean(accuracy) on local
"
    )
}

/// Runs the experiment and replays it from the record alone.
fn runs_and_replays(desk: &Desk, text: &str) {
    let file = desk.write("readers.meta", text).display().to_string();
    let report = desk.json(&["run", &file, "--json"]);
    let run = report["run"].as_str().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(desk.json(&["replay", run, "--json"])["verdict"], "identical");
}

/// The one error that checking reports.
fn refused(desk: &Desk, text: &str) -> String {
    let file = desk.write("readers.meta", text).display().to_string();
    let output = desk.run(&["check", &file]);
    assert_eq!(code(&output), 1);
    stderr(&output)
}

/// IDX bytes (unsigned) of those dims.
fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let head = [0, 0, 8, dims.len() as u8];
    head.into_iter().chain(dims.iter().flat_map(|d| d.to_be_bytes())).chain(values.iter().copied()).collect()
}

const IDX: &str = "idx(images: \"images\", labels: \"labels\", scale: 1 / 255)";

#[test]
fn idx_images_of_two_classes() {
    let desk = Desk::new();
    let pixels: Vec<u8> = (0..8 * 4).map(|i| if i / 4 % 2 == 0 { 255 } else { i as u8 }).collect();
    desk.write("images", idx(&[8, 2, 2], &pixels));
    desk.write("labels", idx(&[8], &[0, 1, 0, 1, 0, 1, 0, 1]));
    runs_and_replays(&desk, &experiment(IDX, "iid(clients: 2)"));
    desk.write("labels", idx(&[8], &[0, 1, 0, 1, 0, 1, 0, 2]));
    let message = refused(&desk, &experiment(IDX, "iid(clients: 2)"));
    assert!(message.contains("E0603") && message.contains("3 classes, but the model predicts 2"), "{message}");
    desk.write("images", idx(&[8, 3, 2], &[0; 48]));
    let message = refused(&desk, &experiment(IDX, "iid(clients: 2)"));
    assert!(message.contains("E0604") && message.contains("[3, 2], but the model takes [4]"), "{message}");
    desk.write("images", idx(&[8, 2, 2], &[0; 31]));
    let message = refused(&desk, &experiment(IDX, "iid(clients: 2)"));
    assert!(message.contains("E0602") && message.contains("and 31 follow"), "{message}");
    std::fs::remove_file(desk.path("labels")).unwrap();
    let message = refused(&desk, &experiment(IDX, "iid(clients: 2)"));
    assert!(message.contains("E0601") && message.contains("`labels` cannot be read"), "{message}");
}

#[test]
fn lines_of_json_by_owner() {
    let desk = Desk::new();
    let line = |i: usize| format!("{{\"x\": [[{i}, 1], [0, 0.5]], \"y\": {}, \"writer\": \"w{}\"}}\n", i % 2, i / 4);
    desk.write("notes.jsonl", (0..8).map(line).collect::<String>());
    let data = "jsonl(\"notes.jsonl\", owner: \"writer\")";
    runs_and_replays(&desk, &experiment(data, "owners(0..2)"));
    let file = desk.write("readers.meta", experiment(data, "owners(0..3)")).display().to_string();
    let output = desk.run(&["run", &file]);
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("the range reaches to 3, and the data set has 2 owners"), "{}", stderr(&output));
}

#[test]
fn a_folder_of_leaf_users() {
    let desk = Desk::new();
    let user = |n: usize| format!("{{\"x\": {:?}, \"y\": [0, 1, 0, 1]}}", vec![[n as f64, 0.0, 1.0, 0.5]; 4]);
    let text = format!(
        "{{\"users\": [\"a\", \"b\"], \"num_samples\": [4, 4], \"user_data\": {{\"a\": {}, \"b\": {}}}}}",
        user(1),
        user(2)
    );
    desk.write("femnist/train/part_0.json", &text);
    desk.write("femnist/test/part_0.json", "not JSON");
    runs_and_replays(&desk, &experiment("leaf(\"femnist\")", "owners(0..2)"));
    let message = refused(&desk, &experiment("leaf(\"femnist\", part: test)", "owners(0..2)"));
    assert!(message.contains("E0602") && message.contains("`test/part_0.json`"), "{message}");
}

#[test]
fn folders_of_pictures() {
    let desk = Desk::new();
    for (class, shade) in [("dark", 20), ("light", 230)] {
        for i in 0..4 {
            let picture = image::GrayImage::from_pixel(3 + i, 5, image::Luma([shade + i as u8]));
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            desk.write(&format!("pictures/{class}/{i}.png"), bytes.into_inner());
        }
    }
    runs_and_replays(&desk, &experiment("images(\"pictures\", size: 2)", "shards(clients: 2, classes: 1)"));
    desk.write("pictures/dark/9.png", "no picture");
    let message = refused(&desk, &experiment("images(\"pictures\", size: 2)", "iid(clients: 2)"));
    assert!(message.contains("E0602") && message.contains("`dark/9.png`"), "{message}");
}

/// A table as a spreadsheet writes it: names of columns, values between tabs, classes and owners by name.
#[test]
fn a_table_with_tabs_and_names() {
    let desk = Desk::new();
    let row = |i: usize| {
        format!("{i}\t0.5\t-1\t2e-1\t{}\tclinic {}\n", if i.is_multiple_of(2) { "ill" } else { "well" }, i / 4)
    };
    let table = format!("age\tdose\tchange\tweight\tstate\tplace\n{}", (0..8).map(row).collect::<String>());
    desk.write("table.tsv", &table);
    let data = "csv(\"table.tsv\", features: 0..4, label: 4, owner: 5)";
    runs_and_replays(&desk, &experiment(data, "owners(0..2)"));
    let named =
        |features: &str| format!("csv(\"table.tsv\", features: {features}, label: \"state\", owner: \"place\")");
    let four = "[\"age\", \"dose\", \"change\", \"weight\"]";
    runs_and_replays(&desk, &experiment(&named(four), "owners(0..2)"));
    runs_and_replays(&desk, &experiment(&named("0..4"), "owners(0..2)"));
    let message = refused(&desk, &experiment(&named(&four.replace("dose", "doses")), "owners(0..2)"));
    assert!(message.contains("E0602") && message.contains("no column `doses`"), "{message}");
    assert!(message.contains("the first row names age, dose, change, weight, state, place"), "{message}");
    for features in [&four.replace("dose", "state"), "1..5"] {
        let message = refused(&desk, &experiment(&named(features), "owners(0..2)"));
        assert!(
            message.contains("E0610") || message.contains("column 4 is the label and a feature as well"),
            "{message}"
        );
    }
    let message = refused(&desk, &experiment(&named("[0, 1]"), "owners(0..2)"));
    assert!(message.contains("E0415") && message.contains("quoted names, such as"), "{message}");
    desk.write("table.tsv", table.replace("ill", "1"));
    let message = refused(&desk, &experiment(data, "owners(0..2)"));
    assert!(
        message.contains("E0602") && message.contains("line 3, column 4") && message.contains("`well`"),
        "{message}"
    );
}

#[test]
fn arrays_of_numpy_in_files_of_their_own() {
    let desk = Desk::new();
    desk.write("x.npy", npy::<f32>(&[8, 4], (0..32).map(|i| i as f32 / 8.0)));
    desk.write("y.npy", npy::<i64>(&[8], (0..8).map(|i| i % 2)));
    desk.write("who.npy", npy::<u8>(&[8], (0..8).map(|i| i / 4)));
    let data = "npy(x: \"x.npy\", y: \"y.npy\", owner: \"who.npy\")";
    runs_and_replays(&desk, &experiment(data, "owners(0..2)"));
    desk.write("y.npy", npy::<i64>(&[7], (0..7).map(|i| i % 2)));
    let message = refused(&desk, &experiment(data, "owners(0..2)"));
    assert!(message.contains("E0602") && message.contains("8 inputs and 7 targets"), "{message}");
    let message = refused(&desk, &experiment("npy(x: \"x.npy\", y: \"x.npy\")", "owners(0..2)"));
    assert!(message.contains("E0612"), "{message}");
}

#[test]
fn classes_in_words() {
    let desk = Desk::new();
    let word = |i: usize| if i.is_multiple_of(2) { "ham" } else { "spam" };
    let line = |i: usize| format!("{{\"x\": [{i}, 1, 0, 0.5], \"y\": \"{}\"}}\n", word(i));
    let lines: String = (0..8).map(line).collect();
    desk.write("mails.jsonl", &lines);
    let data = "jsonl(\"mails.jsonl\")";
    runs_and_replays(&desk, &experiment(data, "shards(clients: 2, classes: 1)"));
    desk.write("mails.jsonl", format!("{lines}{{\"x\": [1, 1, 1, 1], \"y\": 1}}\n"));
    let message = refused(&desk, &experiment(data, "iid(clients: 2)"));
    assert!(message.contains("line 9: the target must be text like those before it, not a number"), "{message}");
}

#[test]
fn numbers_are_no_classes() {
    let desk = Desk::new();
    desk.write("table.csv", "1,2,3,4,0.5\n1,2,3,5,1.5\n2,2,2,2,0\n0,0,0,1,0\n");
    let message = refused(&desk, &experiment("csv(\"table.csv\", features: 0..4, target: 4)", "iid(clients: 2)"));
    assert!(message.contains("E0605"), "{message}");
}

/// Five-way episodes: the classes of the test are others than those of training.
#[test]
fn few_shot_episodes_of_digits() {
    let desk = Desk::new();
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/digits.csv.gz");
    std::fs::copy(from, desk.path("digits.csv.gz")).unwrap();
    let text = "edition 2026
experiment few_shot
dim d = 64
dim n = 3
data digits = csv(\"digits.csv.gz\", features: 0..64, label: 64, scale: 1 / 16)
tasks seen from digits { partition = classes(0..6); ways = 3 }
tasks unseen from digits { partition = classes(6..10); ways = 3 }
model net(x: [d]) -> [n] { param W: [d, n] = 0; x @ W }
train {
  tasks  = pool(seen, batch: 4, replace: true)
  split  = { support: 5, query: 5 }
  loss   = cross_entropy
  adapt  = gradient(W, rate: 0.5, steps: 5)
  outer  = mean
  update = sgd(rate: 0.1)
  steps  = 20
}
evaluate test {
  tasks = pool(unseen); episodes = 50
  split = { support: 5, query: 10 }
  adapt = gradient(W, rate: 0.5, steps: 5)
}
measure accuracy = mean(accuracy) on test
expect accuracy[last] >= 0.9
";
    runs_and_replays(&desk, text);
    let fewer = text.replace("classes(6..10); ways = 3", "classes(6..8); ways = 3");
    let file = desk.write("few.meta", fewer).display().to_string();
    let output = desk.run(&["run", &file]);
    assert!(stderr(&output).contains("client 0 has 2 classes of 15 examples or more"), "{}", stderr(&output));
}

/// A file of four numbers, a class and an owner, as other programs write it.
#[cfg(feature = "parquet")]
fn parquet(rows: usize) -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

    fn column<T: DataType>(
        group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
        values: &[T::T],
        levels: [&[i16]; 2],
    ) {
        let [definition, repetition] = levels.map(|levels| (!levels.is_empty()).then_some(levels));
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(values, definition, repetition).unwrap();
        column.close().unwrap();
    }
    let schema = "message rows { required double a; required double b; required group x (LIST) { repeated group list { \
                  required double element; } } required int64 y; required binary who (utf8); optional double gap; }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let mut bytes = Vec::new();
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(&mut bytes, schema.into(), properties.into()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let numbers = |shift: f64| (0..rows).map(|i| i as f64 + shift).collect::<Vec<_>>();
    column::<DoubleType>(&mut group, &numbers(0.0), [&[], &[]]);
    column::<DoubleType>(&mut group, &numbers(0.5), [&[], &[]]);
    let (there, next): (Vec<i16>, Vec<i16>) = (0..4 * rows).map(|i| (1, i16::from(i % 4 > 0))).unzip();
    column::<DoubleType>(&mut group, &(0..4 * rows).map(|i| i as f64).collect::<Vec<_>>(), [&there, &next]);
    column::<Int64Type>(&mut group, &(0..rows as i64).map(|i| i % 2).collect::<Vec<_>>(), [&[], &[]]);
    let who: Vec<ByteArray> = (0..rows).map(|i| format!("w{}", i / 4).as_str().into()).collect();
    column::<ByteArrayType>(&mut group, &who, [&[], &[]]);
    let there: Vec<i16> = (0..rows).map(|i| i16::from(i != 2)).collect();
    column::<DoubleType>(&mut group, &vec![1.0; rows - 1], [&there, &[]]);
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

#[test]
#[cfg(feature = "parquet")]
fn tables_of_parquet() {
    let desk = Desk::new();
    desk.write("rows.parquet", parquet(8));
    let data = |x: &str, y: &str| format!("parquet(\"rows.parquet\", x: {x}, y: \"{y}\", owner: \"who\")");
    runs_and_replays(&desk, &experiment(&data("\"x\"", "y"), "owners(0..2)"));
    runs_and_replays(&desk, &experiment(&data("[\"a\", \"b\", \"b\", \"a\"]", "y"), "iid(clients: 2)"));
    let refused = |x: &str, y: &str, code: &str, expected: &str| {
        let message = refused(&desk, &experiment(&data(x, y), "iid(clients: 2)"));
        assert!(message.contains(code) && message.contains(expected), "{message}");
    };
    refused("[\"a\", \"c\"]", "y", "E0602", "it has no column `c`; it has a, b, x, y, who, gap");
    refused("[\"a\", \"b\"]", "y", "E0604", "[2], but the model takes [4]");
    refused("[\"a\", \"gap\"]", "y", "E0602", "row 2: column `gap`: nothing stands there");
    refused("\"who\"", "y", "E0602", "row 0: inputs must be numbers, not text");
    refused("\"x\"", "a", "E0605", "the targets are numbers");
    desk.write("rows.parquet", &parquet(8)[..300]);
    refused("\"x\"", "y", "E0602", "this is no readable Parquet file");
}

/// Damaged files are errors, never the end of the program.
#[test]
#[cfg(feature = "parquet")]
fn damaged_parquet() {
    use metadsl::data::{ColumnOptions, read_parquet};
    let whole = parquet(40);
    let x = ["x".to_owned()];
    let read = |bytes: &[u8]| read_parquet(bytes, ColumnOptions { x: &x, y: "y", owner: Some("who"), scale: 1.0 });
    assert_eq!(read(&whole).unwrap().len(), 40);
    let mut refused = 0;
    for at in 0..whole.len() {
        refused += usize::from(read(&whole[..at]).is_err());
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            refused += usize::from(read(&damaged).is_err());
        }
    }
    assert!(refused > whole.len(), "{refused}");
}

#[test]
#[cfg(not(feature = "parquet"))]
fn parquet_and_dialogues_need_their_features() {
    let desk = Desk::new();
    desk.write("rows.parquet", "PAR1");
    let message = refused(&desk, &experiment("parquet(\"rows.parquet\", x: \"x\", y: \"y\")", "iid(clients: 2)"));
    assert!(message.contains("E0602") && message.contains("--features parquet"), "{message}");
    if cfg!(not(feature = "text")) {
        desk.write("chats.txt", "1 your persona: a\n2 hi\thello\t\tno|hello\n");
        desk.write("tokenizer.json", "{}");
        let data = "convai2(\"chats.txt\", tokenizer: \"tokenizer.json\", length: 8)";
        let message = refused(&desk, &experiment(data, "owners(0..1)"));
        assert!(message.contains("E0602") && message.contains("--features text"), "{message}");
    }
}
