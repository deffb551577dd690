//! What is spoken on a topic's WebSocket.

use std::borrow::Cow;
use std::task::{Context, Poll};

use bytes::Bytes;
use quintet_core::access::Access;
use quintet_core::cursor::Since;
use quintet_core::error::Error;
use quintet_core::fanout::FollowerHandle;
use quintet_core::following::{Selection, Start};
use quintet_core::name::TopicName;
use quintet_core::presence::{Member, PresenceGuard};
use quintet_core::reading::Absent;
use quintet_wire::session::hub::Goodbye;
use quintet_wire::websocket as code;

use crate::error::Problem;
use crate::state::Gateway;
use crate::websocket::close::Close;
use crate::websocket::frame::Message;
use crate::websocket::protocol::{Link, Protocol};
use crate::websocket::raw::publish;
use crate::websocket::raw::sink::RawSink;
use crate::websocket::work::Counts;

/// What frames hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// Payloads.
    Payloads,
    /// JSON: envelopes with a cursor, publishes with an id.
    Envelopes,
}

/// One topic's WebSocket.
pub(crate) struct Raw {
    pub(crate) gateway: Gateway,
    pub(crate) access: Access,
    pub(crate) topic: TopicName,
    /// Publishing does not create the topic.
    pub(crate) strict: bool,
    frames: Frames,
    follower: Option<FollowerHandle>,
    guard: Option<PresenceGuard>,
}

/// What a job brings.
pub(crate) enum Done {
    /// Where following begins, and who follows.
    Started(Result<Start, Error>, Option<Member>),
    /// A payload was published.
    Published(Result<(), Problem>),
    /// The answer to an envelope.
    Answered(String),
}

impl Raw {
    pub(crate) fn new(gateway: Gateway, access: Access, topic: TopicName, strict: bool, frames: Frames) -> Self {
        Self { gateway, access, topic, strict, frames, follower: None, guard: None }
    }

    /// Begins to follow the topic.
    pub(crate) fn start(
        &mut self,
        link: &mut Link<'_, Done>,
        member: Option<Member>,
        since: Since,
        absent: Absent,
    ) -> Result<(), Close> {
        let hub = std::sync::Arc::clone(self.gateway.hub());
        let selection = Selection::Topic(self.topic.clone());
        let job = async move { Done::Started(hub.start_at(&selection, &since, absent).await, member) };
        link.work.push(Counts::Yes, link.charge(0)?, job);
        Ok(())
    }
}

impl Protocol for Raw {
    type Done = Done;

    fn receive(&mut self, link: &mut Link<'_, Done>, message: Message<'_>) -> Result<(), Close> {
        let charge = |bytes: usize| link.charge(bytes);
        match (self.frames, message) {
            (Frames::Envelopes, Message::Text(text)) => {
                let charge = charge(text.len())?;
                let job = publish::envelope(self, &text);
                link.work.push(Counts::Yes, charge, async { Done::Answered(job.await) });
            }
            (Frames::Envelopes, _) => {
                return Err(Close::new(code::BAD_REQUEST, "with quintet.envelope a frame is JSON text"));
            }
            (Frames::Payloads, Message::Text(text)) => {
                let payload = match text {
                    Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
                    Cow::Owned(text) => Bytes::from(text),
                };
                let charge = charge(payload.len())?;
                let job = publish::text(self, payload);
                link.work.push(Counts::Yes, charge, async { Done::Published(job.await) });
            }
            (Frames::Payloads, Message::Binary(payload)) => {
                let payload = Bytes::from(payload.into_owned());
                let charge = charge(payload.len())?;
                let job = publish::binary(self, payload);
                link.work.push(Counts::Yes, charge, async { Done::Published(job.await) });
            }
            (Frames::Payloads, Message::Ping(_) | Message::Pong | Message::Close(_)) => {}
        }
        Ok(())
    }

    fn done(&mut self, link: &mut Link<'_, Done>, done: Done) -> Result<(), Close> {
        match done {
            Done::Started(start, member) => {
                let sink = RawSink::new(std::sync::Arc::clone(link.socket), self.frames);
                let refuse = |error| Close::from(&Problem::from(error));
                let hub = self.gateway.hub();
                let follower = start.and_then(|start| hub.follow(start, Box::new(sink))).map_err(refuse)?;
                let guard = member.map(|member| hub.presence().enter(&self.topic, member)).transpose();
                self.guard = guard.map_err(refuse)?;
                self.follower = Some(follower);
            }
            Done::Published(published) => published.map_err(|problem| Close::from(&problem))?,
            Done::Answered(answer) => link.socket.send(&answer, true),
        }
        Ok(())
    }

    fn ready(&mut self, _follower: u32) {
        if let Some(follower) = &self.follower {
            follower.ready();
        }
    }

    fn ended(&mut self, _follower: u32) {
        self.follower = None;
    }

    fn poll_event(&mut self, _link: &mut Link<'_, Done>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn farewell(&mut self, link: &mut Link<'_, Done>) {
        if self.frames == Frames::Envelopes {
            let goodbye = Goodbye { reason: "shutting-down".into(), retry_after: 1 };
            link.socket.send(&goodbye.encode(), false);
        }
    }

    fn leave(&mut self) {
        self.follower = None;
    }

    fn release(&mut self) {
        self.follower = None;
        self.guard = None;
    }

    fn is_awaited(&self) -> bool {
        false
    }
}
