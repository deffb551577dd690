//! The place where a fan-out shard leaves bytes for one stream until its connection takes them.
//!
//! It is not a queue: it holds one delivery, or a few small ones. A stream that does not take them leaves the feed
//! full, and its cursor lags in the log.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use quintet_core::cursor::Position;
use quintet_core::fanout::{Delivery, Sink, Taken};
use smallvec::SmallVec;

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

#[derive(Debug, Default)]
struct Slot {
    pieces: Pieces,
    bytes: usize,
    /// Behind what has been left here.
    position: Option<Position>,
    waker: Option<Waker>,
    /// The shard waits to be told that there is room again.
    full: bool,
    /// Nothing will follow.
    ended: bool,
    reader_gone: bool,
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
    let mut slot = Slot { position: Some(position), ..Slot::default() };
    if !opening.is_empty() {
        slot.pieces.push(opening);
    }
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
        slot.bytes += pieces.iter().map(Bytes::len).sum::<usize>();
        slot.pieces.append(&mut pieces);
        match flow {
            Flow::On(position) => slot.position = Some(position),
            Flow::End => slot.ended = true,
        }
        slot.full = slot.bytes >= FULL_BYTES;
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

impl Feed {
    /// What has been left, or the end.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taking> {
        let mut slot = self.slot.lock();
        if !slot.pieces.is_empty() {
            slot.bytes = 0;
            let was_full = std::mem::take(&mut slot.full);
            return Poll::Ready(Taking::Pieces(std::mem::take(&mut slot.pieces), was_full));
        }
        if slot.ended {
            return Poll::Ready(Taking::End);
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Where the reader stands behind all that has been taken.
    pub(crate) fn position(&self) -> Position {
        self.slot.lock().position.unwrap_or(Position::START)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.reader_gone = true;
        slot.pieces.clear();
    }
}
