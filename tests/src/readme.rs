//! What the documents tell people to paste works when pasted: every `sh` block of the README, of the pages on the
//! five patterns and of the one on presence is run as it stands, against a fresh hub.
//!
//! Only two things differ: the port, since other tests run beside this one, and the command that starts the hub, which
//! is running already. A block whose first line is `# not run: <why>` is left out.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::cli::repository;
use crate::harness::hub::{Hub, binary, clean};

/// The documents, below the repository. A folder stands for the pages in it.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/patterns", "docs/presence.md"];

/// A block that somebody pastes should show something sooner than this.
const BLOCK_TIME: Duration = Duration::from_secs(45);

#[tokio::test]
async fn every_block_that_is_shown_works() {
    let documents = documents();
    assert!(documents.len() >= 6, "the README and a page for each of the five patterns: {documents:?}");
    let mut failures = String::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let blocks = shell_blocks(&text);
        assert!(!blocks.is_empty(), "{} shows no command", document.display());
        let hub = Hub::start().await;
        let dir = TempDir::new().unwrap();
        for block in blocks.iter().filter(|block| is_run(block)) {
            if let Err(output) = run(block, &hub, dir.path()).await {
                writeln!(failures, "--- {}\n{block}\n--- ended with\n{output}", document.display()).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for name in DOCUMENTS {
        let path = repository().join(name);
        match std::fs::read_dir(&path) {
            Ok(entries) => documents.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => documents.push(path),
        }
    }
    documents.retain(|path| path.is_file() && path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    documents
}

fn shell_blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in markdown.lines() {
        match &mut block {
            None if line.trim() == "```sh" => block = Some(String::new()),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(block.take()),
            Some(block) => writeln!(block, "{line}").unwrap(),
        }
    }
    blocks
}

fn is_run(block: &str) -> bool {
    let starts_the_hub =
        |line: &str| line.contains("cargo run") || line.trim() == "quintet serve" || line.trim() == "./test";
    !block.starts_with("# not run:") && !block.lines().any(starts_the_hub)
}

/// Runs a block, and ends what it left running in the background.
async fn run(block: &str, hub: &Hub, dir: &Path) -> Result<(), String> {
    let block = block.replace("7070", &hub.port.to_string());
    let output = std::fs::File::create(dir.join(".output")).unwrap();
    let bin = binary().parent().unwrap().display().to_string();
    let mut command = Command::new("bash");
    clean(&mut command).args(["-e", "-o", "pipefail", "-c", &block]).current_dir(dir).process_group(0);
    command.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap())).env("QUINTET_URL", hub.url());
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let mut child = command.spawn().unwrap();
    let ended = tokio::time::timeout(BLOCK_TIME, async {
        loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    let group = format!("kill -TERM -{} 2>/dev/null", child.id());
    let _nothing_left = Command::new("sh").arg("-c").arg(group).status().unwrap();
    let status = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(_) => format!("no end within {BLOCK_TIME:?}"),
    };
    Err(format!("{status}\n{}", std::fs::read_to_string(dir.join(".output")).unwrap()))
}

#[test]
fn blocks_are_found_and_chosen() {
    let text = "a\n```sh\none\ntwo\n```\n```text\nno\n```\n```sh\n# not run: it is dear\nthree\n```\n";
    let blocks = shell_blocks(text);
    assert_eq!(blocks, ["one\ntwo\n", "# not run: it is dear\nthree\n"]);
    assert!(is_run(&blocks[0]) && !is_run(&blocks[1]) && !is_run("cargo run --release -- serve\n"));
}
