//! The axum echo with one more hop (`servers::echo_hop`): what a caller pays where somebody wrote request-response through
//! a responder that dials in by hand, for this and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::load::worker::{Heard, Speech};
use crate::options::{Through, Via};
use crate::peers::{Caller, Peer};
use crate::process::Server;

#[derive(Debug)]
pub(crate) struct EchoHop;

impl Peer for EchoHop {
    fn name(&self) -> String {
        "axum echo + one hop".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo-hop", "--listen", &address.to_string()]);
        command.args(["--responders", &self.responders_address(address).to_string()]);
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn follower(&self, _via: Via, _topic: &str) -> Option<Box<dyn Client>> {
        None
    }

    fn publisher(&self, _through: Through, _again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        None
    }

    fn publication(&self, _through: Through, _topic: &str, payload: &str) -> Vec<u8> {
        payload.as_bytes().to_vec()
    }

    fn caller(&self, _number: usize, payload: &str) -> Option<Caller> {
        Some(crate::peers::http_caller("/call", payload))
    }

    fn responder(&self, _concurrency: usize) -> Option<Box<dyn Client>> {
        let greeted = Step { say: Vec::new(), starts: b"+", ends: b"+" };
        Some(Box::new(Scripted::worker(Rc::new([greeted]), Box::new(Mirror))))
    }

    /// The same port on the next address of the loopback network.
    fn responders_address(&self, address: SocketAddr) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), address.port()))
    }
}

/// An answer is framed as its request was and has the same identifier, so an echo can send back what it got.
#[derive(Debug)]
struct Mirror;

impl Speech for Mirror {
    fn hear(&mut self, seen: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Heard> {
        out.append(seen);
        Ok(Heard::default())
    }
}
