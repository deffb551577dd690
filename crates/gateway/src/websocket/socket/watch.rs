//! What time demands of a connection: pings, and an end to those that do not read, do not answer or do not close.

use std::sync::atomic::Ordering;

use quintet_wire::websocket as code;

use crate::websocket::close::Close;
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
            Phase::Closing { since_ms } if now_ms >= since_ms + limits.closing => return self.end(&mut out),
            Phase::Closing { since_ms } => return Some(since_ms + limits.closing),
            Phase::Open => out.stalled_since_ms,
        };
        if since_ms.is_some_and(|since_ms| now_ms >= since_ms + limits.stall) {
            // What is begun has to be finished; all else is for the client's next connection.
            out.pieces.cut();
            self.begin_close(&mut out, &Close::new(code::SLOW, "the client does not read; reconnect with your cursor"));
            self.task.wake();
            return Some(now_ms + limits.closing);
        }
        if out.stopping_since_ms.is_some_and(|since_ms| now_ms >= since_ms + limits.closing) {
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
        let stopping = out.stopping_since_ms.map_or(u64::MAX, |since_ms| since_ms + limits.closing);
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
