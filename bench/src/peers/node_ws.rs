//! Node with the `ws` package, as a typical service uses it: `node_ws.js` beside this file, without compression.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::http::post;
use crate::load::requester::Requester;
use crate::load::scripted::Scripted;
use crate::load::websocket::upgrade;
use crate::options::{Through, Via};
use crate::peers::Peer;
use crate::process::Server;

#[derive(Debug)]
pub(crate) struct NodeWs {
    pub(crate) folder: PathBuf,
}

impl Peer for NodeWs {
    fn name(&self) -> String {
        "node ws".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let script = room.join("server.js");
        std::fs::write(&script, include_str!("node_ws.js"))?;
        let mut command = Command::new("node");
        command.arg(script).arg(address.port().to_string());
        command.env("NODE_PATH", self.folder.join("node_modules"));
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn follower(&self, via: Via, _topic: &str) -> Option<Box<dyn Client>> {
        let steps = Rc::new([upgrade("/", "")]);
        (via == Via::Ws).then(|| Box::new(Scripted::follower(steps)) as Box<dyn Client>)
    }

    fn publisher(&self, _through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        Some(Box::new(Requester::new(again)))
    }

    fn publication(&self, _through: Through, _topic: &str, payload: &str) -> Vec<u8> {
        post("/", payload)
    }
}
