//! `push` and `pull` of the command line, over a folder and over S3.

#![cfg(feature = "remote")]
#![allow(clippy::print_stdout, reason = "a test says what it skips")]

#[path = "common/desk.rs"]
mod desk;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use desk::{Desk, SMALL, code, stderr, stdout};
use metadsl::ledger::{Bucket, Remote};

/// From one desk over the remote to another: what arrives, and what counts there.
fn goes_over(remote: &str, env: &[(&str, String)]) {
    let (from, run) = Desk::with_run();
    let output = from.run_with(env, &["sign", "--key", "me.key", "--new-key"]);
    let key = stderr(&output).trim().rsplit(' ').next().expect("the key").to_owned();
    let pushed = from.run_with(env, &["push", remote, "--key", "me.key", "--json"]);
    assert_eq!(code(&pushed), 0, "{}{}", stdout(&pushed), stderr(&pushed));
    let again = from.run_with(env, &["push", remote]);
    assert!(stdout(&again).contains("pushed 0 frames in 0 files"), "{}", stdout(&again));

    let to = Desk::new();
    let file = to.write("small.meta", SMALL);
    let held = || {
        let output = to.run_with(env, &["run", file.to_str().expect("UTF-8"), "--json", "--cache", "read"]);
        let text = stdout(&output);
        let report: serde_json::Value = serde_json::from_str(text.trim()).expect("JSON");
        (report["held"].as_u64().expect("a number"), report["run"].as_str().expect("a run").to_owned())
    };
    let pulled = to.run_with(env, &["pull", remote]);
    assert_eq!(code(&pulled), 0, "{}{}", stdout(&pulled), stderr(&pulled));
    assert_eq!(code(&to.run(&["verify"])), 0);
    assert_eq!(code(&to.run(&["replay", &run])), 0);
    assert_eq!(held().0, 0, "nobody is trusted");
    let pulled = to.run_with(env, &["pull", remote, "--trust", &key]);
    assert!(stdout(&pulled).contains(&format!("signed by {key}")), "{}", stdout(&pulled));
    assert_eq!(held(), (2, run.clone()), "a trusted key has signed");
    to.run_with(env, &["pull", remote, "--distrust", &key]);
    assert_eq!(held().0, 0);
    assert_eq!(code(&to.run_with(env, &["pull", remote, "--trust", "me"])), 2);
    // Both ways: what the second desk has run goes back.
    assert_eq!(code(&to.run_with(env, &["push", remote])), 0);
    let back = from.run_with(env, &["pull", remote]);
    assert_eq!(code(&back), 0, "{}{}", stdout(&back), stderr(&back));
    let count = |desk: &Desk| desk.json(&["log", "--json"]).as_array().map(Vec::len);
    assert_eq!(count(&from), count(&to));
    assert_eq!(code(&from.run(&["verify"])), 0);
}

/// What any remote must do: conditions hold, and limits are kept.
fn keeps_conditions(remote: &dyn Remote) {
    let name = |text: &str| text.to_owned();
    assert_eq!(remote.create(vec![(name("tmp/a"), vec![1]), (name("tmp/b"), vec![2])]), Ok(vec![true, true]));
    assert_eq!(remote.create(vec![(name("tmp/a"), vec![3])]), Ok(vec![false]));
    let found = remote.get(&[name("tmp/a"), name("tmp/none"), name("tmp/b")], 10);
    assert_eq!(found, [Ok(Some(vec![1])), Ok(None), Ok(Some(vec![2]))]);
    assert!(remote.create(vec![(name("tmp/long"), vec![0; 11])]).is_ok());
    assert!(remote.get(&[name("tmp/long")], 10)[0].is_err());
    let mut names = remote.list("tmp").expect("it lists");
    names.sort();
    assert_eq!(names, [(name("tmp/a"), 1), (name("tmp/b"), 1), (name("tmp/long"), 11)]);
    assert_eq!(remote.list("none"), Ok(vec![]));
    for wanted in [None, Some(vec![1]), Some(vec![1, 1])] {
        let grown = |found: Option<Vec<u8>>| {
            assert_eq!(found, wanted);
            Some([found.unwrap_or_default(), vec![1]].concat())
        };
        assert_eq!(remote.update("tmp/head", &grown), Ok(()));
    }
    assert_eq!(remote.update("tmp/head", &|_| None), Ok(()));
}

