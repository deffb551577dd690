//! The floor (`servers::floor`) in a process of its own. It knows one door for what is pushed, which stands in for all, and
//! one for long polls, whose requests are as long as Quintet's.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::http::get;
use crate::load::long_poller::LongPoller;
use crate::load::scripted::{Scripted, Step};
use crate::options::{Through, Via};
use crate::peers::{Peer, Security};
use crate::process::Server;

#[derive(Debug)]
pub(crate) struct Floor;

impl Peer for Floor {
    fn name(&self) -> String {
        "floor".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", "--listen", &address.to_string()]);
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn security(&self) -> Security {
        Security::Without
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        if via == Via::LongPoll {
            let request =
                get(&format!("/topics/{topic}?offset=00000000_0000000000000000&live=long-poll&timeout=60"), "");
            let again = request.clone();
            return Some(Box::new(LongPoller::new(request, false, Rc::new(move |_| again.clone()))));
        }
        let subscribe = Step { say: format!("S{topic}\n").into_bytes(), starts: b"+", ends: b"+" };
        Some(Box::new(Scripted::follower(Rc::new([subscribe]))))
    }

    fn publisher(&self, _through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        let publish = Step { say: b"P".to_vec(), starts: b"+", ends: b"+" };
        Some(Box::new(Scripted::publisher(Rc::new([publish]), b".", again)))
    }

    fn publication(&self, _through: Through, topic: &str, payload: &str) -> Vec<u8> {
        let message = format!("{topic}\n{payload}");
        [&(message.len() as u32).to_be_bytes(), message.as_bytes()].concat()
    }
}
