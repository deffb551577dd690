//! What a group hands to a consumer, written straight to the session's socket.

use std::sync::Arc;

use quintet_core::error::{Error, Kind};
use quintet_core::fanout::Taken;
use quintet_core::patterns::publish_subscribe::groups::consumer::{Consumer, Handed};
use quintet_wire::session::groups::{self, Deliveries};

use crate::error::Problem;
use crate::groups::write_handed;
use crate::websocket::encode;
use crate::websocket::frame::{TEXT, write};
use crate::websocket::session::sink::Gate;
use crate::websocket::socket::{Frames, Socket};

/// The sink of one consumer.
pub(crate) struct ConsumerSink {
    socket: Arc<Socket>,
    gate: Arc<Gate>,
}

impl ConsumerSink {
    /// A sink that takes nothing before the gate is open.
    pub(crate) fn new(socket: Arc<Socket>, gate: Arc<Gate>) -> Self {
        Self { socket, gate }
    }
}

impl Consumer for ConsumerSink {
    fn take(&mut self, handed: &[Handed]) -> Taken {
        if self.gate.is_shut() {
            // The session says that it is ready when it has answered.
            return Taken::No;
        }
        let number = self.gate.number();
        let mut json = Vec::new();
        let mut frame = Deliveries::open(&mut json, u64::from(number));
        for handed in handed {
            write_handed(frame.next(), handed);
        }
        frame.close();
        let (header, n) = write::header(TEXT, json.len());
        let body = self.socket.doors.unsent().count(json);
        let frames = Frames { head: header.get(..n).unwrap_or_default(), body: &body };
        self.socket.offer(number, frames, || self.gate.is_open())
    }

    fn end(&mut self, error: &Error) {
        if *error.kind() == Kind::ShuttingDown {
            self.socket.stop();
            return;
        }
        let number = self.gate.number();
        let problem = Problem::from(error);
        let frame = encode::text_frame(|out| groups::ended(out, u64::from(number), problem.object()));
        // It is taken even if others are not written yet.
        if self.gate.notice(&self.socket, frame) != Taken::Gone {
            self.socket.ended(number);
        }
    }
}
