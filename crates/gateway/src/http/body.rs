//! Reading a request's body within bounds: of one body, of all bodies together, and in time. What no handler has read
//! is read here too, so that the connection stays usable.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, stream};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use quintet_wire::problem::kind::Kind;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::GatewayConfig;
use crate::error::{Problem, Result};
use crate::state::Gateway;

/// What is read of a body that is too large, so that whoever sends it learns of it.
const TOO_LARGE_BYTES_MAX: u64 = 64 << 20;
const TOO_LARGE_TIME: Duration = Duration::from_secs(5);
/// What is read of a body that nobody wanted.
const LEFT_BYTES_MAX: u64 = 1 << 20;
const LEFT_TIME: Duration = Duration::from_secs(2);

/// The first room for a body that announces more than came with its head: about what a connection's buffers take.
const FIRST_BYTES: usize = 8 * 1024;

/// Receives a whole body: 413 if it is too large, 408 if it comes too slowly, 503 if too much is being received.
///
/// What a body announces is held against the bound of one body, and nothing else: only what has come takes of the room
/// that all bodies share, so that announcing much and sending little shuts nobody out.
///
/// Dropping the future gives the body up.
pub(crate) async fn receive(gateway: &Gateway, mut body: Body) -> Result<Bytes> {
    let config = gateway.config();
    let announced = body.size_hint().lower();
    if announced > config.body_bytes as u64 {
        return Err(too_large(config.body_bytes, body).await);
    }
    let mut pace = None;
    let mut reserved = Reserved { all: gateway.body_bytes(), bytes: 0, max: config.bodies_bytes };
    let mut received = Received::default();
    loop {
        // Most bodies have come with their head, and need no clock; else one timer serves both bounds.
        let frame = match body.frame().now_or_never() {
            Some(frame) => Ok(frame),
            None => {
                let now = Instant::now();
                let pace = pace.get_or_insert_with(|| Pace::new(config, now, received.len()));
                if !pace.holds(now, received.len()) {
                    return Err(too_slow());
                }
                timeout_at(pace.due.min(now + config.body_idle), body.frame()).await
            }
        };
        let frame = match frame {
            Ok(None) => return Ok(received.finish()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                let detail = format!("the body broke off: {error}; send it again");
                return Err(Problem::new(Kind::BadRequest, detail));
            }
            Err(_) => return Err(too_slow()),
        };
        let Ok(data) = frame.into_data() else { continue };
        let total = received.len() + data.len();
        if total > config.body_bytes {
            drop(received);
            return Err(too_large(config.body_bytes, body).await);
        }
        reserved.grow(total)?;
        received.push(&data, usize::try_from(announced).unwrap_or(0));
    }
}

fn too_slow() -> Problem {
    Problem::new(Kind::RequestTimeout, "the body came too slowly; send it again over a faster way, or in parts")
}

/// How fast a body has to come: whole in its time, and in every window at least as much as what there is of it would
/// come in at an even pace. So whoever has sent much and goes on byte by byte does not keep the room for long.
struct Pace {
    due: Instant,
    time: Duration,
    window: Duration,
    window_end: Instant,
    /// Bytes that were there when the window began.
    before: usize,
}

impl Pace {
    fn new(config: &GatewayConfig, now: Instant, held: usize) -> Self {
        let (time, window) = (config.body_time, config.body_idle);
        Self { due: now + time, time, window, window_end: now + window, before: held }
    }

    /// Whether the window that is over, if one is, brought enough.
    fn holds(&mut self, now: Instant, held: usize) -> bool {
        if now < self.window_end {
            return true;
        }
        let share = self.window.as_millis().saturating_mul(self.before as u128) / self.time.as_millis().max(1);
        let brought = held - self.before;
        (self.window_end, self.before) = (now + self.window, held);
        brought as u128 >= share
    }
}

/// The body of an answer to `HEAD` by whoever does not know what a `GET` would give: it has no length, as that may not
/// be told as nothing (RFC 9110 section 8.6).
pub(crate) fn untold() -> Body {
    Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
}

