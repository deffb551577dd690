//! Writing by sinks, from the fan-out shards: at once or not at all, without waiting.

use std::io::IoSlice;

use bytes::Bytes;
use parking_lot::MutexGuard;
use quintet_core::fanout::Taken;

use crate::websocket::socket::out::{Flushed, Out, Phase, Socket, is_passing};
use crate::websocket::socket::pieces::Piece;

/// Frames that a sink has: a head of its own, and a body that is shared. With a head, both are one frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a Bytes,
}

impl Socket {
    /// For a sink: writes a follower's frames, or keeps them as the unfinished piece. `is_wanted` is asked when
    /// nothing else can come in between any more.
    pub(crate) fn offer(&self, follower: u32, frames: Frames<'_>, is_wanted: impl FnOnce() -> bool) -> Taken {
        let mut out = self.out.lock();
        if out.phase != Phase::Open || !is_wanted() {
            return refused(&out);
        }
        if frames.head.is_empty() && frames.body.is_empty() {
            return Taken::Yes;
        }
        if !out.pieces.is_empty() || out.unflushed {
            match self.flush(&mut out, None) {
                Flushed::All if out.phase == Phase::Open => {}
                Flushed::Blocked => {
                    out.full.push(follower);
                    drop(out);
                    self.task.wake();
                    return Taken::No;
                }
                Flushed::All | Flushed::Dead => return self.died(&out),
            }
        }
        let slices = [IoSlice::new(frames.head), IoSlice::new(frames.body)];
        let slices = if frames.head.is_empty() { &slices[1..] } else { &slices[..] };
        let written = match self.transport.try_write(slices) {
            Ok(n) => n,
            Err(error) if is_passing(&error) => 0,
            Err(_) => {
                self.broken(&mut out);
                return self.died(&out);
            }
        };
        if written == frames.head.len() + frames.body.len() && self.flush(&mut out, None) == Flushed::All {
            return Taken::Yes;
        }
        self.keep(out, follower, frames, written)
    }

    fn keep(&self, mut out: MutexGuard<'_, Out>, follower: u32, frames: Frames<'_>, written: usize) -> Taken {
        if self.doors.unsent().is_exceeded() {
            tracing::warn!("a client that does not read loses its connection: too much is held for such clients");
            out.phase = Phase::Dead;
            return self.died(&out);
        }
        if written < frames.head.len() + frames.body.len() {
            let head = Bytes::copy_from_slice(frames.head);
            out.pieces.push(Piece { head, body: frames.body.clone(), written, is_answer: false });
        }
        out.stalled_since_ms = Some(self.doors.now_ms());
        out.full.push(follower);
        drop(out);
        self.task.wake();
        Taken::YesAndFull
    }

    /// For a sink: a small frame that is taken even if others are not written yet.
    pub(crate) fn notice(&self, follower: u32, frame: Bytes, is_wanted: impl FnOnce() -> bool) -> Taken {
        let mut out = self.out.lock();
        if out.phase != Phase::Open || !is_wanted() {
            return refused(&out);
        }
        out.pieces.push(Piece::frame(frame, false));
        match self.flush(&mut out, None) {
            Flushed::All => Taken::Yes,
            Flushed::Blocked => {
                out.full.push(follower);
                drop(out);
                self.task.wake();
                Taken::YesAndFull
            }
            Flushed::Dead => self.died(&out),
        }
    }

    /// For a sink: the follower has had its last delivery.
    pub(crate) fn ended(&self, follower: u32) {
        self.out.lock().ended.push(follower);
        self.task.wake();
    }

    fn died(&self, out: &Out) -> Taken {
        self.task.wake();
        refused(out)
    }
}

/// What is refused while the connection finishes is not taken, but still waits for this follower: what a consumer holds
/// is its own until its last acknowledgements are dealt with.
fn refused(out: &Out) -> Taken {
    if matches!(out.phase, Phase::Finishing { .. }) { Taken::No } else { Taken::Gone }
}
