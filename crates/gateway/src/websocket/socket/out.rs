//! The state, and writing by the connection's task. How sinks write is in `offer`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::websocket::close::Close;
use crate::websocket::doors::Doors;
use crate::websocket::frame::{TEXT, write};
use crate::websocket::socket::pieces::{Piece, Pieces};
use crate::websocket::transport::Transport;

/// Answers larger than this are counted against what all connections may hold.
const COUNTED_BYTES_MIN: usize = 4 * 1024;

/// A connection, as everyone sees it who writes to it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    pub(crate) out: Mutex<Out>,
    /// The connection's task.
    pub(crate) task: AtomicWaker,
    /// When something came from the client last, by the doors' clock; `u64::MAX` while the hub itself does not read.
    pub(crate) heard_ms: AtomicU64,
    pub(crate) doors: Arc<Doors>,
}

#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) pieces: Pieces,
    pub(crate) phase: Phase,
    /// Writing has failed: nothing reaches the client any more, though what it has sent can still be read.
    pub(crate) lost: bool,
    /// The transport holds bytes back that have to be flushed.
    pub(crate) unflushed: bool,
    /// Since when the hub is stopping.
    pub(crate) stopping_since_ms: Option<u64>,
    /// Since when nothing of the pieces could be written.
    pub(crate) stalled_since_ms: Option<u64>,
    /// What `heard_ms` was when the client was pinged.
    pub(crate) pinged_at_heard_ms: Option<u64>,
    /// Followers that were told that the connection is full.
    pub(crate) full: Vec<u32>,
    /// Followers that have had their last delivery.
    pub(crate) ended: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The client has closed, or takes nothing any more; what it has sent before is being dealt with. Only answers to
    /// that are still written.
    Finishing {
        since_ms: u64,
    },
    /// The close frame is written or among the pieces; nothing else may follow it.
    Closing {
        since_ms: u64,
        written_ms: Option<u64>,
    },
    Dead,
}

/// How far flushing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All is written.
    All,
    /// The task is woken when more can be written.
    Blocked,
    /// The connection is of no more use.
    Dead,
}

impl Socket {
    pub(crate) fn new(transport: Transport, doors: Arc<Doors>) -> Arc<Self> {
        let out = Out {
            pieces: Pieces::default(),
            phase: Phase::Open,
            lost: false,
            unflushed: false,
            stopping_since_ms: None,
            stalled_since_ms: None,
            pinged_at_heard_ms: None,
            full: Vec::new(),
            ended: Vec::new(),
        };
        let heard_ms = AtomicU64::new(doors.now_ms());
        Arc::new(Self { transport, out: Mutex::new(out), task: AtomicWaker::new(), heard_ms, doors })
    }

    /// For the task: a text frame that is written at its next flush.
    pub(crate) fn send(&self, text: &str, is_answer: bool) {
        let mut frame = Vec::with_capacity(write::HEADER_BYTES_MAX + text.len());
        write::push_header(&mut frame, TEXT, text.len());
        frame.extend_from_slice(text.as_bytes());
        let counted = frame.len() >= COUNTED_BYTES_MIN;
        if counted && self.doors.unsent().is_exceeded() {
            self.kill();
            return;
        }
        let frame = if counted { self.doors.unsent().count(frame) } else { frame.into() };
        self.send_frame(frame, is_answer);
    }

    /// For the task: any frame.
    pub(crate) fn send_frame(&self, frame: Bytes, is_answer: bool) {
        let mut out = self.out.lock();
        if matches!(out.phase, Phase::Open | Phase::Finishing { .. }) {
            out.push(Piece::frame(frame, is_answer));
        }
    }

    /// Closes, from anywhere: behind what is there already, and nothing comes behind it. A client that has closed is
    /// answered instead when what it has sent is dealt with.
    pub(crate) fn close(&self, close: &Close) {
        let mut out = self.out.lock();
        if out.phase == Phase::Open {
            self.begin_close(&mut out, close);
            drop(out);
            self.task.wake();
        }
    }

    /// For the task: something that the client has sent cannot be done. That is said to a client that has closed too.
    pub(crate) fn fail(&self, close: &Close) {
        let mut out = self.out.lock();
        if matches!(out.phase, Phase::Open | Phase::Finishing { .. }) {
            self.begin_close(&mut out, close);
        }
    }

    /// For the task: the client has closed, or is gone.
    pub(crate) fn begin_to_finish(&self) {
        self.finish_from(&mut self.out.lock());
    }

    /// For the task: the answer to the client's close frame.
    pub(crate) fn echo_close(&self, frame: Bytes) {
        let mut out = self.out.lock();
        if matches!(out.phase, Phase::Finishing { .. }) {
            self.close_with(&mut out, frame);
        }
    }

    /// For the task: the end.
    pub(crate) fn finish(&self) {
        self.out.lock().phase = Phase::Dead;
        self.transport.shut_down();
    }

    pub(crate) fn begin_close(&self, out: &mut Out, close: &Close) {
        self.close_with(out, write::close(close.code, &close.reason));
    }

