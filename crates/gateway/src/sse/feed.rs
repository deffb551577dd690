//! The place where a fan-out shard leaves bytes for one stream until its connection takes them.
//!
//! It is not a queue: it holds one delivery, or a few small ones. A stream that does not take them leaves the feed
//! full, and its cursor lags in the log.
//!
//! Where the connection is not hyper's ([`crate::serve::lean`]), the shard writes straight to its line instead,
//! without waking anybody, whenever the stream has nothing of its own under way.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use quintet_core::cursor::Position;
use quintet_core::fanout::{Delivery, Sink, Taken};
use smallvec::SmallVec;

use crate::serve::lean::line::{Attach, Line, Sent, Tap};

/// Bytes at which a feed counts as full.
const FULL_BYTES: usize = 16 * 1024;

/// How deliveries become bytes.
pub(crate) trait Framing: fmt::Debug + Send + Sync + 'static {
    /// Appends what a delivery is on the wire; shared bytes and a stream's own are separate pieces.
    fn frame(&self, delivery: &Delivery, pieces: &mut Pieces) -> Flow;
}

/// Bytes to be written one after the other.
pub(crate) type Pieces = SmallVec<[Bytes; 2]>;

/// Whether a stream goes on behind a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// More may come; the reader now stands here.
    On(Position),
    /// It ends.
    End,
}

#[derive(Debug)]
struct Slot {
    pieces: Pieces,
    bytes: usize,
    /// Behind what has been left here.
    position: Position,
    waker: Option<Waker>,
    /// The shard waits to be told that there is room again.
    full: bool,
    /// Nothing will follow.
    ended: bool,
    reader_gone: bool,
    /// Where the shard may write itself.
    line: Option<Arc<Line>>,
    /// The stream has bytes that are not written yet, so that nothing may be written past it.
    lent: bool,
}

/// The shard's end.
#[derive(Debug)]
pub(crate) struct FeedSink {
    slot: Arc<Mutex<Slot>>,
    framing: Arc<dyn Framing>,
}

/// The stream's end. Dropping it ends the follower.
#[derive(Debug)]
pub(crate) struct Feed {
    slot: Arc<Mutex<Slot>>,
}

/// What a stream finds in its feed.
pub(crate) enum Taking {
    /// Bytes, and whether the shard has to be told that there is room.
    Pieces(Pieces, bool),
    /// The end.
    End,
}

/// A feed that already holds these bytes.
pub(crate) fn feed(framing: Arc<dyn Framing>, opening: Bytes, position: Position) -> (FeedSink, Feed) {
    let slot = Slot {
        pieces: Some(opening).filter(|opening| !opening.is_empty()).into_iter().collect(),
        bytes: 0,
        position,
        waker: None,
        full: false,
        ended: false,
        reader_gone: false,
        line: None,
        lent: true,
    };
    let slot = Arc::new(Mutex::new(slot));
    (FeedSink { slot: Arc::clone(&slot), framing }, Feed { slot })
}

impl Sink for FeedSink {
    fn deliver(&mut self, delivery: &Delivery) -> Taken {
        {
            let slot = self.slot.lock();
            if slot.reader_gone || slot.ended {
                return Taken::Gone;
            }
            if slot.full {
                return Taken::No;
            }
        }
        // Made outside of the lock: only this end adds pieces, and the first of a batch's readers encodes it here.
        let mut pieces = Pieces::new();
        let flow = self.framing.frame(delivery, &mut pieces);
        let mut slot = self.slot.lock();
        let sent = slot.send(&pieces);
        match flow {
            Flow::On(position) => slot.position = position,
            Flow::End => slot.ended = true,
        }
        match sent {
            Sent::All if !slot.ended => return Taken::Yes,
            Sent::All => {}
            Sent::Begun => slot.full = true,
            Sent::Not => {
                slot.bytes += pieces.iter().map(Bytes::len).sum::<usize>();
                slot.pieces.append(&mut pieces);
                slot.full = slot.bytes >= FULL_BYTES;
            }
            Sent::Dead => slot.ended = true,
        }
        let taken = if slot.full || slot.ended { Taken::YesAndFull } else { Taken::Yes };
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
        taken
    }
}

impl Drop for FeedSink {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.ended = true;
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Slot {
    /// Past the stream, if it has nothing that comes first.
    fn send(&self, pieces: &Pieces) -> Sent {
        match &self.line {
            Some(line) if self.pieces.is_empty() && !self.lent => line.try_send(pieces),
            _ => Sent::Not,
        }
    }

    fn take(&mut self) -> (Pieces, bool) {
        self.bytes = 0;
        self.lent = true;
        (std::mem::take(&mut self.pieces), std::mem::take(&mut self.full))
    }
}

impl Attach for Mutex<Slot> {
    fn attach(&self, line: Arc<Line>) {
        self.lock().line = Some(line);
    }
}

impl Feed {
    /// Where a line can be attached.
    pub(crate) fn tap(&self) -> Tap {
        let slot: Arc<Mutex<Slot>> = Arc::clone(&self.slot);
        Tap(slot)
    }

    /// What has been left, or the end. Whoever polls has written all that was taken before.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taking> {
        let mut slot = self.slot.lock();
        if !slot.pieces.is_empty() || slot.full {
            let (pieces, was_full) = slot.take();
            return Poll::Ready(Taking::Pieces(pieces, was_full));
        }
        if slot.ended {
            return Poll::Ready(Taking::End);
        }
        slot.lent = false;
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// For a stream that has something to say itself: what has been left meanwhile, as of [`Taking::Pieces`], and where
    /// the reader stands behind that. Nothing passes the stream until it is polled again.
    pub(crate) fn interrupt(&self) -> (Pieces, bool, Position) {
        let mut slot = self.slot.lock();
        let (pieces, was_full) = slot.take();
        (pieces, was_full, slot.position)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.reader_gone = true;
        slot.pieces.clear();
        slot.line = None;
    }
}
