//! nats-server over its own protocol on TCP, which is cheaper than its WebSocket. In memory it is core NATS, without a
//! stream. On disk it is JetStream: one stream of one replica in file storage, otherwise as it comes, with
//! `sync_interval: always`, without which JetStream acknowledges what it syncs only two minutes later. Every publisher is
//! independent and waits for its own acknowledgement, so the atomic batches of one publisher (2.12) do not apply.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;
use serde_json::json;

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::options::{Store, Through, Via};
use crate::peers::{DurablePublisher, Peer};
use crate::process::Server;

const CONNECT: &str = r#"CONNECT {"verbose":false,"pedantic":false,"echo":true}"#;

#[derive(Debug)]
pub(crate) struct Nats {
    pub(crate) program: PathBuf,
    pub(crate) store: Store,
}

impl Peer for Nats {
    fn name(&self) -> String {
        match self.store {
            Store::Memory => "nats-server".to_owned(),
            Store::Disk => "JetStream, sync always".to_owned(),
        }
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string()]);
        if self.store == Store::Disk {
            let folder = std::path::absolute(room.join("jetstream"))?;
            let configuration = room.join("nats.conf");
            std::fs::write(&configuration, format!("jetstream {{ store_dir: {folder:?}, sync_interval: always }}\n"))?;
            command.arg("--config").arg(configuration);
        }
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        let subscribe = connect(&format!("SUB {topic} 1\r\n"));
        (via == Via::Ws).then(|| Box::new(Scripted::follower(Rc::new([subscribe]))) as Box<dyn Client>)
    }

    /// A publish without a stream is not acknowledged.
    fn publisher(&self, _through: Through, _again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        Some(Box::new(Scripted::publisher(Rc::new([connect("")]), b"", None)))
    }

    fn publication(&self, _through: Through, topic: &str, payload: &str) -> Vec<u8> {
        format!("PUB {topic} {}\r\n{payload}\r\n", payload.len()).into_bytes()
    }

    /// Each connection has an inbox of its own, and the first creates the stream.
    fn durable_publisher(&self, _through: Through, number: usize, payload: &str) -> Option<DurablePublisher> {
        let inbox = format!("_INBOX.{number}");
        let mut steps = vec![connect(&format!("SUB {inbox} 1\r\n"))];
        if number == 0 {
            let stream = json!({"name": "T", "subjects": ["t"], "storage": "file", "retention": "limits",
                "discard": "old", "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "max_age": 0});
            let say = request("$JS.API.STREAM.CREATE.T", &inbox, &stream.to_string());
            steps.push(Step { say, starts: b"MSG", ends: br#""did_create":true"# });
        }
        let publication: Rc<[u8]> = request("t", &inbox, payload).into();
        let publisher = Scripted::publisher(steps.into(), br#""seq":"#, Some(Rc::clone(&publication)));
        Some((Box::new(publisher), publication))
    }
}

/// The greeting, with `more` lines, until the server has taken it all.
fn connect(more: &str) -> Step {
    let say = format!("{CONNECT}\r\n{more}PING\r\n").into_bytes();
    Step { say, starts: b"INFO", ends: b"PONG\r\n" }
}

/// A message that wants an answer in `inbox`.
fn request(subject: &str, inbox: &str, payload: &str) -> Vec<u8> {
    format!("PUB {subject} {inbox} {}\r\n{payload}\r\n", payload.len()).into_bytes()
}
