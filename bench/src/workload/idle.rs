//! Memory that a connection costs the server while nothing happens, when it is new and after it has got one message.

use std::time::Duration;

use anyhow::Result;

use crate::load::client::payload;
use crate::load::tls::Identity;
use crate::options::{Idle, Servers, Through};
use crate::peers::Peer;
use crate::table::Table;
use crate::workload::stage::{Stage, and_tls, in_turn, name_under, spread};

/// Connections that are there before, so that what a server needs once is not counted.
const FIRST: usize = 200;
/// How long the server may take to give back what it needs only for a moment.
const REST: Duration = Duration::from_secs(3);

struct Outcome {
    new_bytes: f64,
    used_bytes: f64,
}

pub(crate) fn run(servers: &Servers, options: &Idle) -> Result<()> {
    let peers = crate::peers::peers(&options.peers, servers)?;
    let identity = Identity::wanted(options.tls, &peers)?;
    let identity = identity.as_ref();
    let name = |peer: &dyn Peer| name_under(peer, identity);
    let outcomes = in_turn(
        servers,
        &peers,
        |peer| name(peer.as_ref()),
        |peer| measure(peer.as_ref(), servers, options, identity),
    )?;
    let mut table = Table::new(&["server", "bytes per connection", "after one message"]);
    for (peer, of_peer) in peers.iter().zip(&outcomes) {
        table.row([
            name(peer.as_ref()),
            spread(of_peer, |outcome| outcome.new_bytes).to_string(),
            spread(of_peer, |outcome| outcome.used_bytes).to_string(),
        ]);
    }
    let over = and_tls(identity);
    table.print(&format!("Idle: {} connections over {:?}{over}", options.connections, options.via));
    Ok(())
}

fn measure(peer: &dyn Peer, servers: &Servers, options: &Idle, identity: Option<&Identity>) -> Result<Outcome> {
    let mut stage = Stage::secured(peer, &servers.room, identity)?;
    let publication = peer.publication(Through::Http, "t", &payload(128));
    let publisher = stage.publisher(peer, std::slice::from_ref(&publication))?;
    stage.follow(peer, options.via, &vec!["t".to_owned(); FIRST])?;
    stage.driver.send(publisher, &publication)?;
    stage.driver.wait(|tally| tally.delivered >= FIRST as u64)?;
    stage.rest(REST)?;
    let before = stage.server.memory_bytes()?;
    stage.follow(peer, options.via, &vec!["t".to_owned(); options.connections])?;
    stage.rest(REST)?;
    let new = stage.server.memory_bytes()?;
    stage.driver.send(publisher, &publication)?;
    stage.driver.wait(|tally| tally.delivered >= (2 * FIRST + options.connections) as u64)?;
    stage.rest(REST)?;
    let used = stage.server.memory_bytes()?;
    let each = |bytes: u64| (bytes as f64 - before as f64) / options.connections as f64;
    Ok(Outcome { new_bytes: each(new), used_bytes: each(used) })
}
