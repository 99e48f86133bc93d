//! Texts, dialogues and instructions as data: small files in their exact formats, read through a tokenizer of a few words.
#![cfg(feature = "text")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, code, stderr};
use metadsl::data::{self, DataSet, JsonlOptions, Targets};

/// A `tokenizer.json` whose words are numbers: `w7` is 7. Texts are opened by 1 and closed by 2.
fn tokenizer() -> String {
    let words: Vec<String> = (3..40).map(|i| format!("\"w{i}\": {i}")).collect();
    format!(
        "{{\"version\": \"1.0\", \"truncation\": {{\"direction\": \"Right\", \"max_length\": 3, \"strategy\": \"LongestFirst\", \"stride\": 0}},
          \"padding\": null, \"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": {{\"type\": \"WhitespaceSplit\"}},
          \"post_processor\": {{\"type\": \"BertProcessing\", \"cls\": [\"[CLS]\", 1], \"sep\": [\"[SEP]\", 2]}}, \"decoder\": null,
          \"model\": {{\"type\": \"WordLevel\", \"unk_token\": \"[UNK]\", \"vocab\": {{\"[UNK]\": 0, \"[CLS]\": 1, \"[SEP]\": 2, {}}}}}}}",
        words.join(", ")
    )
}

/// An example's rows.
fn rows(set: &DataSet, example: usize, length: usize) -> Vec<Vec<i64>> {
    let all = set.features.tensor(set.len());
    let size = set.features.row_len();
    let numbers = &all.data()[example * size..(example + 1) * size];
    numbers.chunks(length).map(|row| row.iter().map(|&id| id as i64).collect()).collect()
}

const CHATS: &str = "1 your persona: w20\n2 your persona: w21\n3 w3 w4\tw5\t\tw6|w5|w7\n4 w8\tw9\t\tw9|w30|w31\n\
                     1 your persona: w22\n2 w3\tw6\t\tw10|w6|w11\n3 w12\tw13\t\tw13|w14|w15\n\
                     1 your persona: w20\n2 your persona: w21\n3 w4\tw5\t\tw16|w17|w5\n4 w3\tw8\t\tw8|w9|w7\n\
                     1 your persona: w22\n2 w5\tw7\t\tw7|w17|w18\n3 w5\tw4\t\tw19|w4|w3\n";

#[test]
fn texts_are_cut_to_their_length_and_keep_their_beginning() {
    let options = JsonlOptions { x: "text", y: "label", owner: None, scale: 1.0 };
    let lines = "{\"text\": \"w3 w4 w5 w6 w7\", \"label\": 1}\n{\"text\": \"w8 what\", \"label\": 0}";
    let set = data::read_texts(lines.as_bytes(), tokenizer().as_bytes(), options, 5).unwrap();
    assert_eq!((rows(&set, 0, 5), rows(&set, 1, 5)), (vec![vec![1, 3, 4, 5, 2]], vec![vec![1, 8, 0, 2, -1]]));
    let refused = data::read_texts(lines.as_bytes(), tokenizer().as_bytes(), options, 1).unwrap_err().to_string();
    assert!(refused.contains("it adds 3 tokens of its own, and the length is 1"), "{refused}");
}

#[test]
fn a_dialogue_is_read_with_every_candidate() {
    let set = data::read_convai(CHATS.as_bytes(), tokenizer().as_bytes(), 7, None).unwrap();
    assert_eq!((set.len(), set.features.dims()), (8, &[3, 7][..]));
    // In alphabetical order: w5, w6, w7.
    let first = vec![vec![1, 3, 4, 2, 5, 2, -1], vec![1, 3, 4, 2, 6, 2, -1], vec![1, 3, 4, 2, 7, 2, -1]];
    assert_eq!(rows(&set, 0, 7), first);
    // w30, w31, w9: of the dialogue `w3 w4 w5 w8` the end is kept.
    let second = vec![vec![1, 4, 5, 8, 2, 30, 2], vec![1, 4, 5, 8, 2, 31, 2], vec![1, 4, 5, 8, 2, 9, 2]];
    assert_eq!(rows(&set, 1, 7), second);
    assert_eq!(set.targets, Targets::Classes { labels: vec![0, 2, 2, 0, 2, 1, 2, 2], count: 3 });
    let owners = set.owners.unwrap();
    assert_eq!((owners.of, owners.names), (vec![0, 0, 1, 1, 0, 0, 1, 1], vec!["w20 w21".to_owned(), "w22".into()]));
}

#[test]
fn instructions_are_answered_by_outputs_of_other_instances() {
    let task = |n: usize| {
        let instances: Vec<String> = (0..5)
            .map(|i| format!("{{\"id\": \"i{i}\", \"input\": \"w{}\", \"output\": [\"w{}\"]}}", 3 + i, 10 + 6 * n + i))
            .collect();
        format!(
            "{{\"Contributors\": [\"a\"], \"Definition\": [\"w30\"], \"Positive Examples\": [], \"Instances\": [{}]}}",
            instances.join(",")
        )
    };
    let files = (0..2).map(|n| (format!("task00{n}_colours.json"), task(n).into_bytes())).collect();
    let packed = data::pack(files).unwrap();
    let read = |candidates| data::read_instructions(&[&packed], tokenizer().as_bytes(), 8, candidates);
    let set = read(3).unwrap();
    assert_eq!((set.len(), set.features.dims()), (10, &[3, 8][..]));
    assert_eq!(set.owners.as_ref().unwrap().names, ["task000_colours", "task001_colours"]);
    for example in 0..10 {
        let (rows, right) = (rows(&set, example, 8), set.targets.number(example) as usize);
        let (task, i) = (example as i64 / 5, example as i64 % 5);
        assert!(rows.iter().all(|row| row[..4] == [1, 30, 3 + i, 2]), "{rows:?}");
        assert_eq!(rows[right][4..6], [10 + 6 * task + i, 2]);
    }
    let refused = read(6).unwrap_err().to_string();
    assert!(refused.contains("`task000_colours.json`, instance 0: the task has 5 answers to choose from"), "{refused}");
    let broken =
        data::pack(vec![("t.json".into(), b"{\"Definition\": [\"a\"],\n \"Instances\": 3}".to_vec())]).unwrap();
    let refused = data::read_instructions(&[&broken], tokenizer().as_bytes(), 8, 2).unwrap_err().to_string();
    assert!(refused.contains("`t.json`") && refused.contains("line 2"), "{refused}");
}

/// A small embedding scores every candidate; personas are the tasks.
fn selection(data: &str) -> String {
    format!(
        "edition 2026
experiment selection
dim candidates = 3
dim tokens = 7
dim width = 4
data chats = {data}
tasks people from chats {{ partition = owners(0..2); hold_out = 0.25 }}
layer score(ids: [tokens]) -> [] {{
  let mask = sign(ids + 1)
  let words = embedding(ids * mask, 40, width)
  let text = sum(mask * words, over: tokens) / sum(mask)
  param weight: [width] ~ normal
  text @ weight
}}
model net(x: [candidates, tokens]) -> [candidates] {{
  let scores = score(x)
  scores
}}
train {{
  tasks  = pool(people)
  loss   = cross_entropy
  adapt  = sgd(all, rate: 0.1, epochs: 1)
  outer  = average
  steps  = 2
}}
evaluate own {{ tasks = pool(people); adapt = none }}
measure accuracy = mean(accuracy) on own
"
    )
}

#[test]
fn personas_choose_replies() {
    let desk = Desk::new();
    desk.write("tokenizer.json", tokenizer());
    desk.write("chats.txt", CHATS);
    let text = selection("convai2(\"chats.txt\", tokenizer: \"tokenizer.json\", length: 7, history: 2)");
    let file = desk.write("selection.meta", &text).display().to_string();
    let report = desk.json(&["run", &file, "--json"]);
    let run = report["run"].as_str().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(desk.json(&["replay", run, "--json"])["verdict"], "identical");

    let refused = |chats: &str, expected: &str| {
        desk.write("chats.txt", chats);
        let output = desk.run(&["check", &file]);
        let message = stderr(&output);
        assert!(code(&output) == 1 && message.contains("E0602") && message.contains(expected), "{message}");
    };
    refused(&CHATS.replace("w14|", ""), "line 7: it has 2 candidates, the first one 3");
    refused(&CHATS.replace("w9|w30|w31", "w30|w31"), "line 4: the reply is not among its candidates");
    refused("", "the file holds no rows of data");
    desk.write("chats.txt", CHATS);
    desk.write("tokenizer.json", "{}");
    let output = desk.run(&["check", &file]);
    assert!(code(&output) == 1 && stderr(&output).contains("this is no readable tokenizer"), "{}", stderr(&output));
}
