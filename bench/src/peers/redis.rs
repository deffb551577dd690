//! redis-server. In memory it is publish/subscribe, without persistence and without the limit that drops a slow
//! subscriber. On disk it is one stream, which `XADD` appends to, as durable as Redis gets: `appendonly yes` with
//! `appendfsync always`, which syncs once for all commands of a turn of its loop before it answers them. It writes no
//! snapshots and does not rewrite its log, both of which would cost it something while it is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Result, bail};
use memchr::memmem;

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::load::worker::{Heard, Speech};
use crate::options::{Store, Through, Via};
use crate::peers::{Peer, Worker};
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

    /// A consumer of a group of the stream; what it has read it acknowledges by one `XACK`.
    fn worker(&self, number: usize, in_flight: usize) -> Option<Worker> {
        let group = Step { say: command(&["XGROUP", "CREATE", "t", "g", "0"]), starts: b"+OK", ends: b"\r\n" };
        let steps: Vec<Step> = if number == 0 { vec![group] } else { Vec::new() };
        let consumer = format!("c{number}");
        let count = in_flight.to_string();
        let read =
            command(&["XREADGROUP", "GROUP", "g", &consumer, "COUNT", &count, "BLOCK", "0", "STREAMS", "t", ">"]);
        let worker = Scripted::worker(steps.into(), Box::new(GroupConsumer { read: read.clone() }));
        Some((Box::new(worker), read))
    }
}

/// Reads, acknowledges, and reads again.
#[derive(Debug)]
struct GroupConsumer {
    read: Vec<u8>,
}

impl Speech for GroupConsumer {
    fn hear(&mut self, seen: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Heard> {
        let mut heard = Heard::default();
        loop {
            let mut reply = Reply { bytes: seen, at: 0, ids: Vec::new(), number: 0 };
            if reply.value(0)?.is_none() {
                return Ok(heard);
            }
            let (used, number) = (reply.at, reply.number);
            let ids: Vec<String> = reply.ids;
            if ids.is_empty() {
                heard.confirmed += number;
            } else {
                heard.delivered += ids.len() as u64;
                let words: Vec<&str> = ["XACK", "t", "g"].into_iter().chain(ids.iter().map(String::as_str)).collect();
                out.extend_from_slice(&command(&words));
                out.extend_from_slice(&self.read);
            }
            seen.drain(..used);
        }
    }
}

/// One reply, as far as a consumer has to understand it: the ids of entries, or a number.
struct Reply<'a> {
    bytes: &'a [u8],
    at: usize,
    ids: Vec<String>,
    number: u64,
}

impl Reply<'_> {
    /// Passes over one value; none if it is not whole yet. An entry is a pair of its id and its fields, four deep.
    fn value(&mut self, depth: usize) -> Result<Option<()>> {
        let Some(end) = memmem::find(&self.bytes[self.at..], b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&self.bytes[self.at..self.at + end])?.to_owned();
        self.at += end + 2;
        let Some((kind, rest)) = line.split_at_checked(1) else { bail!("an empty reply") };
        match kind {
            "-" => bail!("a consumer got {line}"),
            ":" => self.number = rest.parse()?,
            "*" => {
                for _ in 0..rest.parse::<i64>()?.max(0) {
                    if self.value(depth + 1)?.is_none() {
                        return Ok(None);
                    }
                }
            }
            "$" if rest != "-1" => {
                let length: usize = rest.parse()?;
                let Some(text) = self.bytes.get(self.at..self.at + length + 2) else { return Ok(None) };
                self.at += length + 2;
                if depth == 4 {
                    self.ids.push(String::from_utf8_lossy(&text[..length]).into_owned());
                }
            }
            _ => {}
        }
        Ok(Some(()))
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let words_text: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words_text}", words.len()).into_bytes()
}
