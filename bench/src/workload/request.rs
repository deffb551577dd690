//! Request-response: calls over keep-alive HTTP through the hub to a responder that dialled in, beside a plain echo.
//! The responder lives in the load generator, so the hub's cost is its own hop and nothing else.

use std::rc::Rc;

use anyhow::{Context, Result};

use crate::load::client::{Client, payload};
use crate::load::requester::Requester;
use crate::options::{Request, Servers};
use crate::peers::Peer;
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
    let base = format!("CPU x {}", peers.first().map_or_else(String::new, |peer| peer.name()));
    let mut table = Table::new(&["server", "in flight", "calls per s", "CPU us per call", "p50 us", "p99 us", &base]);
    for (index, ((concurrency, peer), of_subject)) in subjects.iter().zip(&outcomes).enumerate() {
        table.row([
            peer.name(),
            concurrency.to_string(),
            spread(of_subject, Outcome::rate).to_string(),
            spread(of_subject, Outcome::cpu_us).to_string(),
            spread(of_subject, |outcome| outcome.p50_us).to_string(),
            spread(of_subject, |outcome| outcome.p99_us).to_string(),
            ratio(of_subject, &outcomes[index - index % peers.len()], Outcome::cpu_us).to_string(),
        ]);
    }
    table.print(&format!("Request-response: {} bytes, {} s", options.size, options.seconds));
    Ok(())
}

fn measure((concurrency, peer): (usize, &dyn Peer), servers: &Servers, options: &Request) -> Result<Outcome> {
    let mut stage = Stage::new(peer, &servers.room)?;
    let call: Rc<[u8]> = peer.call(&payload(options.size)).context("it takes no calls")?.into();
    let callers = (0..concurrency).map(|_| Box::new(Requester::new(Some(Rc::clone(&call)))) as Box<dyn Client>);
    stage.driver.connect_all(stage.server.address, callers)?;
    if let Some(responder) = peer.responder(concurrency) {
        stage.driver.connect_all(stage.server.address, [responder])?;
    }
    let in_flight: Vec<_> = (0..concurrency).map(|number| (number, Rc::clone(&call))).collect();
    closed_loop::measure(&mut stage, &in_flight, options.seconds)
}