    fn close_with(&self, out: &mut Out, frame: Bytes) {
        out.push(Piece::frame(frame, false));
        out.phase = Phase::Closing { since_ms: self.doors.now_ms(), written_ms: None };
    }

    fn finish_from(&self, out: &mut Out) {
        if out.phase == Phase::Open {
            out.phase = Phase::Finishing { since_ms: self.doors.now_ms() };
        }
    }

    /// The connection is broken.
    pub(crate) fn kill(&self) {
        self.out.lock().phase = Phase::Dead;
        self.task.wake();
    }

    /// For the task: writes what there is, or is woken when it can be.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Flushed {
        let mut out = self.out.lock();
        if out.phase == Phase::Dead {
            return Flushed::Dead;
        }
        self.flush(&mut out, Some(cx))
    }

    /// For the task, when all is written: the followers that can go on.
    pub(crate) fn take_full(&self) -> Vec<u32> {
        std::mem::take(&mut self.out.lock().full)
    }

    /// For the task: the followers that have ended.
    pub(crate) fn take_ended(&self) -> Vec<u32> {
        std::mem::take(&mut self.out.lock().ended)
    }

    /// Answers that are not written yet.
    pub(crate) fn n_answers(&self) -> usize {
        self.out.lock().pieces.n_answers()
    }

    /// Their bytes.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.out.lock().pieces.answer_bytes()
    }

    /// Whether the close frame is on its way.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.out.lock().phase, Phase::Closing { .. } | Phase::Dead)
    }

    /// Whether only what the client has sent before is still being dealt with.
    pub(crate) fn is_finishing(&self) -> bool {
        matches!(self.out.lock().phase, Phase::Finishing { .. })
    }

    /// Whether the hub is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        self.out.lock().stopping_since_ms.is_some()
    }

    /// For the task: something came from the client.
    pub(crate) fn heard(&self) {
        self.heard_ms.store(self.doors.now_ms(), Ordering::Relaxed);
    }

    /// The client has made room, so it is there, whether it says something or not.
    fn took(&self) {
        self.heard_ms.fetch_max(self.doors.now_ms(), Ordering::Relaxed);
    }

    /// For the task: it does not read now, so that silence means nothing.
    pub(crate) fn not_listening(&self) {
        self.heard_ms.store(u64::MAX, Ordering::Relaxed);
    }

    /// For the task: it reads again.
    pub(crate) fn listening(&self) {
        if self.heard_ms.load(Ordering::Relaxed) == u64::MAX {
            self.heard();
        }
    }

    /// Nothing is left to be flushed of a connection that is lost.
    pub(crate) fn flush(&self, out: &mut Out, mut cx: Option<&mut Context<'_>>) -> Flushed {
        if out.lost {
            return Flushed::All;
        }
        let by_task = cx.is_some();
        while !out.pieces.is_empty() {
            let written = out.pieces.write(|slices| match &mut cx {
                None => self.transport.try_write(slices),
                Some(cx) => match self.transport.poll_write(cx, slices) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                },
            });
            match written {
                Ok(n) => {
                    out.pieces.advance(n);
                    out.unflushed = true;
                    if out.stalled_since_ms.take().is_some() {
                        self.took();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => return self.blocked(out),
                Err(_) => return self.broken(out),
            }
        }
        let flushed = match cx {
            None => self.transport.try_flush(),
            Some(cx) => match self.transport.poll_flush(cx) {
                Poll::Ready(flushed) => flushed.map(|()| true),
                Poll::Pending => Ok(false),
            },
        };
        match flushed {
            Ok(true) => {
                out.unflushed = false;
                out.stalled_since_ms = None;
                if let Phase::Closing { written_ms: written_ms @ None, .. } = &mut out.phase {
                    *written_ms = Some(self.doors.now_ms());
                }
                if !by_task && !out.full.is_empty() {
                    // A sink was faster than the task, which has followers to tell that there is room again.
                    self.task.wake();
                }
                Flushed::All
            }
            Ok(false) => {
                out.unflushed = true;
                self.blocked(out)
            }
            Err(_) => self.broken(out),
        }
    }

    fn blocked(&self, out: &mut Out) -> Flushed {
        if out.stalled_since_ms.is_none() {
            out.stalled_since_ms = Some(self.doors.now_ms());
        }
        Flushed::Blocked
    }

    /// Writing has failed. What the client had sent before may wait to be read, or be under way.
    pub(crate) fn broken(&self, out: &mut Out) -> Flushed {
        self.finish_from(out);
        if !matches!(out.phase, Phase::Finishing { .. }) {
            out.phase = Phase::Dead;
            return Flushed::Dead;
        }
        out.lost = true;
        out.pieces = Pieces::default();
        self.task.wake();
        Flushed::All
    }
}

impl Out {
    fn push(&mut self, piece: Piece) {
        if !self.lost {
            self.pieces.push(piece);
        }
    }
}

/// Whether a write may succeed later.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
