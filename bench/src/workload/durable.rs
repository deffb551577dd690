//! Publishes that are acknowledged once they are on disk: so many in flight, on a connection each or all on one, beside
//! the bare loop that writes and syncs as many at a time. Every log is its owner's most durable one; what that takes is
//! written down in the peer's file.

use std::rc::Rc;

use anyhow::{Context, Result};

use crate::load::client::payload;
use crate::options::{Durable, PeerName, Servers, Store, Through};
use crate::peers::{DurablePublisher, Peer};
use crate::table::Table;
use crate::workload::closed_loop::{self, Outcome};
use crate::workload::stage::{Stage, in_turn, ratio, spread};

/// What is measured at one concurrency.
struct Subject {
    log: Log,
    concurrency: usize,
}

/// Who keeps the messages.
enum Log {
    Bare,
    Of { peer: Box<dyn Peer>, name: PeerName, through: Through },
}

impl Log {
    fn name(&self) -> String {
        let Log::Of { peer, name, through } = self else { return "bare write + fdatasync".to_owned() };
        let door = match (name, through) {
            (PeerName::Quintet, Through::Http) => "HTTP",
            (PeerName::Quintet, Through::Ws) => "one /ws session",
            (_, Through::Http) => "connections",
            (_, Through::Ws) => "one connection",
        };
        format!("{}, {door}", peer.name())
    }

    fn is(&self, wanted: PeerName, by: Through) -> bool {
        matches!(self, Log::Of { name, through, .. } if *name == wanted && *through == by)
    }
}

pub(crate) fn run(servers: &Servers, options: &Durable) -> Result<()> {
    let mut subjects = Vec::new();
    for concurrency in &options.concurrencies {
        subjects.extend(logs(servers, options)?.into_iter().map(|log| Subject { log, concurrency: *concurrency }));
    }
    let name = |subject: &Subject| format!("{}, {} in flight", subject.log.name(), subject.concurrency);
    let outcomes = in_turn(servers, &subjects, name, |subject| measure(subject, servers, options))?;
    let header = ["log", "in flight", "acknowledged per s", "CPU s per million", "p50 us", "p99 us"];
    let mut table = Table::new(&[header.as_slice(), &["CPU x bare", "rate x bare", "rate x JetStream"]].concat());
    let n_logs = subjects.len() / options.concurrencies.len().max(1);
    for (of_one, outcomes) in subjects.chunks(n_logs).zip(outcomes.chunks(n_logs)) {
        let jetstream = of_one.iter().position(|subject| subject.log.is(PeerName::Nats, Through::Http));
        for (subject, of_subject) in of_one.iter().zip(outcomes) {
            let rate_x = |base: &Vec<Outcome>| ratio(of_subject, base, Outcome::rate).to_string();
            table.row([
                subject.log.name(),
                subject.concurrency.to_string(),
                spread(of_subject, Outcome::rate).to_string(),
                spread(of_subject, Outcome::cpu_us).to_string(),
                spread(of_subject, |outcome| outcome.p50_us).to_string(),
                spread(of_subject, |outcome| outcome.p99_us).to_string(),
                ratio(of_subject, &outcomes[0], Outcome::cpu_us).to_string(),
                rate_x(&outcomes[0]),
                jetstream.map_or("-".to_owned(), |index| rate_x(&outcomes[index])),
            ]);
        }
    }
    table.print(&format!("Durable publishes: {} bytes, {} s", options.size, options.seconds));
    Ok(())
}

/// The bare loop first, and each peer by both ways.
fn logs(servers: &Servers, options: &Durable) -> Result<Vec<Log>> {
    let mut logs = vec![Log::Bare];
    for name in &options.peers {
        for through in [Through::Http, Through::Ws] {
            let peer = crate::peers::peer(*name, servers, Store::Disk)?;
            logs.push(Log::Of { peer, name: *name, through });
        }
    }
    Ok(logs)
}

fn measure(subject: &Subject, servers: &Servers, options: &Durable) -> Result<Outcome> {
    let payload = payload(options.size);
    match &subject.log {
        Log::Bare => crate::workload::bare_log::measure(&servers.room, subject.concurrency, &payload, options.seconds),
        Log::Of { peer, through, .. } => {
            let mut stage = Stage::new(peer.as_ref(), &servers.room)?;
            let n_connections = match through {
                Through::Http => subject.concurrency,
                Through::Ws => 1,
            };
            let publishers: Option<Vec<DurablePublisher>> =
                (0..n_connections).map(|number| peer.durable_publisher(*through, number, &payload)).collect();
            let (clients, publications): (Vec<_>, Vec<_>) = publishers.context("it keeps nothing")?.into_iter().unzip();
            stage.driver.connect_all(stage.server.address, clients)?;
            let in_flight: Vec<_> = (0..subject.concurrency)
                .map(|number| (number % n_connections, Rc::clone(&publications[number % n_connections])))
                .collect();
            closed_loop::measure(&mut stage, &in_flight, options.seconds)
        }
    }
}
