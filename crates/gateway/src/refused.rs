//! Those who are refused are told in the log, with what they asked for and never with their token: who is guessing
//! tokens, or has one that allows too little, is seen there. Whoever is refused decides how often, so that only so many
//! lines are written a minute, of each kind, and how many were left out is told in one more.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, Method, Uri};
use parking_lot::Mutex;
use quintet_core::access::{Credential, Operation};
use quintet_wire::problem::kind::Kind;
use tokio::time::{Instant, sleep_until};

use crate::serve::Guest;

/// Lines a minute, of each kind.
const LINES_MAX: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// What is shown of a path or a host.
const SHOWN_BYTES_MAX: usize = 256;

/// How many of each kind were told of lately.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    unauthenticated: Arc<Meter>,
    forbidden: Arc<Meter>,
    foreign: Arc<Meter>,
}

impl Refusals {
    /// A request without a token, or with a wrong one.
    pub(crate) fn unauthenticated(&self, asked: &Asked, presented: bool) {
        if self.unauthenticated.admit(Kind::Unauthenticated) {
            let (slug, token) = (Kind::Unauthenticated.slug(), if presented { "wrong" } else { "none" });
            tracing::warn!(
                target: TARGET, slug, token, method = asked.method(), path = &*asked.path, peer = %asked.peer(), "refused"
            );
        }
    }

    /// A request of a foreign page, or for a foreign host.
    pub(crate) fn foreign(&self, asked: &Asked, host: &str, origin: &str) {
        if self.foreign.admit(Kind::ForeignOrigin) {
            let (slug, host, origin) = (Kind::ForeignOrigin.slug(), cut(host), cut(origin));
            tracing::warn!(
                target: TARGET, slug, host, origin, method = asked.method(), path = &*asked.path, peer = %asked.peer(),
                "refused"
            );
        }
    }

    fn forbidden(&self, asked: &Asked, subject: &str, operation: Operation, name: &str) {
        if self.forbidden.admit(Kind::Forbidden) {
            let (slug, operation, name) = (Kind::Forbidden.slug(), operation.name(), cut(name));
            tracing::warn!(
                target: TARGET, slug, subject, operation, name, method = asked.method(), path = &*asked.path,
                peer = %asked.peer(), "refused"
            );
        }
    }
}

const TARGET: &str = "quintet::access";

/// What somebody asked for, and from where. Copied, as it may be kept for as long as a WebSocket is open.
#[derive(Debug)]
pub(crate) struct Asked {
    method: Method,
    path: Box<str>,
    guest: Option<Guest>,
}

impl Asked {
    pub(crate) fn of(method: &Method, uri: &Uri, extensions: &Extensions) -> Self {
        Self { method: method.clone(), path: cut(uri.path()).into(), guest: extensions.get::<Guest>().cloned() }
    }

    fn method(&self) -> &str {
        cut(self.method.as_str())
    }

    fn peer(&self) -> Peer {
        Peer(self.guest.as_ref().map(Guest::peer))
    }
}

/// A caller that is known, as what it asks for is judged.
#[derive(Debug)]
pub(crate) struct Known {
    asked: Asked,
    refusals: Arc<Refusals>,
}

impl Known {
    pub(crate) fn new(asked: Asked, refusals: Arc<Refusals>) -> Arc<Self> {
        Arc::new(Self { asked, refusals })
    }
}

impl Credential for Known {
    fn refused(&self, subject: Option<&str>, operation: Operation, name: &str) {
        self.refusals.forbidden(&self.asked, subject.unwrap_or_default(), operation, name);
    }
}

/// An address, where one is known: an application's own server may not tell it.
struct Peer(Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// Lets so many lines through a minute, and tells at its end how many it did not.
#[derive(Debug, Default)]
struct Meter(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    ends: Option<Instant>,
    told: usize,
    left_out: u64,
}

impl Meter {
    fn admit(self: &Arc<Self>, kind: Kind) -> bool {
        let now = Instant::now();
        let mut minute = self.0.lock();
        let ends = match minute.ends {
            // The one that left lines out is ended by the task that tells how many.
            Some(ends) if now < ends || minute.left_out > 0 => ends,
            _ => {
                *minute = Minute { ends: Some(now + MINUTE), told: 0, left_out: 0 };
                now + MINUTE
            }
        };
        if minute.told < LINES_MAX {
            minute.told += 1;
            return true;
        }
        minute.left_out += 1;
        if minute.left_out == 1 {
            tokio::spawn(Arc::clone(self).tell(kind, ends));
        }
        false
    }

    async fn tell(self: Arc<Self>, kind: Kind, at: Instant) {
        sleep_until(at).await;
        let Minute { left_out, .. } = std::mem::take(&mut *self.0.lock());
        tracing::warn!(target: TARGET, slug = kind.slug(), left_out, "more were refused than there are lines for");
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_not_written() {
        let meter = Arc::new(Meter::default());
        let admitted = |n: usize| (0..n).filter(|_| meter.admit(Kind::Forbidden)).count();
        assert_eq!((admitted(LINES_MAX - 1), admitted(1_000)), (LINES_MAX - 1, 1));
        let left_out = || meter.0.lock().left_out;
        assert_eq!(left_out(), 999);
        tokio::time::sleep(MINUTE + Duration::from_millis(1)).await;
        assert_eq!((left_out(), admitted(1_000)), (0, LINES_MAX));
        tokio::time::sleep(MINUTE * 2).await;
        assert_eq!(admitted(1), 1);
        tokio::time::sleep(MINUTE * 2).await;
        assert_eq!(admitted(LINES_MAX), LINES_MAX, "a minute that left nothing out is over too");
    }

    #[test]
    fn long_paths_are_cut() {
        assert_eq!(cut(&"\u{e4}".repeat(200)).len(), SHOWN_BYTES_MAX);
        assert_eq!(cut("/topics/a"), "/topics/a");
    }
}
