//! Quintet itself, as `quintet serve` starts without configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use serde_json::json;

use crate::load::client::{Client, excerpt};
use crate::load::http::{get, post};
use crate::load::long_poller::LongPoller;
use crate::load::requester::Requester;
use crate::load::responder::Responder;
use crate::load::scripted::{Scripted, Step};
use crate::load::tls::Identity;
use crate::load::websocket::{frames, text, upgrade};
use crate::load::worker::{Heard, Speech};
use crate::options::{Store, Through, Via};
use crate::peers::{Caller, Peer, Security, Worker};
use crate::process::Server;

#[derive(Debug)]
pub(crate) struct Quintet {
    program: PathBuf,
    store: Store,
}

impl Quintet {
    /// `program`, or else the binary beside this one.
    pub(crate) fn new(program: Option<&Path>, store: Store) -> Result<Quintet> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe()?.parent().context("no folder")?.join("quintet"),
        };
        anyhow::ensure!(program.is_file(), "{} is not there: build it or name it by --quintet", program.display());
        Ok(Quintet { program, store })
    }

    fn command(&self, room: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", &address.to_string()]);
        match self.store {
            Store::Memory => command.arg("--memory"),
            Store::Disk => command.arg("--data-dir").arg(room.join("data")),
        };
        command
    }
}

impl Peer for Quintet {
    fn name(&self) -> String {
        match self.store {
            Store::Memory => "quintet".to_owned(),
            Store::Disk => "quintet (disk)".to_owned(),
        }
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        Server::start(&mut self.command(room, address), address, crate::peers::log(room)?)
    }

    fn security(&self) -> Security {
        Security::Spoken
    }

    fn start_tls(&self, room: &Path, address: SocketAddr, identity: &Identity) -> Result<Server> {
        let (chain, key) = identity.write(room)?;
        let mut command = self.command(room, address);
        command.arg("--tls-cert").arg(chain).arg("--tls-key").arg(key);
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn trifle(&self) -> Option<Vec<u8>> {
        Some(get("/health", ""))
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        let steps: Rc<[Step]> = match via {
            Via::Ws => Rc::new([upgrade(&format!("/topics/{topic}"), "")]),
            Via::Session => {
                let subscribe = json!({"id": 1, "subscribe": {"topic": topic}}).to_string();
                let subscribe = Step { say: text(&subscribe), starts: b"", ends: br#""subscription""# };
                Rc::new([upgrade("/ws", "quintet.v1"), subscribe])
            }
            Via::Sse => {
                let say = get(&format!("/topics/{topic}?offset=now"), "Accept: text/event-stream\r\n");
                Rc::new([Step { say, starts: b"HTTP/1.1 200", ends: b"\r\n\r\n" }])
            }
            Via::DurableSse => {
                let say = get(&format!("/topics/{topic}?offset=now&live=sse"), "");
                Rc::new([Step { say, starts: b"HTTP/1.1 200", ends: b"\r\n\r\n" }])
            }
            Via::LongPoll => {
                let first = get(&format!("/topics/{topic}?offset=now"), "");
                let topic = topic.to_owned();
                let next = move |response: &crate::load::http::Response<'_>| {
                    let offset = response.header("stream-next-offset");
                    get(&format!("/topics/{topic}?offset={offset}&live=long-poll&timeout=60"), "")
                };
                return Some(Box::new(LongPoller::new(first, true, Rc::new(next))));
            }
        };
        Some(Box::new(Scripted::follower(steps)))
    }

    fn publisher(&self, through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        Some(match through {
            Through::Http => Box::new(Requester::new(again)),
            Through::Ws => {
                let steps = Rc::new([upgrade("/ws", "quintet.v1")]);
                Box::new(Scripted::publisher(steps, br#""ok":"#, again))
            }
        })
    }

    fn publication(&self, through: Through, topic: &str, payload: &str) -> Vec<u8> {
        match through {
            Through::Http => post(&format!("/topics/{topic}"), payload),
            Through::Ws => {
                let publish = json!({"id": 1, "publish": {"topic": topic, "type": "text/plain", "data": payload}});
                text(&publish.to_string())
            }
        }
    }

    fn worker(&self, number: usize, in_flight: usize) -> Option<Worker> {
        let mut steps = vec![upgrade("/ws", "quintet.v1")];
        if number == 0 {
            let body = r#"{"filter":"t"}"#;
            let put = format!(
                "PUT /groups/g HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            steps.insert(0, Step { say: put.into_bytes(), starts: b"HTTP/1.1 201", ends: br#""members":[]}"# });
        }
        let consume = json!({"id": 1, "consume": {"group": "g", "credit": in_flight}});
        let worker = Scripted::worker(steps.into(), Box::new(Member::default()));
        Some((Box::new(worker), text(&consume.to_string())))
    }

    fn caller(&self, _number: usize, payload: &str) -> Option<Caller> {
        Some(crate::peers::http_caller("/services/echo/call", payload))
    }

    fn responder(&self, concurrency: usize) -> Option<Box<dyn Client>> {
        Some(Box::new(Responder::new("echo", concurrency)))
    }
}

/// A member of a group in a session. It acknowledges what one frame brings by one command, which is answered when that is
/// on disk.
#[derive(Debug, Default)]
struct Member {
    consumer: Option<String>,
}

impl Speech for Member {
    fn hear(&mut self, seen: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Heard> {
        const DELIVERY: &[u8] = br#""delivery":{"id":""#;
        let mut heard = Heard::default();
        let (whole, used) = frames(seen);
        for frame in whole {
            if memmem::find(frame, br#""error":"#).is_some() {
                bail!("a member got {}", excerpt(frame));
            }
            heard.confirmed += memmem::find_iter(frame, br#""result":"done""#).count() as u64;
            if self.consumer.is_none() {
                let answer: Option<serde_json::Value> = serde_json::from_slice(frame).ok();
                self.consumer = answer.and_then(|answer| Some(answer.pointer("/ok/consumer")?.to_string()));
            }
            let after = |at: usize| &frame[at + DELIVERY.len()..];
            let id = |at: usize| std::str::from_utf8(after(at).split(|byte| *byte == b'"').next().unwrap_or_default());
            let ids = memmem::find_iter(frame, DELIVERY).map(id).collect::<Result<Vec<&str>, _>>()?;
            if let (Some(consumer), false) = (&self.consumer, ids.is_empty()) {
                heard.delivered += ids.len() as u64;
                let ids = ids.join("\",\"");
                let acknowledge = format!(r#"{{"id":2,"ack":{{"consumer":{consumer},"deliveries":["{ids}"]}}}}"#);
                out.extend_from_slice(&text(&acknowledge));
            }
        }
        seen.drain(..used);
        Ok(heard)
    }
}
