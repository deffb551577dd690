//! Deliveries of one topic, written straight to its socket.

use std::sync::Arc;

use bytes::Bytes;
use quintet_core::batch::Batch;
use quintet_core::error::Kind;
use quintet_core::fanout::{Delivery, Sink, Taken};
use quintet_wire::session::delivery;
use quintet_wire::websocket as code;

use crate::convert::token;
use crate::error::Problem;
use crate::websocket::close::Close;
use crate::websocket::encode;
use crate::websocket::raw::protocol::Frames;
use crate::websocket::socket::{Frames as Written, Socket};

/// A connection has one follower; its number says nothing.
const FOLLOWER: u32 = 0;

/// The sink of a topic's WebSocket.
pub(crate) struct RawSink {
    socket: Arc<Socket>,
    frames: Frames,
}

impl RawSink {
    pub(crate) fn new(socket: Arc<Socket>, frames: Frames) -> Self {
        Self { socket, frames }
    }

    fn messages(&self, batch: &Batch) -> Taken {
        let doors = &self.socket.doors;
        let body = match self.frames {
            Frames::Payloads => encode::payloads(doors, batch),
            Frames::Envelopes => encode::envelopes(doors, batch),
        };
        self.socket.offer(FOLLOWER, Written { head: &[], body: &body }, || true)
    }

    /// With envelopes, what happened is told in a frame; with payloads the close code has to say it all.
    fn notice(&self, write: impl FnOnce(&mut Vec<u8>)) -> Taken {
        match self.frames {
            Frames::Payloads => Taken::Yes,
            Frames::Envelopes => self.socket.notice(FOLLOWER, notice_frame(write), || true),
        }
    }

    fn closed(&self, topic: &str, at: quintet_core::cursor::Position) {
        self.notice(|out| delivery::closed(out, topic, token(at)));
        self.socket.close(&Close::new(code::NORMAL, "closed"));
    }
}

impl Sink for RawSink {
    fn deliver(&mut self, delivery: &Delivery) -> Taken {
        match delivery {
            Delivery::Messages { batch, closed, .. } => {
                let taken = self.messages(batch);
                let last = batch.messages().last();
                if let Some(last) = last.filter(|_| *closed && matches!(taken, Taken::Yes | Taken::YesAndFull)) {
                    self.closed(last.topic.as_str(), batch.next());
                }
                taken
            }
            Delivery::Closed { topic, at } => {
                self.closed(topic.as_str(), *at);
                Taken::Gone
            }
            Delivery::Deleted { topic, .. } => {
                self.notice(|out| delivery::deleted(out, topic.as_str()));
                self.socket.close(&Close::new(code::GONE, "the topic was deleted; start again with -1"));
                Taken::Gone
            }
            Delivery::Gap { topic, first_available, .. } => {
                let cursor = token(*first_available);
                if self.frames == Frames::Payloads {
                    self.socket.close(&Close::new(code::GAP, format!("first_available {cursor}")));
                    return Taken::Gone;
                }
                let topic = topic.as_ref().map_or("", |topic| topic.as_str());
                self.notice(|out| delivery::gap(out, topic, &cursor.into()))
            }
            Delivery::Failed(error) if *error.kind() == Kind::ShuttingDown => {
                self.socket.stop();
                Taken::Gone
            }
            Delivery::Failed(error) => {
                self.socket.close(&Close::from(&Problem::from(error)));
                Taken::Gone
            }
        }
    }
}

fn notice_frame(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    encode::text_frame(|out| {
        out.extend_from_slice(delivery::BARE_PREFIX);
        write(out);
    })
}
