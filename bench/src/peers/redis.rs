//! redis-server's publish/subscribe, without persistence and without the limit that drops a slow subscriber.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::options::{Through, Via};
use crate::peers::Peer;
use crate::process::Server;

#[derive(Debug)]
pub(crate) struct Redis;

impl Peer for Redis {
    fn name(&self) -> String {
        "redis".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.args(["--appendonly", "no", "--maxclients", "19000"]);
        command.args(["--client-output-buffer-limit", "pubsub 0 0 0", "--dir"]).arg(room);
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        let subscribe = Step { say: command(&["SUBSCRIBE", topic]), starts: b"*3\r\n", ends: b":1\r\n" };
        (via == Via::Ws).then(|| Box::new(Scripted::follower(Rc::new([subscribe]))) as Box<dyn Client>)
    }

    fn publisher(&self, _through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        Some(Box::new(Scripted::publisher(Rc::new([]), b":", again)))
    }

    fn publication(&self, _through: Through, topic: &str, payload: &str) -> Vec<u8> {
        command(&["PUBLISH", topic, payload])
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let words_text: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words_text}", words.len()).into_bytes()
}
