//! Fan-out in haste: messages as fast as one pipelined publisher sends them, so that what can be batched is.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::load::client::payload;
use crate::options::{Burst, Servers, Through};
use crate::peers::Peer;
use crate::process::Cpu;
use crate::table::Table;
use crate::workload::stage::{Stage, in_turn, ratio, spread};

/// Messages that flow before they count.
const WARM_UP: usize = 20;

struct Outcome {
    cpu: Cpu,
    deliveries: u64,
    wall_s: f64,
}

impl Outcome {
    fn cpu_us(&self) -> f64 {
        self.cpu.total_s() * 1e6 / self.deliveries as f64
    }

    fn rate(&self) -> f64 {
        self.deliveries as f64 / self.wall_s
    }
}

pub(crate) fn run(servers: &Servers, options: &Burst) -> Result<()> {
    let peers = crate::peers::peers(&options.peers, servers)?;
    let outcomes = in_turn(servers, &peers, |peer| peer.name(), |peer| measure(peer.as_ref(), servers, options))?;
    let base = format!("x {}", peers.first().map_or_else(String::new, |peer| peer.name()));
    let mut table = Table::new(&["server", "CPU us per delivery", "deliveries per s", &base]);
    for (peer, of_peer) in peers.iter().zip(&outcomes) {
        table.row([
            peer.name(),
            spread(of_peer, Outcome::cpu_us).to_string(),
            spread(of_peer, Outcome::rate).to_string(),
            ratio(of_peer, &outcomes[0], Outcome::cpu_us).to_string(),
        ]);
    }
    let Burst { connections, messages, size, via, .. } = options;
    table.print(&format!(
        "Burst: {messages} messages of {size} bytes at once to {connections} subscribers over {via:?}"
    ));
    Ok(())
}

fn measure(peer: &dyn Peer, servers: &Servers, options: &Burst) -> Result<Outcome> {
    let mut stage = Stage::new(peer, &servers.room)?;
    let publication = peer.publication(Through::Http, "t", &payload(options.size));
    let publisher = stage.publisher(peer, std::slice::from_ref(&publication))?;
    stage.follow(peer, options.via, &vec!["t".to_owned(); options.connections])?;
    send(&mut stage, publisher, &publication.repeat(WARM_UP), (WARM_UP * options.connections) as u64)?;
    stage.rest(Duration::from_millis(200))?;
    let deliveries = (options.messages * options.connections) as u64;
    let (cpu, start) = (stage.server.cpu()?, Instant::now());
    send(&mut stage, publisher, &publication.repeat(options.messages), deliveries)?;
    let (wall_s, cpu) = (start.elapsed().as_secs_f64(), stage.server.cpu()?.since(cpu));
    stage.rest(Duration::from_millis(50))?;
    let (delivered, sent) = (stage.driver.tally.delivered, deliveries + (WARM_UP * options.connections) as u64);
    ensure!(delivered == sent, "{delivered} deliveries where {sent} were due");
    Ok(Outcome { cpu, deliveries, wall_s })
}

fn send(stage: &mut Stage, publisher: usize, bytes: &[u8], deliveries: u64) -> Result<()> {
    let all = stage.driver.tally.delivered + deliveries;
    stage.driver.send(publisher, bytes)?;
    stage.driver.wait(|tally| tally.delivered >= all)
}
