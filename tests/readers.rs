//! Every reader from the command line: a small data set in its exact format is checked, trained on and replayed, and a file
//! that does not fit is a diagnostic at its `data` item.

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, code, stderr};

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
