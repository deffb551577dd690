//! mosquitto, over MQTT 3.1.1 at quality of service 0, with TCP_NODELAY and queues that hold a burst.

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

const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

#[derive(Debug)]
pub(crate) struct Mosquitto;

impl Peer for Mosquitto {
    fn name(&self) -> String {
        "mosquitto".to_owned()
    }

    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server> {
        let file = room.join("mosquitto.conf");
        let port = address.port();
        let configuration = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\nuser root\n"
        );
        std::fs::write(&file, configuration)?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(file);
        Server::start(&mut command, address, crate::peers::log(room)?)
    }

    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>> {
        let mut subscribe = vec![0x82, (topic.len() + 5) as u8, 0, 1];
        subscribe.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        subscribe.extend_from_slice(topic.as_bytes());
        subscribe.push(0);
        let steps = [connect(), Step { say: subscribe, starts: b"\x90\x03", ends: b"\x90\x03\x00\x01\x00" }];
        (via == Via::Ws).then(|| Box::new(Scripted::follower(Rc::new(steps))) as Box<dyn Client>)
    }

    /// A publish at quality of service 0 is not acknowledged.
    fn publisher(&self, _through: Through, _again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>> {
        Some(Box::new(Scripted::publisher(Rc::new([connect()]), b"", None)))
    }

    fn publication(&self, _through: Through, topic: &str, payload: &str) -> Vec<u8> {
        let mut packet = vec![0x30];
        let mut length = 2 + topic.len() + payload.len();
        while length >= 128 {
            packet.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        packet.push(length as u8);
        packet.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(payload.as_bytes());
        packet
    }
}

fn connect() -> Step {
    Step { say: CONNECT.to_vec(), starts: b"\x20\x02", ends: b"\x20\x02\x00\x00" }
}
