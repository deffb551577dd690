//! How a connection ends. When the client closes, breaks the protocol or is gone, what came whole before that is dealt
//! with first; when the hub has closed, it waits for the client's close frame.

use std::task::{Context, Poll, ready};

use crate::websocket::close::Close;
use crate::websocket::connection::{BUFFER, Connection};
use crate::websocket::frame::parser::Parser;
use crate::websocket::frame::{CLOSE, Message, Violation, write};
use crate::websocket::protocol::Protocol;
use crate::websocket::socket::Flushed;

/// Whether more comes from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// It comes, but cannot be understood any more.
    Garbled(Violation),
    /// The client has closed, with this code.
    Closed(Option<u16>),
    /// The client is gone without a word.
    Ended,
}

/// How far a connection has come on its way out. What belongs to each step is done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Not,
    /// What came before the client's end is being dealt with.
    Finishing,
    /// The hub's close frame is written.
    Written,
    /// The hub's side of the TCP connection is closed too.
    ShutDown,
}

impl<P: Protocol> Connection<P> {
    /// Takes a step, and tells whether it was not taken before.
    fn reach(&mut self, ending: Ending) -> bool {
        let is_new = self.ending < ending;
        self.ending = self.ending.max(ending);
        is_new
    }

    /// The client has closed, or takes nothing any more: only what it has said is still dealt with, for a while.
    pub(super) fn leave(&mut self) {
        if self.reach(Ending::Finishing) {
            self.protocol.leave();
            self.socket.doors.look_again(&self.socket);
        }
    }

    /// Nothing more comes that can be understood. What came before is dealt with first.
    pub(super) fn end_input(&mut self, input: Input) {
        self.input = input;
        self.parser = Parser::new(0);
        self.held = None;
        self.socket.begin_to_finish();
    }

    /// Closes when all is dealt with that came before the input's end. Replies to the client's own requests are not
    /// waited for.
    pub(super) fn finish(&mut self) -> bool {
        if self.input == Input::Open || self.work.n_counted() > 0 {
            return false;
        }
        match self.input {
            // No close frame has to follow, but it may still read what it has asked for.
            Input::Ended if self.socket.n_answers() > 0 => return false,
            Input::Closed(None) => self.socket.echo_close(write::frame(CLOSE, b"")),
            Input::Closed(Some(code)) => self.socket.echo_close(write::close(code, "")),
            Input::Garbled(violation) => self.socket.fail(&violation.into()),
            Input::Open | Input::Ended => self.socket.kill(),
        }
        true
    }

    /// When the hub is stopping: the last words, and the close frame when nothing is under way.
    pub(super) fn say_farewell(&mut self) -> bool {
        if !self.socket.is_stopping() || self.socket.is_finishing() {
            return false;
        }
        let first = !std::mem::replace(&mut self.said_farewell, true);
        if first {
            let (protocol, mut link) = self.parts();
            protocol.farewell(&mut link);
        }
        let over = self.work.is_empty() && !self.protocol.is_awaited();
        if over {
            self.socket.close(&Close::going_away());
        }
        first || over
    }

    /// Until the client has closed too, or is gone.
    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>, flushed: Flushed) -> Poll<()> {
        let written = flushed == Flushed::All;
        let mut unread = std::mem::take(&mut self.unread);
        self.overhear(&mut unread);
        loop {
            if matches!(self.input, Input::Closed(_) | Input::Ended) {
                return if written { Poll::Ready(()) } else { Poll::Pending };
            }
            if written && self.reach(Ending::Written) {
                self.socket.doors.look_again(&self.socket);
            }
            // A close frame would not be recognised, so the client is not kept waiting for an answer to it. Reading
            // goes on, as the kernel would take back what the client has not read yet if something were left unread.
            if written && matches!(self.input, Input::Garbled(_)) && self.reach(Ending::ShutDown) {
                self.socket.transport.shut_down();
            }
            let read = BUFFER.with_borrow_mut(|buffer| {
                let read = ready!(self.socket.transport.poll_read(cx, buffer));
                match read {
                    Ok(n @ 1..) => self.overhear(buffer.get_mut(..n).unwrap_or_default()),
                    Ok(_) => self.end_input(Input::Ended),
                    Err(_) => return Poll::Ready(Err(())),
                }
                Poll::Ready(Ok(()))
            });
            if ready!(read).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Passes over what comes when the hub has closed, but for the client's close frame.
    fn overhear(&mut self, mut bytes: &mut [u8]) {
        while self.input == Input::Open {
            match self.parser.next(&mut bytes) {
                Ok(Some(Message::Close(told))) => self.end_input(Input::Closed(told)),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(violation) => self.end_input(Input::Garbled(violation)),
            }
        }
        if self.input == Input::Open && self.count_held().is_err() {
            self.end_input(Input::Garbled(Violation::TooBig));
        }
    }
}
