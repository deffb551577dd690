//! Work that is shared out: messages are there, on disk, when the members of a group come; each is given to one of them
//! and acknowledged. What is measured is from the members' first word until everything is acknowledged, and, where the
//! server confirms acknowledgements, confirmed.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::load::client::{Client, payload};
use crate::options::{Groups, Servers, Store, Through};
use crate::peers::Peer;
use crate::table::Table;
use crate::workload::stage::{Stage, in_turn, ratio, spread};

/// Publishes in flight while the messages are put there, which is not measured.
const PUBLISHERS: usize = 256;

/// What working them off came to.
struct Outcome {
    messages: f64,
    cpu_s: f64,
    wall_s: f64,
}

impl Outcome {
    fn rate(&self) -> f64 {
        self.messages / self.wall_s
    }

    fn cpu_us(&self) -> f64 {
        self.cpu_s * 1e6 / self.messages
    }
}

pub(crate) fn run(servers: &Servers, options: &Groups) -> Result<()> {
    let peers: Vec<Box<dyn Peer>> =
        options.peers.iter().map(|name| crate::peers::peer(*name, servers, Store::Disk)).collect::<Result<_>>()?;
    let subjects: Vec<(usize, &dyn Peer)> =
        options.members.iter().flat_map(|members| peers.iter().map(|peer| (*members, peer.as_ref()))).collect();
    let name = |(members, peer): &(usize, &dyn Peer)| format!("{}, {members} members", peer.name());
    let outcomes = in_turn(servers, &subjects, name, |subject| measure(*subject, servers, options))?;
    let base = peers.first().map_or_else(String::new, |peer| peer.name());
    let (rate_x, cpu_x) = (format!("rate x {base}"), format!("CPU x {base}"));
    let mut table = Table::new(&["server", "members", "messages per s", "CPU us per message", &rate_x, &cpu_x]);
    for (index, ((members, peer), of_subject)) in subjects.iter().zip(&outcomes).enumerate() {
        let of_base = &outcomes[index - index % peers.len()];
        table.row([
            peer.name(),
            members.to_string(),
            spread(of_subject, Outcome::rate).to_string(),
            spread(of_subject, Outcome::cpu_us).to_string(),
            ratio(of_subject, of_base, Outcome::rate).to_string(),
            ratio(of_subject, of_base, Outcome::cpu_us).to_string(),
        ]);
    }
    let Groups { messages, size, in_flight, .. } = options;
    table.print(&format!("Groups: {messages} messages of {size} bytes, {in_flight} in flight a member"));
    Ok(())
}

fn measure((members, peer): (usize, &dyn Peer), servers: &Servers, options: &Groups) -> Result<Outcome> {
    let mut stage = Stage::new(peer, &servers.room)?;
    let total = publish(&mut stage, peer, options)?;
    let workers: Option<Vec<_>> = (0..members).map(|number| peer.worker(number, options.in_flight)).collect();
    let (clients, words): (Vec<Box<dyn Client>>, Vec<Vec<u8>>) =
        workers.context("it has no groups")?.into_iter().unzip();
    stage.driver.connect_all(stage.server.address, clients)?;
    stage.driver.tally.acknowledged = 0;
    let first = PUBLISHERS;
    let (cpu, start) = (stage.server.cpu()?, Instant::now());
    for (number, word) in words.iter().enumerate() {
        stage.driver.send(first + number, word)?;
    }
    let confirms = peer.confirms();
    stage.driver.wait(|tally| tally.delivered >= total && (!confirms || tally.acknowledged >= total))?;
    let wall_s = start.elapsed().as_secs_f64();
    let cpu_s = stage.server.cpu()?.since(cpu).total_s();
    anyhow::ensure!(stage.driver.tally.delivered == total, "some messages were handed out twice");
    Ok(Outcome { messages: total as f64, cpu_s, wall_s })
}

/// Puts the messages there; tells how many they have become.
fn publish(stage: &mut Stage, peer: &dyn Peer, options: &Groups) -> Result<u64> {
    let payload = payload(options.size);
    let publishers: Option<Vec<_>> =
        (0..PUBLISHERS).map(|number| peer.durable_publisher(Through::Http, number, &payload)).collect();
    let (clients, publications): (Vec<_>, Vec<Rc<[u8]>>) = publishers.context("it keeps nothing")?.into_iter().unzip();
    stage.driver.connect_all(stage.server.address, clients)?;
    stage.driver.tally.going = true;
    for (number, publication) in publications.iter().enumerate() {
        stage.driver.send(number, publication)?;
    }
    let enough = options.messages.saturating_sub(PUBLISHERS) as u64;
    stage.driver.wait(|tally| tally.acknowledged >= enough)?;
    stage.driver.tally.going = false;
    // What is in flight is answered yet; when nothing more comes for a while, that was all.
    loop {
        let before = stage.driver.tally.acknowledged;
        stage.rest(std::time::Duration::from_millis(300))?;
        if stage.driver.tally.acknowledged == before {
            return Ok(before);
        }
    }
}
