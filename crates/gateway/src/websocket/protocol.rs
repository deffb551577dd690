//! What a connection's task asks of what is spoken on it: a topic's payloads, or a session's commands.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::websocket::budget::Charge;
use crate::websocket::close::Close;
use crate::websocket::frame::Message;
use crate::websocket::socket::Socket;
use crate::websocket::work::Work;

/// Bytes of one client that it is never refused for what all others hold.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;

/// What is spoken on a connection.
pub(crate) trait Protocol: Unpin + Send + 'static {
    /// What its jobs bring.
    type Done: Send + 'static;

    /// A text or binary message.
    fn receive(&mut self, link: &mut Link<'_, Self::Done>, message: Message<'_>) -> Result<(), Close>;

    /// A job is finished.
    fn done(&mut self, link: &mut Link<'_, Self::Done>, done: Self::Done) -> Result<(), Close>;

    /// A follower that was told that the connection is full can go on.
    fn ready(&mut self, follower: u32);

    /// A follower has had its last delivery.
    fn ended(&mut self, follower: u32);

    /// Sends what comes from elsewhere, one frame at most; only asked when all before it is written.
    fn poll_event(&mut self, link: &mut Link<'_, Self::Done>, cx: &mut Context<'_>) -> Poll<()>;

    /// The hub is stopping: the last words.
    fn farewell(&mut self, link: &mut Link<'_, Self::Done>);

    /// The client has closed, or is gone: nothing more is to be delivered or served, but what it holds is still its own
    /// until its last words are dealt with.
    fn leave(&mut self);

    /// The connection closes: nothing more is to be delivered or served.
    fn release(&mut self);

    /// Whether the client still owes something that is worth waiting for while the hub is stopping.
    fn is_awaited(&self) -> bool;
}

/// What a protocol has of its connection.
pub(crate) struct Link<'a, D> {
    pub(crate) socket: &'a Arc<Socket>,
    pub(crate) work: &'a mut Work<D>,
}

impl<D> Link<'_, D> {
    /// Counts what a job will hold.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Charge, Close> {
        let received = self.socket.doors.received();
        if bytes > SMALL_BYTES && received.is_exceeded() {
            return Err(Close::too_much_received());
        }
        Ok(received.charge(bytes))
    }
}
