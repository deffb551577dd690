//! The floor (`servers::floor`) in a process of its own. It knows one door and stands in for all.

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

    fn follower(&self, _via: Via, _topic: &str) -> Option<Box<dyn Client>> {
        let subscribe = Step { say: b"S".to_vec(), starts: b"+", ends: b"+" };
        Some(Box::new(Scripted::follower(Rc::new([subscribe]))))
    }

    fn publisher(&self, _through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        let publish = Step { say: b"P".to_vec(), starts: b"+", ends: b"+" };
        Some(Box::new(Scripted::publisher(Rc::new([publish]), b".", again)))
    }

    fn publication(&self, _through: Through, _topic: &str, payload: &str) -> Vec<u8> {
        let mut message = (payload.len() as u32).to_be_bytes().to_vec();
        message.extend_from_slice(payload.as_bytes());
        message
    }
}
