//! The plain axum echo (`servers::echo`): what a caller pays who has no hub in between.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::options::{Through, Via};
use crate::peers::{Caller, Peer};
use crate::process::Server;

#[derive(Debug)]
pub(crate) struct Echo;

impl Peer for Echo {
    fn name(&self) -> String {
        "axum echo".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo", "--listen", &address.to_string()]);
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
}
