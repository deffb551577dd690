//! Acknowledged publishes: so many in flight, over keep-alive HTTP connections or over one WebSocket session.

use std::rc::Rc;

use anyhow::{Context, Result};

use crate::load::client::{Client, payload};
use crate::options::{PeerName, Publish, Servers, Store, Through};
use crate::peers::Peer;
use crate::table::Table;
use crate::workload::closed_loop::{self, Outcome};
use crate::workload::stage::{Stage, in_turn, ratio, spread};

struct Subject {
    peer: Box<dyn Peer>,
    concurrency: usize,
}

pub(crate) fn run(servers: &Servers, options: &Publish) -> Result<()> {
    let mut subjects = Vec::new();
    for concurrency in &options.concurrencies {
        for store in &options.stores {
            let peer = crate::peers::peer(PeerName::Quintet, servers, *store)?;
            subjects.push(Subject { peer, concurrency: *concurrency });
        }
    }
    let name = |subject: &Subject| format!("{}, {} in flight", subject.peer.name(), subject.concurrency);
    let outcomes = in_turn(servers, &subjects, name, |subject| measure(subject, servers, options))?;
    let base = format!("rate x {}", options.stores.first().map_or("", |store| store_name(*store)));
    let header = ["server", "in flight", "acknowledged per s", "CPU s per million", "p50 us", "p99 us", &base];
    let mut table = Table::new(&header);
    for (index, (subject, of_subject)) in subjects.iter().zip(&outcomes).enumerate() {
        table.row([
            subject.peer.name(),
            subject.concurrency.to_string(),
            spread(of_subject, Outcome::rate).to_string(),
            spread(of_subject, Outcome::cpu_us).to_string(),
            spread(of_subject, |outcome| outcome.p50_us).to_string(),
            spread(of_subject, |outcome| outcome.p99_us).to_string(),
            ratio(of_subject, &outcomes[index - index % options.stores.len()], Outcome::rate).to_string(),
        ]);
    }
    table.print(&format!("Publish: {} bytes through {:?}, {} s", options.size, options.via, options.seconds));
    Ok(())
}

fn store_name(store: Store) -> &'static str {
    match store {
        Store::Memory => "memory",
        Store::Disk => "disk",
    }
}

fn measure(subject: &Subject, servers: &Servers, options: &Publish) -> Result<Outcome> {
    let peer = subject.peer.as_ref();
    let mut stage = Stage::new(peer, &servers.room)?;
    let publication: Rc<[u8]> = peer.publication(options.via, "t", &payload(options.size)).into();
    let n_connections = match options.via {
        Through::Http => subject.concurrency,
        Through::Ws => 1,
    };
    let publishers: Option<Vec<Box<dyn Client>>> =
        (0..n_connections).map(|_| peer.publisher(options.via, Some(Rc::clone(&publication)))).collect();
    stage.driver.connect_all(stage.server.address, publishers.context("it has no publisher")?)?;
    let in_flight: Vec<_> =
        (0..subject.concurrency).map(|number| (number % n_connections, Rc::clone(&publication))).collect();
    closed_loop::measure(&mut stage, &in_flight, options.seconds)
}
