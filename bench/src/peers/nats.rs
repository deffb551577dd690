//! nats-server (core NATS: no stream), over its own protocol on TCP, which is cheaper than its WebSocket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::options::{Through, Via};
use crate::peers::Peer;
use crate::process::Server;

const CONNECT: &str = r#"CONNECT {"verbose":false,"pedantic":false,"echo":true}"#;

#[derive(Debug)]
pub(crate) struct Nats {
    pub(crate) program: PathBuf,
}

impl Peer for Nats {
    fn name(&self) -> String {
        "nats-server".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string()]);
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        let say = format!("{CONNECT}\r\nSUB {topic} 1\r\nPING\r\n").into_bytes();
        let subscribe = Step { say, starts: b"INFO", ends: b"PONG\r\n" };
        (via == Via::Ws).then(|| Box::new(Scripted::follower(Rc::new([subscribe]))) as Box<dyn Client>)
    }

    /// A publish without a stream is not acknowledged.
    fn publisher(&self, _through: Through, _again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        let say = format!("{CONNECT}\r\nPING\r\n").into_bytes();
        let connect = Step { say, starts: b"INFO", ends: b"PONG\r\n" };
        Some(Box::new(Scripted::publisher(Rc::new([connect]), b"", None)))
    }

    fn publication(&self, _through: Through, topic: &str, payload: &str) -> Vec<u8> {
        format!("PUB {topic} {}\r\n{payload}\r\n", payload.len()).into_bytes()
    }
}
