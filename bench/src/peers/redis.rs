//! redis-server. In memory it is publish/subscribe, without persistence and without the limit that drops a slow
//! subscriber. On disk it is one stream, which `XADD` appends to, as durable as Redis gets: `appendonly yes` with
//! `appendfsync always`, which syncs once for all commands of a turn of its loop before it answers them. It writes no
//! snapshots and does not rewrite its log, both of which would cost it something while it is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::options::{Store, Through, Via};
use crate::peers::Peer;
use crate::process::Server;

#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) store: Store,
}

impl Peer for Redis {
    fn name(&self) -> String {
        match self.store {
            Store::Memory => "redis".to_owned(),
            Store::Disk => "redis stream, fsync always".to_owned(),
        }
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        match self.store {
            Store::Memory => command.args(["--appendonly", "no"]),
            Store::Disk => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
        };
        command.args(["--auto-aof-rewrite-percentage", "0", "--maxclients", "19000"]);
        command.args(["--client-output-buffer-limit", "pubsub 0 0 0", "--dir"]).arg(room);
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        let subscribe = Step { say: command(&["SUBSCRIBE", topic]), starts: b"*3\r\n", ends: b":1\r\n" };
        let is_pushed = via == Via::Ws && self.store == Store::Memory;
        is_pushed.then(|| Box::new(Scripted::follower(Rc::new([subscribe]))) as Box<dyn Client>)
    }

    /// `PUBLISH` is answered with a number, `XADD` with the text of an identifier.
    fn publisher(&self, _through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        let answer: &[u8] = match self.store {
            Store::Memory => b":",
            Store::Disk => b"$",
        };
        Some(Box::new(Scripted::publisher(Rc::new([]), answer, again)))
    }

    fn publication(&self, _through: Through, topic: &str, payload: &str) -> Vec<u8> {
        match self.store {
            Store::Memory => command(&["PUBLISH", topic, payload]),
            Store::Disk => command(&["XADD", topic, "*", "d", payload]),
        }
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let words_text: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words_text}", words.len()).into_bytes()
}
