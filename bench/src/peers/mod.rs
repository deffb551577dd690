//! The servers under measurement: one file each, with its configuration, which is meant to be fair and is written down
//! there, and the bytes that its clients speak.

mod echo;
mod echo_hop;
mod floor;
mod mosquitto;
mod nats;
mod nchan;
mod node_ws;
mod quintet;
mod redis;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use crate::load::client::Client;
use crate::load::http::post;
use crate::load::requester::Requester;
use crate::load::tls::Identity;
use crate::options::{PeerName, Servers, Store, Through, Via};
use crate::process::Server;

/// A connection that publishes, and what it publishes.
pub(crate) type DurablePublisher = (Box<dyn Client>, Rc<[u8]>);

/// A connection that calls, and its call.
pub(crate) type Caller = (Box<dyn Client>, Rc<[u8]>);

/// A connection that works for a group, and what it says to begin.
pub(crate) type Worker = (Box<dyn Client>, Vec<u8>);

/// What a peer has for connections that are to be TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// It speaks it.
    Spoken,
    /// Nothing, and goes without it, as what the others are compared with.
    Without,
    /// Nothing that is measured here.
    Missing,
}

/// A server and how one talks to it.
pub(crate) trait Peer {
    /// What the table calls it.
    fn name(&self) -> String;
    /// Starts it on `address`, with everything it writes in `room`.
    fn start(&self, room: &Path, address: SocketAddr) -> Result<Server>;
    /// Whether it can be started by `start_tls`.
    fn security(&self) -> Security {
        Security::Missing
    }
    /// The same as `start`, with every connection over TLS.
    fn start_tls(&self, _room: &Path, _address: SocketAddr, _identity: &Identity) -> Result<Server> {
        anyhow::bail!("{} is not measured over TLS", self.name())
    }
    /// A request that is answered at once, with hardly anything; none if the peer is not asked over HTTP.
    fn trifle(&self) -> Option<Vec<u8>> {
        None
    }
    /// A subscriber; none if the peer has no such door. A peer with one door of its own uses that for `Via::Ws`.
    fn follower(&self, via: Via, topic: &str) -> Option<Box<dyn Client>>;
    /// A publisher, whose publications come from `publication`; it sends `again` after each acknowledgement.
    fn publisher(&self, through: Through, again: Option<Rc<[u8]>>) -> Option<Box<dyn Client>>;
    /// One message as the publisher sends it.
    fn publication(&self, through: Through, topic: &str, payload: &str) -> Vec<u8>;
    /// The `number`th publisher of a run, and the publication that it sends again after each acknowledgement, for peers
    /// that keep what is published; several publishers of a run may share a connection, and then are its `0`th.
    fn durable_publisher(&self, through: Through, _number: usize, payload: &str) -> Option<DurablePublisher> {
        let publication: Rc<[u8]> = self.publication(through, "t", payload).into();
        Some((self.publisher(through, Some(Rc::clone(&publication)))?, publication))
    }
    /// The `number`th worker of a group on topic `t` that holds so many messages at once, and what it says to begin; the
    /// first makes the group. None if the peer has no such thing.
    fn worker(&self, _number: usize, _in_flight: usize) -> Option<Worker> {
        None
    }
    /// Whether it confirms acknowledgements.
    fn confirms(&self) -> bool {
        true
    }
    /// The `number`th caller of the service `echo`, and the call that it sends again after each answer; none if the peer
    /// knows no calls.
    fn caller(&self, _number: usize, _payload: &str) -> Option<Caller> {
        None
    }
    /// The responder without which calls are not answered.
    fn responder(&self, _concurrency: usize) -> Option<Box<dyn Client>> {
        None
    }
    /// Where responders dial in, on a server that callers know by `address`.
    fn responders_address(&self, address: SocketAddr) -> SocketAddr {
        address
    }
}

/// The peer of that name.
pub(crate) fn peer(name: PeerName, servers: &Servers, store: Store) -> Result<Box<dyn Peer>> {
    Ok(match name {
        PeerName::Quintet => Box::new(quintet::Quintet::new(servers.quintet.as_deref(), store)?),
        PeerName::Floor => Box::new(floor::Floor),
        PeerName::Echo => Box::new(echo::Echo),
        PeerName::EchoHop => Box::new(echo_hop::EchoHop),
        PeerName::Nchan => Box::new(nchan::Nchan),
        PeerName::Nats => Box::new(nats::Nats { program: servers.nats.clone(), store }),
        PeerName::Mosquitto => Box::new(mosquitto::Mosquitto),
        PeerName::Redis => Box::new(redis::Redis { store }),
        PeerName::NodeWs => Box::new(node_ws::NodeWs { folder: servers.node.clone() }),
    })
}

/// The peers of these names, Quintet on the store that the options name.
pub(crate) fn peers(names: &[PeerName], servers: &Servers) -> Result<Vec<Box<dyn Peer>>> {
    names.iter().map(|name| peer(*name, servers, servers.store)).collect()
}

/// A caller over keep-alive HTTP.
fn http_caller(target: &str, payload: &str) -> Caller {
    let call: Rc<[u8]> = post(target, payload).into();
    (Box::new(Requester::new(Some(Rc::clone(&call)))), call)
}

/// Where a server's output goes.
fn log(room: &Path) -> Result<File> {
    Ok(File::create(room.join("log"))?)
}
