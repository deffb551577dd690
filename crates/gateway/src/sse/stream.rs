//! A response body that hands on what its feed holds, tells its cursor when nothing happens, and ends in time.
//!
//! It is polled by the connection and has no task of its own.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http_body::Frame;
use quintet_core::cursor::Position;
use quintet_core::fanout::FollowerHandle;
use quintet_core::presence::PresenceGuard;
use quintet_wire::content;
use tokio::time::{Instant, sleep_until};

use crate::http::topics::set;
use crate::sse::feed::{Feed, Pieces, Taking};
use crate::state::Shutdown;

/// What a stream says on its own account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    /// What is said when nothing has happened for a while.
    pub(crate) heartbeat: fn(Position) -> Bytes,
    /// What is said when the doors close.
    pub(crate) farewell: fn(Position, retry: Duration) -> Bytes,
    /// How often the heartbeat comes.
    pub(crate) every: Duration,
    /// What a client is asked to wait before it comes back.
    pub(crate) retry: Duration,
    /// When the stream ends, so that its reader comes back through a cache.
    pub(crate) rotation: Option<Duration>,
}

type Alarm = Pin<Box<dyn Future<Output = Ring> + Send>>;

/// Why a stream that has nothing to hand on is woken.
enum Ring {
    Heartbeat,
    Rotation,
    Shutdown,
}

struct EventStream {
    feed: Feed,
    handle: FollowerHandle,
    /// Its reader is on the topic for as long as the stream is open.
    _guard: Option<PresenceGuard>,
    voice: Voice,
    shutdown: Shutdown,
    rotate_at: Option<Instant>,
    alarm: Alarm,
    /// Taken from the feed, in reverse.
    taken: Pieces,
    ending: bool,
}

/// The response whose body is this stream.
pub(crate) fn response(
    feed: Feed,
    handle: FollowerHandle,
    guard: Option<PresenceGuard>,
    voice: Voice,
    shutdown: &Shutdown,
) -> Response {
    let rotate_at = voice.rotation.map(|rotation| Instant::now() + rotation);
    let shutdown = shutdown.clone();
    let alarm = alarm(&shutdown, voice.every, rotate_at);
    let (taken, ending) = (Pieces::new(), false);
    let stream = EventStream { feed, handle, _guard: guard, voice, shutdown, rotate_at, alarm, taken, ending };
    let tap = stream.feed.tap();
    let mut response = events(Body::new(stream));
    response.extensions_mut().insert(tap);
    response
}

/// A response of events.
pub(crate) fn events(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content::EVENTS));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.append(VARY, HeaderValue::from_static("Accept"));
    // Proxies of the nginx kind hold answers back unless told otherwise.
    set(headers, "x-accel-buffering", "no");
    response
}

fn alarm(shutdown: &Shutdown, every: Duration, rotate_at: Option<Instant>) -> Alarm {
    let heartbeat_at = Instant::now() + every;
    let rotates = rotate_at.is_some_and(|at| at <= heartbeat_at);
    let at = rotate_at.map_or(heartbeat_at, |at| at.min(heartbeat_at));
    let begun = shutdown.begun();
    Box::pin(async move {
        tokio::select! {
            () = begun => Ring::Shutdown,
            () = sleep_until(at) => if rotates { Ring::Rotation } else { Ring::Heartbeat },
        }
    })
}

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.taken.pop() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.ending {
                return Poll::Ready(None);
            }
            match this.feed.poll_take(cx) {
                Poll::Ready(Taking::Pieces(pieces, was_full)) => {
                    this.taken = pieces;
                    this.taken.reverse();
                    if was_full {
                        this.handle.ready();
                    }
                    continue;
                }
                Poll::Ready(Taking::End) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let ring = ready!(this.alarm.as_mut().poll(cx));
            // What has come in this instant goes first: a cursor may not be told before what lies before it.
            let (pieces, was_full, at) = this.feed.interrupt();
            this.taken = pieces;
            if was_full {
                this.handle.ready();
            }
            let bytes = match ring {
                Ring::Heartbeat => {
                    this.alarm = alarm(&this.shutdown, this.voice.every, this.rotate_at);
                    (this.voice.heartbeat)(at)
                }
                Ring::Rotation => return Poll::Ready(None),
                Ring::Shutdown => {
                    this.ending = true;
                    (this.voice.farewell)(at, this.voice.retry)
                }
            };
            this.taken.push(bytes);
            this.taken.retain(|bytes| !bytes.is_empty());
            this.taken.reverse();
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("feed", &self.feed).finish_non_exhaustive()
    }
}
