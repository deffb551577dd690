//! Fan-out without haste: messages at a steady rate that leaves nothing to batch, so that each delivery pays its way.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::load::client::payload;
use crate::load::tls::Identity;
use crate::options::{Fanout, Servers, Through};
use crate::peers::Peer;
use crate::picture::bars;
use crate::process::Cpu;
use crate::stats::percentile;
use crate::table::Table;
use crate::workload::stage::{Stage, and_tls, in_turn, name_under, ratio, spread};

/// For how long messages flow before they count.
const WARM_UP_S: f64 = 1.0;

struct Outcome {
    cpu: Cpu,
    deliveries: u64,
    /// From a publish to the arrival at its last subscriber.
    last_ms: f64,
}

impl Outcome {
    fn cpu_us(&self) -> f64 {
        self.cpu.total_s() * 1e6 / self.deliveries as f64
    }

    fn user_us(&self) -> f64 {
        self.cpu.user_s * 1e6 / self.deliveries as f64
    }
}

pub(crate) fn run(servers: &Servers, options: &Fanout) -> Result<()> {
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
    let base = format!("x {}", peers.first().map_or_else(String::new, |peer| peer.name()));
    let header = ["server", "CPU us per delivery", "of it user", "last subscriber ms", &base];
    let mut table = Table::new(&header);
    for (peer, of_peer) in peers.iter().zip(&outcomes) {
        table.row([
            name(peer.as_ref()),
            spread(of_peer, Outcome::cpu_us).to_string(),
            spread(of_peer, Outcome::user_us).to_string(),
            spread(of_peer, |outcome| outcome.last_ms).to_string(),
            ratio(of_peer, &outcomes[0], Outcome::cpu_us).to_string(),
        ]);
    }
    let Fanout { connections, rate, seconds, size, via, .. } = options;
    let topics = if options.topics { "topics with one subscriber each" } else { "subscribers of one topic" };
    let over = and_tls(identity);
    let title = format!("Fan-out: {connections} {topics} over {via:?}{over}, {size} bytes, {rate}/s for {seconds} s");
    table.print(&title);
    if let Some(picture) = &options.picture {
        let names = peers.iter().map(|peer| name(peer.as_ref()));
        let rows = names.zip(outcomes.iter().map(|of_peer| spread(of_peer, Outcome::cpu_us)));
        let title = format!("CPU per delivery: {connections} {topics}, {rate} messages a second");
        std::fs::write(picture, bars(&title, "µs", &rows.collect::<Vec<_>>()))
            .with_context(|| format!("cannot write {}", picture.display()))?;
    }
    Ok(())
}

fn measure(peer: &dyn Peer, servers: &Servers, options: &Fanout, identity: Option<&Identity>) -> Result<Outcome> {
    let mut stage = Stage::secured(peer, &servers.room, identity)?;
    let topics: Vec<String> =
        (0..options.connections).map(|number| if options.topics { format!("t{number}") } else { "t".into() }).collect();
    let payload = payload(options.size);
    let n_publications = if options.topics { options.connections } else { 1 };
    let publications: Vec<Vec<u8>> =
        topics[..n_publications].iter().map(|topic| peer.publication(Through::Http, topic, &payload)).collect();
    let publisher = stage.publisher(peer, &publications)?;
    stage.follow(peer, options.via, &topics)?;
    let flow = Flow {
        publisher,
        publications,
        interval: Duration::from_secs_f64(1.0 / options.rate),
        copies: if options.topics { 1 } else { options.connections as u64 },
    };
    flow.run(&mut stage, (options.rate * WARM_UP_S).ceil() as usize)?;
    stage.rest(Duration::from_millis(200))?;
    let (delivered, cpu) = (stage.driver.tally.delivered, stage.server.cpu()?);
    let n_messages = (options.rate * options.seconds).ceil() as usize;
    let mut last_us = flow.run(&mut stage, n_messages)?;
    let cpu = stage.server.cpu()?.since(cpu);
    stage.rest(Duration::from_millis(50))?;
    let deliveries = stage.driver.tally.delivered - delivered;
    ensure!(deliveries == n_messages as u64 * flow.copies, "{deliveries} deliveries of {n_messages} messages");
    Ok(Outcome { cpu, deliveries, last_ms: percentile(&mut last_us, 0.5) / 1000.0 })
}

/// Messages at a steady rate.
struct Flow {
    publisher: usize,
    publications: Vec<Vec<u8>>,
    interval: Duration,
    /// Deliveries of one message.
    copies: u64,
}

impl Flow {
    /// Sends `n_messages` and waits until all have arrived; says when the last copy of each did.
    fn run(&self, stage: &mut Stage, n_messages: usize) -> Result<Vec<u32>> {
        let driver = &mut stage.driver;
        let (start, delivered) = (Instant::now(), driver.tally.delivered);
        let mut sent = Vec::with_capacity(n_messages);
        let mut last_us: Vec<u32> = Vec::with_capacity(n_messages);
        while last_us.len() < n_messages {
            let due = start + self.interval.mul_f64(sent.len() as f64);
            let now = Instant::now();
            if sent.len() < n_messages && now >= due {
                driver.send(self.publisher, &self.publications[sent.len() % self.publications.len()])?;
                sent.push(now);
                continue;
            }
            driver.turn(if sent.len() < n_messages { due - now } else { Duration::from_millis(100) })?;
            let arrived = (driver.tally.delivered - delivered) / self.copies;
            while (last_us.len() as u64) < arrived && last_us.len() < sent.len() {
                last_us.push(u32::try_from(sent[last_us.len()].elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            if sent.len() == n_messages && now > due + crate::load::driver::PATIENCE {
                anyhow::bail!("{} of {n_messages} messages arrived everywhere", last_us.len());
            }
        }
        Ok(last_us)
    }
}
