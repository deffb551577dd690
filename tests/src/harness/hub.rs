//! A hub as a process of its own: started, awaited, killed, started again on the same port and data.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::deadline::{SOON, until};
use crate::harness::http::Http;

/// How a hub is started.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Keep nothing on disk.
    pub memory: bool,
    /// The text of a configuration file.
    pub config: Option<String>,
    /// More arguments of `serve`.
    pub arguments: Vec<String>,
}

/// A running hub. It dies with this value; if the test panics, its log is shown.
#[derive(Debug)]
pub struct Hub {
    pub port: u16,
    pub dir: TempDir,
    options: Options,
    child: Option<Child>,
    http: Http,
}

impl Hub {
    /// A hub with its defaults, which is to say on disk.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A hub that keeps its messages in memory.
    pub async fn start_in_memory() -> Self {
        Self::start_with(Options { memory: true, ..Options::default() }).await
    }

    pub async fn start_with(options: Options) -> Self {
        // Between the choice of a free port and the hub's bind somebody else may take it: then with another.
        for _ in 0..5 {
            let dir = TempDir::new().unwrap();
            let port = free_port();
            let http = Http::new(port);
            let mut hub = Self { port, dir, options: options.clone(), child: None, http };
            hub.spawn();
            if hub.is_ready().await {
                return hub;
            }
            assert!(hub.log().contains("is taken"), "the hub did not start:\n{}", hub.log());
        }
        panic!("five free ports were all taken before the hub could bind them");
    }

    pub fn http(&self) -> &Http {
        &self.http
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What the hub printed, on either stream.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("hub.log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the hub runs").id()
    }

    /// SIGKILL: no clean-up whatsoever.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a killed hub again, on the same port and the same data, and waits until it answers.
    pub async fn start_again(&mut self) {
        self.spawn();
        assert!(self.is_ready().await, "the hub did not start again:\n{}", self.log());
    }

    /// SIGTERM, without waiting for the end.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// How the process ended.
    pub async fn exit(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the hub runs");
        let status = until(SOON, "the hub's exit", || child.try_wait().unwrap()).await;
        self.child = None;
        status
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "the hub runs already");
        let log = File::options().create(true).append(true).open(self.dir.path().join("hub.log")).unwrap();
        let mut command = Command::new(binary());
        command.arg("serve").arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        if self.options.memory {
            command.arg("--memory");
        } else {
            command.arg("--data-dir").arg(self.dir.path().join("data"));
        }
        if let Some(config) = &self.options.config {
            let path = self.dir.path().join("quintet.toml");
            std::fs::write(&path, config).unwrap();
            command.arg("--config").arg(path);
        }
        clean(&mut command).args(&self.options.arguments).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until the hub answers; false if it ended instead.
    async fn is_ready(&mut self) -> bool {
        let Self { port, child, .. } = self;
        let child = child.as_mut().expect("the hub was started");
        until(SOON, "the hub to listen", || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            is_served(*port).then_some(true)
        })
        .await
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _status = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(8_000);
            eprintln!("--- the hub's log ---\n{}\n---", String::from_utf8_lossy(&log.as_bytes()[from..]));
        }
    }
}

/// Whether somebody serves here. The system takes connections as soon as the port is bound, which is before the hub has
/// opened its data; whatever becomes of a request shows that it has.
fn is_served(port: u16) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let asked = stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .and_then(|()| stream.write_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
    asked.is_ok() && !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Takes the settings of the test run, and of whoever runs it, out of a command's environment.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUINTET_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG")
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().unwrap();
    assert!(status.success(), "SIG{name} could not be sent to {pid}");
}

/// The binary under test: `QUINTET_BIN`, or the one of the profile that these tests were built in, which cargo brings
/// up to date first.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("QUINTET_BIN") {
        Some(path) => std::fs::canonicalize(path).expect("QUINTET_BIN names the quintet binary"),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "quintet"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    assert!(command.status().unwrap().success(), "the quintet binary does not build");
    // This test is target/<profile>/deps/e2e-…; the binary is two folders above it.
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("quintet")
}

/// A port that nobody listens on, below those that the system gives to outgoing connections: a hub that is down for a
/// moment finds it free when it comes back.
pub fn free_port() -> u16 {
    let mut chance = u64::from(std::process::id()) ^ u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    loop {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let port = 10_000 + ((chance >> 33) % 22_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