#[test]
fn over_a_folder() {
    let shelf = Desk::new();
    goes_over(shelf.path("remote").to_str().expect("UTF-8"), &[]);
    let bucket = Bucket::folder(&shelf.path("another"), true).expect("a folder");
    keeps_conditions(&bucket);
    // A remote in a folder is a ledger.
    let output = shelf.run(&["verify", "--ledger", shelf.path("remote").to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    for wrong in ["nowhere", "s3://", "ftp://x/y", "gopher://", "s3:///\u{1b}[2J"] {
        let output = shelf.run(&["pull", wrong]);
        assert_eq!(code(&output), 4, "{wrong}: {}", stderr(&output));
        assert!(!stderr(&output).contains('\u{1b}'));
    }
}

#[cfg(unix)]
#[test]
fn links_and_pipes_in_a_folder_are_not_followed() {
    let (from, _) = Desk::with_run();
    let shelf = Desk::new();
    let remote = shelf.path("remote");
    let name = remote.to_str().expect("UTF-8");
    assert_eq!(code(&from.run(&["push", name])), 0);
    let secret = shelf.write("secret", "a secret");
    let pack = std::fs::read_dir(remote.join("packs")).expect("packs").next().expect("one").expect("an entry").path();
    let sound = std::fs::read(&pack).expect("a pack");
    let link = || std::os::unix::fs::symlink(&secret, &pack).expect("a link");
    let pipe = || assert!(Command::new("mkfifo").arg(&pack).status().expect("mkfifo").success());
    for plant in [&link as &dyn Fn(), &pipe] {
        std::fs::remove_file(&pack).expect("it is there");
        plant();
        let to = Desk::new();
        let output = to.run(&["pull", name]);
        assert_eq!(code(&output), 4);
        assert!(stdout(&output).contains("is no plain file"), "{}{}", stdout(&output), stderr(&output));
        assert_eq!(to.json(&["log", "--json"]), serde_json::json!([]));
    }
    std::fs::remove_file(&pack).expect("it is there");
    std::fs::write(&pack, sound).expect("it is written");
    assert_eq!(code(&Desk::new().run(&["pull", name])), 0);
}

/// A server that speaks S3, which ends with the value.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts moto's server; none where Python has no moto.
    fn start() -> Option<Server> {
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let lines = BufReader::new(child.stderr.take()?).lines().map_while(Result::ok);
        // It says where it listens once it does; where Python lacks it, its words end without that.
        let mut lines = lines.skip_while(|line| !line.contains("Running on http://"));
        let line = lines.next();
        let mut server = Server { child, address: String::new() };
        let address = line.as_deref()?.split("http://").nth(1)?.trim().to_owned();
        // What it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        server.address = address;
        Some(server)
    }

    fn make_bucket(&self, name: &str) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let request =
            format!("PUT /{name} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn over_s3() {
    let Some(server) = Server::start() else {
        println!("skipped: no S3 server: python3 lacks moto (pip install 'moto[s3,server]')");
        return;
    };
    server.make_bucket("group");
    let env = [
        ("AWS_ENDPOINT", format!("http://{}", server.address)),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "someone".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "something".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let settings = || env.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    keeps_conditions(&Bucket::open("s3://group/conditions", settings()).expect("a bucket"));
    goes_over("s3://group/ledgers/one", &env);
    println!("pushed to and pulled from S3 at {}", server.address);
}
