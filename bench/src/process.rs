//! A server process under measurement: started, its cost read from `/proc`, killed when dropped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long a server may take until it accepts connections.
const START: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
}

/// CPU time a server has used, its children's included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

impl Cpu {
    /// What this process itself has used since its start.
    pub(crate) fn own() -> Result<Cpu> {
        Cpu::of("self")
    }

    /// What one process has used since its start.
    fn of(pid: &str) -> Result<Cpu> {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let mut fields = after_name(&stat).split_ascii_whitespace().skip(11);
        let mut next = || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / ticks;
        Ok(Cpu { user_s: next(), system_s: next() })
    }

    pub(crate) fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    pub(crate) fn since(self, earlier: Cpu) -> Cpu {
        Cpu { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

impl Server {
    /// Starts `command` and waits until something listens on `address`. Its output goes to `log`.
    pub(crate) fn start(command: &mut Command, address: SocketAddr, log: fs::File) -> Result<Server> {
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut server = Server { address, child };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{:?} ended with {status} before it listened", command.get_program());
            }
            if Instant::now() > deadline {
                bail!("{:?} does not listen on {address}", command.get_program());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// CPU used since the start.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        for pid in self.tree() {
            let of_one = Cpu::of(&pid.to_string())?;
            cpu.user_s += of_one.user_s;
            cpu.system_s += of_one.system_s;
        }
        Ok(cpu)
    }

    /// Memory that would be free if the server were gone, in bytes: its proportional set size.
    pub(crate) fn memory_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for pid in self.tree() {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
            let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
            bytes += kib * 1024;
        }
        Ok(bytes)
    }

    /// The server and all processes under it.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = tree.get(next).copied() {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                tree.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
            next += 1;
        }
        tree
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process group of its own would be neater; a master that is asked to end takes its workers along.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ignored = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ignored = self.child.kill();
        let _ignored = self.child.wait();
    }
}

/// What follows the process's name, which may hold blanks and brackets, in a `stat` line.
fn after_name(stat: &str) -> &str {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest)
}

/// An address on which nothing listens.
pub(crate) fn spare_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Raises the number of files that this process and its children may open to what the system allows.
pub(crate) fn raise_open_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::process::after_name;

    #[test]
    fn a_name_with_brackets_hides_no_field() {
        assert_eq!(after_name("12 (a) b) S 1 2"), " S 1 2");
    }
}
