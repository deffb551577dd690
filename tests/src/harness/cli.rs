//! The `quintet` command as a person or a script runs it.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::deadline::{SOON, until};
use crate::harness::hub::{Hub, binary, clean};

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Its standard output, if it succeeded.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// A command under way. It dies with this value.
#[derive(Debug)]
pub struct Running {
    child: Child,
    dir: TempDir,
    what: String,
}

/// Runs a client command against a hub to its end.
pub async fn run(hub: &Hub, arguments: &[&str]) -> Output {
    run_with_input(hub, arguments, b"").await
}

/// Runs a client command with something on its standard input.
pub async fn run_with_input(hub: &Hub, arguments: &[&str], input: &[u8]) -> Output {
    spawn_at(&hub.url(), arguments, input).output(SOON).await
}

/// Starts a client command.
pub fn spawn(hub: &Hub, arguments: &[&str]) -> Running {
    spawn_at(&hub.url(), arguments, b"")
}

/// Starts a client command with something on its standard input.
pub fn spawn_with_input(hub: &Hub, arguments: &[&str], input: &[u8]) -> Running {
    spawn_at(&hub.url(), arguments, input)
}

/// Starts a client command against a URL. Input and output are files, so that no pipe can fill up.
pub fn spawn_at(url: &str, arguments: &[&str], input: &[u8]) -> Running {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("in"), input).unwrap();
    let mut command = Command::new(binary());
    clean(&mut command).args(arguments).env("QUINTET_URL", url).current_dir(dir.path());
    command.stdin(File::open(dir.path().join("in")).unwrap());
    command.stdout(File::create(dir.path().join("out")).unwrap());
    command.stderr(File::create(dir.path().join("err")).unwrap());
    Running { child: command.spawn().unwrap(), dir, what: format!("quintet {}", arguments.join(" ")) }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        read(&self.dir.path().join("out"))
    }

    pub fn stderr(&self) -> String {
        read(&self.dir.path().join("err"))
    }

    /// Waits until it has printed so many lines.
    pub async fn lines(&mut self, n: usize, limit: Duration) -> Vec<String> {
        let out = self.dir.path().join("out");
        let what = format!("{n} lines of `{}`", self.what);
        let (child, mut n_seen) = (&mut self.child, 0);
        until(limit, &what, || {
            let text = read(&out);
            n_seen = n_seen.max(text.lines().count());
            let has_ended = n_seen < n && child.try_wait().unwrap().is_some();
            assert!(!has_ended, "it ended after {n_seen} lines");
            (text.ends_with('\n') && n_seen >= n).then(|| text.lines().map(str::to_owned).collect())
        })
        .await
    }

    /// Waits for its end.
    pub async fn exit(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of `{}`", self.what);
        let child = &mut self.child;
        until(limit, &what, || child.try_wait().unwrap()).await
    }

    /// Waits for its end and returns everything it left.
    pub async fn output(mut self, limit: Duration) -> Output {
        let status = self.exit(limit).await;
        // As shells tell it: a signal is an exit code above 128.
        let code = status.code().or_else(|| Some(128 + status.signal()?));
        Output { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}: {}", self.what, self.stderr());
        }
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// The folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
