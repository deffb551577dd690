//! One run of a command for a request or a message: the body goes in, what it prints comes back, or is passed on.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use quintet_wire::envelope::Headers;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::cli::exit::Failure;

/// Bytes of a reply; a command that prints more has failed.
const REPLY_BYTES_MAX: u64 = 8 << 20;
/// How much of what a failed command said last is told to the caller.
const STDERR_BYTES_MAX: usize = 4 << 10;

/// What is to be run, and for what.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// The program and its arguments.
    pub(crate) command: &'a [OsString],
    /// What it is told in its environment. Text that no variable can hold is left out.
    pub(crate) variables: Vec<(String, String)>,
    /// What it reads.
    pub(crate) input: &'a [u8],
    /// Whether what it prints is wanted; otherwise it prints to our own standard output.
    pub(crate) captured: bool,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ended well and printed this; nothing, if it was not captured.
    Done(Vec<u8>),
    /// It did not.
    Failed {
        /// How it ended.
        how: String,
        /// What it said last.
        stderr: String,
    },
}

/// Runs it. Dropping the future kills the command and all that it has started.
pub(crate) async fn run_job(job: &Job<'_>) -> io::Result<Outcome> {
    let Some((program, arguments)) = job.command.split_first() else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "no command"));
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(job.variables.iter().filter(|(_, value)| !value.contains('\0')).cloned());
    let stdout = if job.captured { Stdio::piped() } else { Stdio::inherit() };
    command.stdin(input(job.input)?).stdout(stdout).stderr(Stdio::piped());
    // A group of its own, so that it can be killed with its children, and is spared the terminal's Ctrl-C.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = Group::of(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (printed, said) = tokio::join!(read_all(stdout), read_last(stderr));
    let printed = printed?;
    if printed.len() as u64 > REPLY_BYTES_MAX {
        return Ok(Outcome::Failed {
            how: format!("printed more than {REPLY_BYTES_MAX} bytes"),
            stderr: String::new(),
        });
    }
    let status = child.wait().await?;
    group.ended();
    if status.success() {
        return Ok(Outcome::Done(printed));
    }
    Ok(Outcome::Failed { how: how(status), stderr: String::from_utf8_lossy(&said?).into_owned() })
}

/// Kills the command and its children, unless it has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "a command had ended before it was killed");
        }
    }
}

/// What the command reads: a file without a name. Through a pipe it would get only a part, and take it for the whole,
/// when this process is killed while it runs.
fn input(body: &[u8]) -> io::Result<Stdio> {
    let mut file = tempfile::tempfile()?;
    file.write_all(body)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

async fn read_all(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(from) = from {
        // One byte more tells that there is too much.
        from.take(REPLY_BYTES_MAX + 1).read_to_end(&mut read).await?;
    }
    Ok(read)
}

/// Passes on to our own standard error what the command says, and keeps the end of it.
async fn read_last(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut last = Vec::new();
    let Some(mut from) = from else { return Ok(last) };
    let mut own = tokio::io::stderr();
    let mut chunk = [0; 4096];
    loop {
        let n = from.read(&mut chunk).await?;
        if n == 0 {
            return Ok(last);
        }
        own.write_all(&chunk[..n]).await?;
        last.extend_from_slice(&chunk[..n]);
        let excess = last.len().saturating_sub(STDERR_BYTES_MAX);
        last.drain(..excess);
    }
}

/// Headers as variables: `x-y` is `QUINTET_HEADER_X_Y`.
pub(crate) fn header_variables(headers: &Headers) -> impl Iterator<Item = (String, String)> + '_ {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    headers.iter().map(move |(name, value)| {
        (format!("QUINTET_HEADER_{}", name.chars().map(letter).collect::<String>()), value.clone())
    })
}

/// Finds out before the first run whether there is such a command at all.
pub(crate) fn check_command(command: &[OsString]) -> Result<(), Failure> {
    let Some(program) = command.first() else { return Err(Failure::usage("say what to run, after --")) };
    let found = if program.to_string_lossy().contains('/') {
        Path::new(program).is_file()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    };
    if found {
        return Ok(());
    }
    Err(Failure::usage(format!("there is no command {}", program.to_string_lossy())))
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with code {code}"),
        None => "was killed by a signal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn run(script: &str, input: &str) -> Outcome {
        let command = ["sh", "-c", script].map(OsString::from);
        let variables = [("x-a.b".to_owned(), "c".to_owned()), ("no".to_owned(), "\0".to_owned())];
        let variables = header_variables(&variables.into()).collect();
        run_job(&Job { command: &command, variables, input: input.as_bytes(), captured: true }).await.unwrap()
    }

    #[test]
    fn a_command_that_is_not_there_is_told_at_once() {
        assert!(check_command(&["sh".into()]).is_ok() && check_command(&["/bin/sh".into()]).is_ok());
        assert!(check_command(&["no-such-command".into()]).is_err() && check_command(&["/no/such".into()]).is_err());
    }

    #[tokio::test]
    async fn a_command_sees_input_and_headers() {
        let script = "cat; echo $QUINTET_HEADER_X_A_B ${QUINTET_HEADER_NO:-none}";
        assert_eq!(run(script, "in ").await, Outcome::Done(b"in c none\n".to_vec()));
    }

    #[tokio::test]
    async fn a_command_need_not_read_and_may_fail() {
        let large = "x".repeat(1 << 20);
        assert_eq!(run("exec true", &large).await, Outcome::Done(Vec::new()));
        let failed = Outcome::Failed { how: "ended with code 3".into(), stderr: "bad\n".into() };
        assert_eq!(run("echo bad >&2; exit 3", "").await, failed);
    }

    #[tokio::test]
    async fn dropping_it_kills_the_commands_children_too() {
        let dir = std::env::temp_dir().join(format!("quintet-child-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let pid_file = dir.join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pid_file.display());
        let running = tokio::spawn(async move { run(&script, "").await });
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let pid = loop {
            assert!(std::time::Instant::now() < deadline, "the command did not start");
            if let Ok(text) = std::fs::read_to_string(&pid_file) {
                break Pid::from_raw(text.trim().parse().unwrap()).unwrap();
            }
            tokio::task::yield_now().await;
        };
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
            assert!(std::time::Instant::now() < deadline, "the command's child is still alive");
            tokio::task::yield_now().await;
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
    }
}
