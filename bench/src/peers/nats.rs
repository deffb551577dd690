//! nats-server over its own protocol on TCP, which is cheaper than its WebSocket. In memory it is core NATS, without a
//! stream. On disk it is JetStream: one stream of one replica in file storage, otherwise as it comes, with
//! `sync_interval: always`, without which JetStream acknowledges what it syncs only two minutes later. Every publisher is
//! independent and waits for its own acknowledgement, so the atomic batches of one publisher (2.12) do not apply.
//! Request-reply is its own too: a caller's connection has one inbox, as client libraries do it, and the responder is one
//! connection in a queue group.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;
use memchr::memmem;
use serde_json::json;

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::load::worker::{Heard, Speech};
use crate::options::{Store, Through, Via};
use crate::peers::{Caller, DurablePublisher, Peer, Worker};
use crate::process::Server;

const CONNECT: &str = r#"CONNECT {"verbose":false,"pedantic":false,"echo":true,"headers":true,"no_responders":true}"#;

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

    /// A durable pull consumer with explicit acknowledgements. These are not confirmed, as is usual: a confirmed one would
    /// be a request each.
    fn worker(&self, number: usize, in_flight: usize) -> Option<Worker> {
        let inbox = format!("_INBOX.w{number}");
        let mut steps = vec![connect(&format!("SUB {inbox} 1\r\n"))];
        if number == 0 {
            let consumer = json!({"stream_name": "T", "config": {"durable_name": "g", "ack_policy": "explicit",
                "deliver_policy": "all", "max_ack_pending": 65_536}});
            let say = request("$JS.API.CONSUMER.DURABLE.CREATE.T.g", &inbox, &consumer.to_string());
            steps.push(Step { say, starts: b"MSG", ends: br#""num_waiting":0"# });
        }
        let member = PullMember { inbox, in_flight, n_taken: 0 };
        let begin = member.pull(in_flight);
        Some((Box::new(Scripted::worker(steps.into(), Box::new(member))), begin))
    }

    fn confirms(&self) -> bool {
        false
    }

    /// An answer is whole when the payload's last byte and the line's end are there.
    fn caller(&self, number: usize, payload: &str) -> Option<Caller> {
        let inbox = format!("_INBOX.{number}");
        let call: Rc<[u8]> = request("echo", &inbox, payload).into();
        let steps = Rc::new([connect(&format!("SUB {inbox} 1\r\n"))]);
        Some((Box::new(Scripted::publisher(steps, b"^\r\n", Some(Rc::clone(&call)))), call))
    }

    fn responder(&self, _concurrency: usize) -> Option<Box<dyn Client>> {
        Some(Box::new(Scripted::worker(Rc::new([connect("SUB echo responders 1\r\n")]), Box::new(Replier))))
    }
}

/// Answers each request with its own payload.
#[derive(Debug)]
struct Replier;

impl Speech for Replier {
    fn hear(&mut self, seen: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Heard> {
        let mut used = 0;
        while let Some(message) = Message::first(&seen[used..])? {
            if let Some(inbox) = message.reply {
                out.extend_from_slice(format!("PUB {inbox} {}\r\n", message.payload.len()).as_bytes());
                out.extend_from_slice(message.payload);
                out.extend_from_slice(b"\r\n");
            }
            used += message.length;
        }
        seen.drain(..used);
        Ok(Heard::default())
    }
}

/// A worker that pulls: as many as it may hold, and half of that again whenever it has acknowledged as many.
#[derive(Debug)]
struct PullMember {
    inbox: String,
    in_flight: usize,
    /// Since the last pull.
    n_taken: usize,
}

impl PullMember {
    fn pull(&self, batch: usize) -> Vec<u8> {
        let wanted = json!({"batch": batch, "expires": 30_000_000_000_u64}).to_string();
        request("$JS.API.CONSUMER.MSG.NEXT.T.g", &self.inbox, &wanted)
    }
}

impl Speech for PullMember {
    fn hear(&mut self, seen: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Heard> {
        let mut heard = Heard::default();
        let mut used = 0;
        while let Some(message) = Message::first(&seen[used..])? {
            used += message.length;
            let Some(reply) = message.reply.filter(|reply| reply.starts_with("$JS.ACK")) else { continue };
            heard.delivered += 1;
            out.extend_from_slice(format!("PUB {reply} 4\r\n+ACK\r\n").as_bytes());
            self.n_taken += 1;
            let half = self.in_flight.div_ceil(2);
            if self.n_taken == half {
                self.n_taken = 0;
                out.extend_from_slice(&self.pull(half));
            }
        }
        seen.drain(..used);
        Ok(heard)
    }
}

/// What a server says: a message, or a line without payload.
struct Message<'a> {
    /// Where it is to be answered.
    reply: Option<&'a str>,
    payload: &'a [u8],
    /// All its bytes.
    length: usize,
}

impl Message<'_> {
    /// The first one, if it is whole.
    fn first(seen: &[u8]) -> Result<Option<Message<'_>>> {
        let Some(end) = memmem::find(seen, b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&seen[..end])?;
        let words: Vec<&str> = line.split(' ').collect();
        if !matches!(words.first(), Some(&"MSG" | &"HMSG")) {
            anyhow::ensure!(!line.starts_with("-ERR"), "a worker got {line}");
            return Ok(Some(Message { reply: None, payload: &[], length: end + 2 }));
        }
        let length: usize = words.last().map_or(Ok(0), |length| length.parse())?;
        let Some(payload) = seen.get(end + 2..end + 2 + length + 2) else { return Ok(None) };
        let reply = if words.len() > 4 { Some(words[3]) } else { None };
        Ok(Some(Message { reply, payload: &payload[..length], length: end + 2 + length + 2 }))
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
