//! What a TLS handshake costs a server: connections that each ask for one small thing and close, once over TLS, each with a
//! full handshake, and once without.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::load::client::Client;
use crate::load::scripted::{Scripted, Step};
use crate::load::tls::{Identity, NEGOTIATED};
use crate::options::{Handshake, Servers};
use crate::peers::{Peer, Security};
use crate::process::Cpu;
use crate::table::Table;
use crate::workload::stage::{Stage, in_turn, ratio, spread};

/// Connections that are open at a time.
const AT_ONCE: usize = 50;

struct Outcome {
    cpu: Cpu,
    connections: f64,
    wall_s: f64,
}

impl Outcome {
    fn cpu_us(&self) -> f64 {
        self.cpu.total_s() * 1e6 / self.connections
    }

    fn rate(&self) -> f64 {
        self.connections / self.wall_s
    }
}

pub(crate) fn run(servers: &Servers, options: &Handshake) -> Result<()> {
    let peers = crate::peers::peers(&options.peers, servers)?;
    let identity = Identity::wanted(true, &peers)?;
    for peer in &peers {
        anyhow::ensure!(peer.security() == Security::Spoken, "{} makes no handshakes", peer.name());
    }
    let subjects: Vec<(&dyn Peer, Option<&Identity>)> =
        peers.iter().flat_map(|peer| [(peer.as_ref(), None), (peer.as_ref(), identity.as_ref())]).collect();
    let over = |identity: &Option<&Identity>| if identity.is_some() { "TLS" } else { "TCP" };
    let name = |(peer, identity): &(&dyn Peer, Option<&Identity>)| format!("{} over {}", peer.name(), over(identity));
    let outcomes = in_turn(servers, &subjects, name, |subject| measure(*subject, servers, options))?;
    let base = format!("x {} over TLS", peers.first().map_or_else(String::new, |peer| peer.name()));
    let mut table = Table::new(&["server", "over", "connections per s", "CPU us per connection", "of it TLS", &base]);
    for (index, ((peer, identity), of_subject)) in subjects.iter().zip(&outcomes).enumerate() {
        let of_tls = identity.map_or("-".to_owned(), |_| {
            let without = outcomes[index - 1].iter();
            let differences = of_subject.iter().zip(without).map(|(with, without)| with.cpu_us() - without.cpu_us());
            crate::stats::Spread::of(differences).to_string()
        });
        table.row([
            peer.name(),
            over(identity).to_owned(),
            spread(of_subject, Outcome::rate).to_string(),
            spread(of_subject, Outcome::cpu_us).to_string(),
            of_tls,
            ratio(of_subject, &outcomes[1], Outcome::cpu_us).to_string(),
        ]);
    }
    let Handshake { connections, .. } = options;
    table.print(&format!(
        "Handshakes: {connections} connections, {AT_ONCE} at a time, each with one request; over {NEGOTIATED}"
    ));
    Ok(())
}

fn measure(
    (peer, identity): (&dyn Peer, Option<&Identity>),
    servers: &Servers,
    options: &Handshake,
) -> Result<Outcome> {
    let mut stage = Stage::secured(peer, &servers.room, identity)?;
    let say = peer.trifle().context("it has nothing small to ask for")?;
    let steps: Rc<[Step]> = Rc::new([Step { say, starts: b"HTTP/1.1 2", ends: b"\r\n\r\n" }]);
    connect(&mut stage, &steps, AT_ONCE)?;
    let (cpu, start) = (stage.server.cpu()?, Instant::now());
    for _ in 0..options.connections.div_ceil(AT_ONCE) {
        connect(&mut stage, &steps, AT_ONCE)?;
    }
    let wall_s = start.elapsed().as_secs_f64();
    // The last ones are closed yet.
    stage.rest(Duration::from_millis(50))?;
    let connections = (options.connections.div_ceil(AT_ONCE) * AT_ONCE) as f64;
    Ok(Outcome { cpu: stage.server.cpu()?.since(cpu), connections, wall_s })
}

/// Opens so many connections, has each answered, and closes them.
fn connect(stage: &mut Stage, steps: &Rc<[Step]>, n_connections: usize) -> Result<()> {
    let clients = (0..n_connections).map(|_| Box::new(Scripted::follower(Rc::clone(steps))) as Box<dyn Client>);
    stage.driver.connect_all(stage.server.address, clients)?;
    stage.driver.close_all()
}
