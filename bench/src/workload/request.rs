//! Request-response: calls through the hub to a responder that dialled in, beside a plain echo and one with a hop behind it.
//! The responder lives in the load generator, so the hub's cost is its own hop and nothing else. Callers have a connection
//! each and speak keep-alive HTTP, or the peer's own protocol.

use anyhow::{Context, Result};

use crate::load::client::{Client, payload};
use crate::options::{PeerName, Request, Servers};
use crate::peers::{Caller, Peer};
use crate::table::Table;
use crate::workload::closed_loop::{self, Outcome};
use crate::workload::stage::{Stage, in_turn, ratio, spread};

pub(crate) fn run(servers: &Servers, options: &Request) -> Result<()> {
    let peers = crate::peers::peers(&options.peers, servers)?;
    let subjects: Vec<(usize, &dyn Peer)> = options
        .concurrencies
        .iter()
        .flat_map(|concurrency| peers.iter().map(|peer| (*concurrency, peer.as_ref())))
        .collect();
    let name = |(concurrency, peer): &(usize, &dyn Peer)| format!("{}, {concurrency} in flight", peer.name());
    let outcomes = in_turn(servers, &subjects, name, |subject| measure(*subject, servers, options))?;
    let bases = bases(&options.peers);
    let mut header =
        ["server", "in flight", "calls per s", "CPU us per call", "p50 us", "p99 us"].map(str::to_owned).to_vec();
    header.extend(bases.iter().map(|base| format!("CPU x {}", peers[*base].name())));
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for (index, ((concurrency, peer), of_subject)) in subjects.iter().zip(&outcomes).enumerate() {
        let mut row = vec![
            peer.name(),
            concurrency.to_string(),
            spread(of_subject, Outcome::rate).to_string(),
            spread(of_subject, Outcome::cpu_us).to_string(),
            spread(of_subject, |outcome| outcome.p50_us).to_string(),
            spread(of_subject, |outcome| outcome.p99_us).to_string(),
        ];
        let of_same = &outcomes[index - index % peers.len()..];
        row.extend(bases.iter().map(|base| ratio(of_subject, &of_same[*base], Outcome::cpu_us).to_string()));
        table.row(row);
    }
    table.print(&format!("Request-response: {} bytes, {} s", options.size, options.seconds));
    Ok(())
}

/// Whom the others are compared with: the echoes that are there, or else the first peer.
fn bases(names: &[PeerName]) -> Vec<usize> {
    let is_echo = |name: &PeerName| matches!(name, PeerName::Echo | PeerName::EchoHop);
    let echoes: Vec<usize> = (0..names.len()).filter(|index| is_echo(&names[*index])).collect();
    if echoes.is_empty() { vec![0] } else { echoes }
}

fn measure((concurrency, peer): (usize, &dyn Peer), servers: &Servers, options: &Request) -> Result<Outcome> {
    let mut stage = Stage::new(peer, &servers.room)?;
    let payload = payload(options.size);
    let callers: Option<Vec<Caller>> = (0..concurrency).map(|number| peer.caller(number, &payload)).collect();
    let (clients, calls): (Vec<Box<dyn Client>>, Vec<_>) = callers.context("it takes no calls")?.into_iter().unzip();
    stage.driver.connect_all(stage.server.address, clients)?;
    if let Some(responder) = peer.responder(concurrency) {
        stage.driver.connect_all(peer.responders_address(stage.server.address), [responder])?;
    }
    let in_flight: Vec<_> = calls.into_iter().enumerate().collect();
    closed_loop::measure(&mut stage, &in_flight, options.seconds)
}