/// Lends a request its body, to be taken back when the request is answered without its having been read; none if it
/// has none.
pub(crate) fn lend(request: &mut Request) -> Option<Lent> {
    if request.body().is_end_stream() {
        return None;
    }
    let lent = Lent(Arc::default());
    let body = std::mem::replace(request.body_mut(), Body::new(lent.clone()));
    lent.0.lock().body = Some(body);
    Some(lent)
}

/// Reads what is left of a body, within bounds; tells whether it came to its end.
///
/// A client that is still sending when the connection is closed may never see the answer, and the server closes a
/// connection on which something unread is to come.
pub(crate) async fn discard_left(left: Body) -> bool {
    discard(left, LEFT_BYTES_MAX, LEFT_TIME).await
}

/// A body that can be taken back from a handler which did not want it.
#[derive(Clone)]
pub(crate) struct Lent(Arc<Mutex<Loan>>);

#[derive(Default)]
struct Loan {
    body: Option<Body>,
    /// Somebody has begun to read it.
    asked_for: bool,
}

impl Lent {
    /// What there is still to read of it.
    pub(crate) fn take_left(&self) -> Option<Body> {
        self.0.lock().body.take().filter(|body| !body.is_end_stream())
    }

    /// Whether anything of it was read, or waited for.
    pub(crate) fn was_asked_for(&self) -> bool {
        self.0.lock().asked_for
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut loan = self.0.lock();
        loan.asked_for = true;
        match loan.body.as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

/// Reads a body to its end and keeps nothing of it; tells whether it came to its end.
async fn discard(mut body: Body, max: u64, time: Duration) -> bool {
    if body.size_hint().lower() > max {
        return false;
    }
    let rest = async {
        let mut n_bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            n_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if n_bytes > max {
                return false;
            }
        }
        true
    };
    timeout(time, rest).await.unwrap_or(false)
}

async fn too_large(max: usize, body: Body) -> Problem {
    let problem = Problem::new(Kind::TooLarge, format!("the hub takes bodies of up to {max} bytes; send it in parts"));
    if discard(body, TOO_LARGE_BYTES_MAX, TOO_LARGE_TIME).await {
        return problem;
    }
    problem.header("connection", "close")
}

/// What has come, in memory of its own.
///
/// A piece as it comes is a slice of the connection's read buffer. A message that kept it would keep that buffer too:
/// 8 KiB and more for however few bytes, and the connection would need a new buffer for every request.
#[derive(Default)]
struct Received(BytesMut);

impl Received {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, data: &[u8], announced: usize) {
        if self.0.is_empty() {
            self.0.reserve(announced.min(FIRST_BYTES).max(data.len()));
        }
        self.0.extend_from_slice(data);
    }

    fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// A share of what all bodies together may take.
struct Reserved<'a> {
    all: &'a Arc<AtomicUsize>,
    bytes: usize,
    max: usize,
}

impl Reserved<'_> {
    fn grow(&mut self, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        self.bytes += more;
        if self.all.fetch_add(more, Ordering::AcqRel) + more > self.max {
            let detail = "the hub is receiving as much as it can hold; send it again in a moment";
            return Err(Problem::new(Kind::Overloaded, detail));
        }
        Ok(())
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_received_does_not_hold_the_buffer_it_came_in() {
        let buffer = Bytes::from(vec![b'x'; 8192]);
        let mut received = Received::default();
        received.push(&buffer.slice(8000..8100), 100);
        received.push(&buffer.slice(..50), 100);
        assert!(buffer.is_unique());
        assert_eq!(received.finish(), buffer.slice(..150));
    }

    #[test]
    fn the_pace_is_that_of_a_body_that_comes_evenly() {
        let config = GatewayConfig::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut even = Pace::new(&config, start, 0);
        assert!((1..300).all(|i| even.holds(start + second * i, (16 << 20) / 300 * i as usize)));
        let mut stalls = Pace::new(&config, start, 3_000_000);
        assert!(stalls.holds(start + second * 9, 3_000_000));
        assert!(stalls.holds(start + second * 10, 3_100_000), "a thirtieth in 10 s of 300 s");
        assert!(!stalls.holds(start + second * 20, 3_100_001));
    }
}
