//! A subscription's deliveries, written straight to the session's socket: a beginning of its own, and the part that
//! all subscriptions share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use quintet_core::batch::Batch;
use quintet_core::cursor::{Cursor, Position};
use quintet_core::error::Kind;
use quintet_core::fanout::{Delivery, Sink, Taken};
use quintet_core::following::Selection;
use quintet_core::name::Filter;
use quintet_wire::session::delivery;
use quintet_wire::token;

use crate::convert;
use crate::error::Problem;
use crate::websocket::encode;
use crate::websocket::socket::{Frames, Socket};

const SHUT: u8 = 0;
const OPEN: u8 = 1;
const CANCELLED: u8 = 2;

/// What a session and its sink share: whether deliveries may be written.
pub(crate) struct Gate {
    number: u32,
    state: AtomicU8,
    /// What has to be told before the gate is open.
    held: Mutex<Vec<Bytes>>,
}

impl Gate {
    /// A gate that is shut.
    pub(crate) fn new(number: u32) -> Self {
        Self { number, state: AtomicU8::new(SHUT), held: Mutex::default() }
    }

    /// The subscription's number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Lets deliveries through, behind what is to be written already.
    pub(crate) fn open(&self, socket: &Socket) {
        let mut held = self.held.lock();
        for frame in std::mem::take(&mut *held) {
            socket.send_frame(frame, false);
        }
        self.state.store(OPEN, Ordering::Release);
    }

    /// Whether something has to be told that could not be yet.
    pub(crate) fn holds_notice(&self) -> bool {
        !self.held.lock().is_empty()
    }

    /// For a sink: tells something, also before the gate is open.
    pub(crate) fn notice(&self, socket: &Socket, frame: Bytes) -> Taken {
        let mut held = self.held.lock();
        if self.state() == SHUT {
            held.push(frame);
            return Taken::YesAndFull;
        }
        drop(held);
        socket.notice(self.number, frame, || self.is_open())
    }

    /// Whether deliveries may be written.
    pub(crate) fn is_open(&self) -> bool {
        self.state() == OPEN
    }

    /// Whether the session has not answered yet.
    pub(crate) fn is_shut(&self) -> bool {
        self.state() == SHUT
    }

    /// Lets nothing through any more.
    pub(crate) fn cancel(&self) {
        self.state.store(CANCELLED, Ordering::Release);
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }
}

/// The sink of one subscription.
pub(crate) struct SubscriptionSink {
    socket: Arc<Socket>,
    gate: Arc<Gate>,
    /// With a filter: where it stands in each log.
    filter: Option<Box<Filtered>>,
}

struct Filtered {
    filter: Filter,
    cursor: Cursor,
}

impl SubscriptionSink {
    /// A sink that begins at a cursor.
    pub(crate) fn new(socket: Arc<Socket>, gate: Arc<Gate>, selection: &Selection, cursor: Cursor) -> Self {
        let filter = match selection {
            Selection::Topic(_) => None,
            Selection::Filter(filter) => Some(Box::new(Filtered { filter: filter.clone(), cursor })),
        };
        Self { socket, gate, filter }
    }

    /// The subscription's cursor behind a position.
    fn cursor_at(&self, position: Position) -> token::Cursor {
        match &self.filter {
            None => convert::token(position).into(),
            Some(filtered) => {
                let mut cursor = filtered.cursor.clone();
                cursor.advance(position);
                convert::wire_cursor(&cursor)
            }
        }
    }

    fn moved(&mut self, position: Position, taken: Taken) {
        if let (Some(filtered), Taken::Yes | Taken::YesAndFull) = (&mut self.filter, taken) {
            filtered.cursor.advance(position);
        }
    }

    fn messages(&mut self, batch: &Batch) -> Taken {
        let body = encode::shared_messages(&self.socket.doors, batch);
        let next = self.cursor_at(batch.next());
        let number = self.gate.number;
        let fill = |out: &mut Vec<u8>| {
            delivery::prefix(out, u64::from(number));
            out.extend_from_slice(b"\"next\":\"");
            next.write(out);
            out.extend_from_slice(b"\",");
        };
        let taken = encode::with_head(body.len(), fill, |head| {
            self.socket.offer(number, Frames { head, body: &body }, || self.gate.is_open())
        });
        self.moved(batch.next(), taken);
        taken
    }

    fn notice(&self, write: impl FnOnce(&mut Vec<u8>)) -> Taken {
        let number = self.gate.number;
        let frame = encode::text_frame(|out| {
            delivery::prefix(out, u64::from(number));
            write(out);
        });
        self.gate.notice(&self.socket, frame)
    }

    /// The last delivery of a topic's subscription.
    fn last(&self, write: impl FnOnce(&mut Vec<u8>)) -> Taken {
        let taken = self.notice(write);
        self.socket.ended(self.gate.number);
        taken
    }

    fn failed(&self, error: &quintet_core::error::Error) -> Taken {
        if *error.kind() == Kind::ShuttingDown {
            self.socket.stop();
            return Taken::Gone;
        }
        let problem = Problem::from(error);
        self.last(|out| {
            out.extend_from_slice(b"\"error\":");
            out.extend_from_slice(&problem.object().to_json());
            out.push(b'}');
        })
    }
}

impl Sink for SubscriptionSink {
    fn deliver(&mut self, delivered: &Delivery) -> Taken {
        let is_notice = matches!(delivered, Delivery::Gap { .. } | Delivery::Failed(_));
        if self.gate.is_shut() && !is_notice {
            // The session says that it is ready when it has answered.
            return Taken::No;
        }
        match delivered {
            Delivery::Messages { batch, closed, .. } => {
                let taken = self.messages(batch);
                let last = batch.messages().last();
                if let Some(last) = last.filter(|_| *closed && matches!(taken, Taken::Yes | Taken::YesAndFull)) {
                    let (topic, at) = (last.topic.as_str(), convert::token(batch.next()));
                    return self.last(|out| delivery::closed(out, topic, at));
                }
                taken
            }
            Delivery::Closed { topic, at } => {
                let write = |out: &mut Vec<u8>| delivery::closed(out, topic.as_str(), convert::token(*at));
                let taken = if self.filter.is_none() { self.last(write) } else { self.notice(write) };
                self.moved(*at, taken);
                taken
            }
            Delivery::Deleted { topic, at } => {
                let write = |out: &mut Vec<u8>| delivery::deleted(out, topic.as_str());
                let taken = if self.filter.is_none() { self.last(write) } else { self.notice(write) };
                self.moved(*at, taken);
                taken
            }
            Delivery::Gap { topic, first_available, at } => {
                // A filter goes on from its own cursor: other topics have messages before `first_available`.
                let cursor = match self.filter {
                    None => convert::token(*first_available).into(),
                    Some(_) => self.cursor_at(*at),
                };
                let all = self.filter.as_ref().map_or("", |filtered| filtered.filter.as_str());
                let topic = topic.as_ref().map_or(all, |topic| topic.as_str());
                let taken = self.notice(|out| delivery::gap(out, topic, &cursor));
                self.moved(*at, taken);
                taken
            }
            Delivery::Failed(error) => self.failed(error),
        }
    }
}
