//! What every workload needs: a fresh server with its room and its driver, and runs in turn.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::load::client::Client;
use crate::load::driver::Driver;
use crate::load::tls::{Identity, NEGOTIATED};
use crate::options::{Servers, Through, Via};
use crate::peers::{Peer, Security};
use crate::process::{Server, spare_address};
use crate::stats::Spread;
use crate::table::progress;

/// A server that was started for one run. The order of the fields is the order in which they go.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) driver: Driver,
    _room: TempDir,
}

impl Stage {
    pub(crate) fn new(peer: &dyn Peer, room: &Path) -> Result<Stage> {
        Stage::secured(peer, room, None)
    }

    /// One that is over TLS if there is an identity, as far as the peer has it.
    pub(crate) fn secured(peer: &dyn Peer, room: &Path, identity: Option<&Identity>) -> Result<Stage> {
        let room = TempDir::with_prefix_in("quintet-bench-", room)?;
        let (server, tls) = match identity.filter(|_| peer.security() == Security::Spoken) {
            None => (peer.start(room.path(), spare_address()?)?, None),
            Some(identity) => {
                let server = peer.start_tls(room.path(), spare_address()?, identity)?;
                (server, Some(Arc::clone(&identity.client)))
            }
        };
        Ok(Stage { server, driver: Driver::new(tls)?, _room: room })
    }

    /// Opens one follower a topic and waits until all follow.
    pub(crate) fn follow(&mut self, peer: &dyn Peer, via: Via, topics: &[String]) -> Result<()> {
        let followers: Option<Vec<Box<dyn Client>>> = topics.iter().map(|topic| peer.follower(via, topic)).collect();
        let followers = followers.with_context(|| format!("{} has no door for {via:?}", peer.name()))?;
        self.driver.connect_all(self.server.address, followers)?;
        // A long poll that is its client's first word parks a moment later.
        self.rest(Duration::from_millis(300))
    }

    /// Opens a publisher, has it send each of `first`, so that their topics are there before anyone follows them, and
    /// gives its number.
    pub(crate) fn publisher(&mut self, peer: &dyn Peer, first: &[Vec<u8>]) -> Result<usize> {
        let ready = self.driver.tally.ready;
        let publisher = peer.publisher(Through::Http, None).context("it has no publisher")?;
        let number = self.driver.connect(self.server.address, publisher)?;
        self.driver.wait(|tally| tally.ready > ready)?;
        self.driver.send(number, &first.concat())?;
        // Not every peer acknowledges.
        self.rest(Duration::from_millis(200))?;
        Ok(number)
    }

    /// Lets the server come to rest, while answers are still read.
    pub(crate) fn rest(&mut self, time: Duration) -> Result<()> {
        self.driver.run_until(Instant::now() + time)
    }
}

/// What the table calls a peer where connections are over TLS, if there is an identity.
pub(crate) fn name_under(peer: &dyn Peer, identity: Option<&Identity>) -> String {
    let is_plain = identity.is_some() && peer.security() != Security::Spoken;
    if is_plain { format!("{}, without TLS", peer.name()) } else { peer.name() }
}

/// What a title says of it.
pub(crate) fn and_tls(identity: Option<&Identity>) -> String {
    identity.map_or_else(String::new, |_| format!(" and {NEGOTIATED}"))
}

/// Measures each subject once, then each again, so that a noisy minute hits them all.
pub(crate) fn in_turn<S, T>(
    servers: &Servers,
    subjects: &[S],
    name: impl Fn(&S) -> String,
    mut measure: impl FnMut(&S) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut outcomes: Vec<Vec<T>> = subjects.iter().map(|_| Vec::new()).collect();
    for run in 0..servers.runs {
        for (subject, outcomes) in subjects.iter().zip(&mut outcomes) {
            progress(&format!("run {}/{}: {}", run + 1, servers.runs, name(subject)));
            outcomes.push(measure(subject).with_context(|| name(subject))?);
        }
    }
    Ok(outcomes)
}

/// A figure over all runs.
pub(crate) fn spread<T>(outcomes: &[T], figure: impl Fn(&T) -> f64) -> Spread {
    Spread::of(outcomes.iter().map(figure))
}

/// A figure divided by the same run's of `base`.
pub(crate) fn ratio<T>(outcomes: &[T], base: &[T], figure: impl Fn(&T) -> f64) -> Spread {
    Spread::of(outcomes.iter().zip(base).map(|(outcome, base)| figure(outcome) / figure(base)))
}
