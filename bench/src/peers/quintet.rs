//! Quintet itself, as `quintet serve` starts without configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result};
use serde_json::json;

use crate::load::client::Client;
use crate::load::http::{get, post};
use crate::load::long_poller::LongPoller;
use crate::load::requester::Requester;
use crate::load::responder::Responder;
use crate::load::scripted::{Scripted, Step};
use crate::load::websocket::{text, upgrade};
use crate::options::{Store, Through, Via};
use crate::peers::Peer;
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
}

impl Peer for Quintet {
    fn name(&self) -> String {
        match self.store {
            Store::Memory => "quintet".to_owned(),
            Store::Disk => "quintet (disk)".to_owned(),
        }
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", &address.to_string()]);
        match self.store {
            Store::Memory => command.arg("--memory"),
            Store::Disk => command.arg("--data-dir").arg(room.join("data")),
        };
        Server::start(&mut command, address, crate::peers::log(room)?)
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

    fn call(&self, payload: &str) -> Option<Vec<u8>> {
        Some(post("/services/echo/call", payload))
    }

    fn responder(&self, concurrency: usize) -> Option<Box<dyn Client>> {
        Some(Box::new(Responder::new("echo", concurrency)))
    }
}
