//! The examples run: each `examples/*/run.sh` starts what it needs, shows its pattern, checks it, and exits 0.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::cli::repository;
use crate::harness::deadline::{LATER, until};
use crate::harness::hub::{Hub, binary, clean};

#[tokio::test]
async fn every_example_runs() {
    let entries = std::fs::read_dir(repository().join("examples")).unwrap();
    let mut scripts: Vec<_> = entries.map(|entry| entry.unwrap().path().join("run.sh")).collect();
    scripts.retain(|script| script.is_file());
    scripts.sort();
    assert!(scripts.len() >= 7, "one for each pattern, for groups, and for all at once: {scripts:?}");
    for script in scripts {
        // Every example has a hub of its own, and is free to start another one.
        let hub = Hub::start().await;
        let dir = TempDir::new().unwrap();
        let output = std::fs::File::create(dir.path().join(".output")).unwrap();
        let bin = binary().parent().unwrap().display().to_string();
        let mut command = Command::new("bash");
        clean(&mut command).arg(&script).current_dir(script.parent().unwrap()).process_group(0);
        command.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()));
        command.env("QUINTET_URL", hub.url()).env("TMPDIR", dir.path());
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut child = command.spawn().unwrap();
        let what = format!("the end of {}", script.display());
        let status = until(LATER, &what, || child.try_wait().unwrap()).await;
        let group = format!("kill -TERM -{} 2>/dev/null", child.id());
        let _nothing_left = Command::new("sh").arg("-c").arg(group).status().unwrap();
        let output = std::fs::read_to_string(dir.path().join(".output")).unwrap();
        assert!(status.success(), "{}: {status}\n{output}", script.display());
    }
}
