//! A connection's task: flush, answer, read, as long as there is something to do. Hand-written as one `poll`, so that
//! an idle connection is a few hundred bytes. How it ends is in `ending`.

mod ending;

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::serve::Guest;
use crate::websocket::budget::Charge;
use crate::websocket::close::Close;
use crate::websocket::connection::ending::{Ending, Input};
use crate::websocket::frame::parser::Parser;
use crate::websocket::frame::{Message, PONG, write};
use crate::websocket::protocol::{Link, Protocol, SMALL_BYTES};
use crate::websocket::socket::{Flushed, Socket};
use crate::websocket::work::Work;

/// At so many unwritten answers the hub stops reading from a client.
const ANSWERS_MAX: usize = 256;
/// Or at so many bytes of them.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// And at so many bytes in commands that are under way.
const BYTES_UNDER_WAY_MAX: usize = 16 << 20;
/// Rounds of work before other tasks get their turn.
const ROUNDS_MAX: usize = 32;
/// What one read takes at most. The buffer belongs to the thread: a connection that is idle has none.
const READ_BYTES: usize = 32 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// What became of a round.
enum Round {
    Worked,
    Waiting,
    Over,
}

/// The task.
pub(crate) struct Connection<P: Protocol> {
    socket: Arc<Socket>,
    parser: Parser,
    protocol: P,
    work: Work<P::Done>,
    /// Bytes that came but were not parsed, because too much was unanswered.
    unread: Vec<u8>,
    /// What `parser` and `unread` hold.
    held: Option<Box<Charge>>,
    /// Keeps the connection counted.
    _guest: Option<Guest>,
    said_farewell: bool,
    input: Input,
    ending: Ending,
}

impl<P: Protocol> Connection<P> {
    pub(crate) fn new(socket: Arc<Socket>, parser: Parser, protocol: P, guest: Option<Guest>) -> Self {
        Self {
            socket,
            parser,
            protocol,
            work: Work::new(),
            unread: Vec::new(),
            held: None,
            _guest: guest,
            said_farewell: false,
            input: Input::Open,
            ending: Ending::Not,
        }
    }

    /// Bytes that came with the handshake.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        self.unread = bytes.to_vec();
    }

    /// Lets the protocol begin its first jobs.
    pub(crate) fn begin(&mut self, begin: impl FnOnce(&mut P, &mut Link<'_, P::Done>) -> Result<(), Close>) {
        let (protocol, mut link) = self.parts();
        if let Err(close) = begin(protocol, &mut link) {
            self.socket.close(&close);
        }
    }

    fn parts(&mut self) -> (&mut P, Link<'_, P::Done>) {
        (&mut self.protocol, Link { socket: &self.socket, work: &mut self.work })
    }

    /// Reading would only add to what cannot be answered yet.
    fn is_busy(&self) -> bool {
        self.work.bytes() >= BYTES_UNDER_WAY_MAX
            || self.work.n_counted() + self.socket.n_answers() >= ANSWERS_MAX
            || self.socket.answer_bytes() >= ANSWER_BYTES_MAX
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Round {
        let flushed = self.socket.poll_flush(cx);
        if flushed == Flushed::Dead {
            return Round::Over;
        }
        for follower in self.socket.take_ended() {
            self.protocol.ended(follower);
        }
        if self.socket.is_closing() {
            self.work.clear();
            self.protocol.release();
            return match self.poll_closing(cx, flushed) {
                Poll::Ready(()) => Round::Over,
                Poll::Pending => Round::Waiting,
            };
        }
        if self.socket.is_finishing() {
            self.leave();
        } else if flushed == Flushed::All {
            for follower in self.socket.take_full() {
                self.protocol.ready(follower);
            }
        }
        let mut progress = match self.progress(cx, flushed) {
            Ok(progress) => progress,
            Err(close) => {
                self.socket.fail(&close);
                true
            }
        };
        progress |= self.say_farewell();
        progress |= self.finish();
        if progress { Round::Worked } else { Round::Waiting }
    }

    fn progress(&mut self, cx: &mut Context<'_>, flushed: Flushed) -> Result<bool, Close> {
        let mut progress = false;
        while let Poll::Ready(done) = self.work.poll_next(cx) {
            progress = true;
            let (protocol, mut link) = self.parts();
            protocol.done(&mut link, done)?;
        }
        if flushed == Flushed::All && self.ending == Ending::Not {
            let (protocol, mut link) = self.parts();
            progress |= protocol.poll_event(&mut link, cx).is_ready();
        }
        if self.input != Input::Open {
            return Ok(progress);
        }
        if self.is_busy() {
            self.socket.not_listening();
            return Ok(progress);
        }
        self.socket.listening();
        match self.poll_receive(cx) {
            Poll::Ready(received) => received.map(|()| true),
            Poll::Pending => Ok(progress),
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Close>> {
        if !self.unread.is_empty() {
            let mut bytes = std::mem::take(&mut self.unread);
            self.socket.heard();
            return Poll::Ready(self.parse(&mut bytes));
        }
        BUFFER.with_borrow_mut(|buffer| match ready!(self.socket.transport.poll_read(cx, buffer)) {
            Ok(n @ 1..) => {
                self.socket.heard();
                Poll::Ready(self.parse(buffer.get_mut(..n).unwrap_or_default()))
            }
            // The client is gone without a word.
            Ok(_) | Err(_) => {
                self.end_input(Input::Ended);
                Poll::Ready(Ok(()))
            }
        })
    }

    fn parse(&mut self, bytes: &mut [u8]) -> Result<(), Close> {
        let mut input = bytes;
        let parsed = self.parse_messages(&mut input);
        // What lies behind a message that fails may be a close frame, which is looked for when the hub has closed.
        self.unread = if self.input == Input::Open { input.to_vec() } else { Vec::new() };
        parsed?;
        if self.input == Input::Open { self.count_held() } else { Ok(()) }
    }

    fn parse_messages(&mut self, input: &mut &mut [u8]) -> Result<(), Close> {
        while self.input == Input::Open && !self.is_busy() {
            match self.parser.next(input) {
                Ok(Some(message)) => self.receive(message)?,
                Ok(None) => break,
                Err(violation) => self.end_input(Input::Garbled(violation)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, message: Message<'_>) -> Result<(), Close> {
        match message {
            Message::Text(_) | Message::Binary(_) => {
                let (protocol, mut link) = self.parts();
                protocol.receive(&mut link, message)
            }
            Message::Ping(payload) => {
                self.socket.send_frame(write::frame(PONG, &payload), true);
                Ok(())
            }
            Message::Pong => Ok(()),
            Message::Close(told) => {
                self.end_input(Input::Closed(told));
                Ok(())
            }
        }
    }

    fn count_held(&mut self) -> Result<(), Close> {
        let bytes = self.parser.held() + self.unread.capacity();
        if bytes == 0 {
            self.held = None;
            return Ok(());
        }
        let received = self.socket.doors.received();
        self.held.get_or_insert_with(|| Box::new(received.charge(0))).resize(bytes);
        if bytes > SMALL_BYTES && received.is_exceeded() {
            return Err(Close::too_much_received());
        }
        Ok(())
    }
}

impl<P: Protocol> Future for Connection<P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.task.register(cx.waker());
        for _ in 0..ROUNDS_MAX {
            match self.round(cx) {
                Round::Worked => {}
                Round::Waiting => return Poll::Pending,
                Round::Over => {
                    self.socket.finish();
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
