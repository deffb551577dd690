//! What time demands of a connection: pings, and an end to those that do not read, do not answer or do not close.

use std::sync::atomic::Ordering;

use quintet_wire::websocket as code;

use crate::websocket::close::Close;
use crate::websocket::doors::LimitsMs;
use crate::websocket::frame::{PING, write};
use crate::websocket::socket::out::{Out, Phase, Socket};
use crate::websocket::socket::pieces::Piece;

impl Socket {
    /// Does what is due, and tells when to look again; never, when the connection has ended.
    pub(crate) fn look_after(&self, now_ms: u64) -> Option<u64> {
        let limits = self.doors.limits_ms();
        let mut out = self.out.lock();
        let since_ms = match out.phase {
            Phase::Dead => return None,
            Phase::Closing { since_ms, written_ms } => {
                let end_ms = closing_end_ms(&out, limits, now_ms, since_ms, written_ms);
                return if now_ms >= end_ms { self.end(&mut out) } else { Some(end_ms) };
            }
            Phase::Finishing { since_ms } if now_ms < since_ms + limits.closing => {
                return Some(since_ms + limits.closing);
            }
            Phase::Finishing { .. } => {
                self.begin_close(&mut out, &Close::unfinished());
                self.task.wake();
                return Some(now_ms + limits.closing);
            }
            Phase::Open => out.stalled_since_ms,
        };
        if since_ms.is_some_and(|since_ms| now_ms >= since_ms + limits.stall) {
            // What is begun has to be finished; all else is for the client's next connection.
            out.pieces.cut();
            self.begin_close(&mut out, &Close::new(code::SLOW, "the client does not read; reconnect with your cursor"));
            self.task.wake();
            return Some(now_ms + limits.closing);
        }
        if out.stopping_since_ms.is_some_and(|since_ms| now_ms >= since_ms + limits.goodbye) {
            self.begin_close(&mut out, &Close::going_away());
            self.task.wake();
            return Some(now_ms + limits.closing);
        }
        let heard_ms = self.heard_ms.load(Ordering::Relaxed).min(now_ms);
        if now_ms >= heard_ms + limits.silence {
            return self.end(&mut out);
        }
        let pinged = out.pinged_at_heard_ms == Some(heard_ms);
        if now_ms >= heard_ms + limits.ping && !pinged {
            out.pinged_at_heard_ms = Some(heard_ms);
            self.ping(&mut out);
        }
        let quiet = if out.pinged_at_heard_ms == Some(heard_ms) { limits.silence } else { limits.ping };
        // One that stalls after this look is to be noticed in time too.
        let stalled = since_ms.unwrap_or(now_ms) + limits.stall;
        let stopping = out.stopping_since_ms.map_or(u64::MAX, |since_ms| since_ms + limits.goodbye);
        Some(stalled.min(stopping).min(heard_ms + quiet))
    }

    /// The hub is stopping.
    pub(crate) fn stop(&self) {
        self.out.lock().stopping_since_ms.get_or_insert(self.doors.now_ms());
        self.task.wake();
    }

    fn end(&self, out: &mut Out) -> Option<u64> {
        out.phase = Phase::Dead;
        self.task.wake();
        None
    }

    /// A client that does not even take what is there needs no ping: it is stalled.
    fn ping(&self, out: &mut Out) {
        if out.pieces.is_empty() {
            out.pieces.push(Piece::frame(write::frame(PING, b""), false));
            self.flush(out, None);
            self.task.wake();
        }
    }
}

/// When a connection that closes is over. The client has its time to answer from when it can have read the close frame;
/// while it takes what lies before that, it goes on, unless the hub itself is about to end.
fn closing_end_ms(out: &Out, limits: LimitsMs, now_ms: u64, since_ms: u64, written_ms: Option<u64>) -> u64 {
    if let Some(written_ms) = written_ms {
        return written_ms + limits.closing;
    }
    let stalled_ms = out.stalled_since_ms.unwrap_or(now_ms) + limits.stall;
    let stopping = out.stopping_since_ms.map(|stopping_ms| stopping_ms.max(since_ms) + limits.closing);
    stopping.map_or(stalled_ms, |stopping_ms| stopping_ms.min(stalled_ms))
}
