//! A session's state, and who does what with a frame. The commands are in files of their own.

use std::collections::HashMap;
use std::task::{Context, Poll};

use quintet_core::access::Access;
use quintet_core::patterns::request_response::request::RequestId;
use quintet_wire::session::answer;
use quintet_wire::session::command::{Command, Id};
use quintet_wire::session::hub::Goodbye;
use quintet_wire::websocket as code;

use crate::error::Problem;
use crate::groups::Word;
use crate::state::Gateway;
use crate::websocket::close::Close;
use crate::websocket::frame::Message;
use crate::websocket::protocol::{Link, Protocol};
use crate::websocket::session::consume::{Consuming, Joined};
use crate::websocket::session::respond::Serving;
use crate::websocket::session::subscribe::{Started, Subscription};
use crate::websocket::session::{publish, request};
use crate::websocket::work::Counts;

/// One session.
pub(crate) struct Session {
    pub(crate) gateway: Gateway,
    pub(crate) access: Access,
    /// In the order of their numbers.
    pub(crate) subscriptions: Vec<Subscription>,
    /// In the order of their numbers.
    pub(crate) consumers: Vec<Consuming>,
    /// In the order of their numbers.
    pub(crate) responders: Vec<Serving>,
    /// Requests that this session was handed and has not replied to, and by which responder.
    pub(crate) handed: HashMap<RequestId, u32>,
    /// The last number given to a subscription, consumer or responder; none is given twice.
    pub(crate) last_number: u32,
}

/// What a job brings.
pub(crate) enum Done {
    /// The answer.
    Answer(String),
    /// Where a subscription begins.
    Started(Box<Started>),
    /// A consumer's place in its group.
    Joined(Box<Joined>),
}

impl Session {
    pub(crate) fn new(gateway: Gateway, access: Access) -> Self {
        Self {
            gateway,
            access,
            subscriptions: Vec::new(),
            consumers: Vec::new(),
            responders: Vec::new(),
            handed: HashMap::new(),
            last_number: 0,
        }
    }

    fn obey(&mut self, link: &mut Link<'_, Done>, n_bytes: usize, id: Id, command: Command) -> Result<(), Close> {
        let charge = link.charge(n_bytes)?;
        match command {
            Command::Subscribe(asked) => match self.start(id, &asked) {
                Ok(job) => link.work.push(Counts::Yes, charge, async { Done::Started(Box::new(job.await)) }),
                Err(refusal) => link.socket.send(&refusal, true),
            },
            Command::Unsubscribe { subscription } => {
                let answer = self.unsubscribe(&id, subscription);
                link.socket.send(&answer, true);
            }
            Command::Publish(asked) => {
                let (gateway, access) = (self.gateway.clone(), self.access.clone());
                let job = async move { Done::Answer(publish::publish(&gateway, &access, &id, asked).await) };
                link.work.push(Counts::Yes, charge, job);
            }
            Command::Request(asked) => match self.request(link.work.n_uncounted(), &id, asked) {
                Ok(asked) => {
                    let hub = std::sync::Arc::clone(self.gateway.hub());
                    let job = async move { Done::Answer(request::ask(&hub, &id, asked).await) };
                    link.work.push(Counts::No, charge, job);
                }
                Err(problem) => link.socket.send(&refusal(&id, &problem), true),
            },
            Command::Respond(asked) => {
                let answer = self.respond(&id, &asked);
                link.socket.send(&answer, true);
            }
            Command::Unrespond { responder } => {
                let answer = self.unrespond(&id, responder);
                link.socket.send(&answer, true);
            }
            Command::Reply(asked) => {
                let answer = self.reply(&id, asked);
                link.socket.send(&answer, true);
            }
            Command::Progress(asked) => {
                let job = self.progress(id, asked);
                link.work.push(Counts::Yes, charge, async { Done::Answer(job.await) });
            }
            Command::Consume(asked) => self.consume(link, charge, id, &asked),
            Command::Ack(asked) => self.say(link, charge, id, asked.consumer, (Word::Acknowledge, asked.deliveries)),
            Command::Nack(asked) => {
                let word = Word::GiveBack(asked.delay.map(|delay| delay.0));
                self.say(link, charge, id, asked.consumer, (word, asked.deliveries));
            }
            Command::Extend(asked) => {
                let word = Word::Extend(asked.by.map(|by| by.0));
                self.say(link, charge, id, asked.consumer, (word, asked.deliveries));
            }
            Command::Credit(asked) => self.set_credit(link, charge, id, asked),
            Command::Unconsume(asked) => {
                let answer = self.unconsume(&id, asked.consumer);
                link.socket.send(&answer, true);
            }
            Command::Ping => link.socket.send(&publish::pong(&self.gateway, &id), true),
        }
        Ok(())
    }
}

impl Protocol for Session {
    type Done = Done;

    fn receive(&mut self, link: &mut Link<'_, Done>, message: Message<'_>) -> Result<(), Close> {
        match message {
            Message::Text(text) => match Command::parse(&text) {
                Ok((id, command)) => self.obey(link, text.len(), id, command),
                Err(bad) => {
                    let problem = Problem::new(bad.kind, bad.detail);
                    link.socket.send(&answer::error(bad.id.as_ref(), problem.object()), true);
                    Ok(())
                }
            },
            Message::Binary(_) => {
                Err(Close::new(code::BAD_REQUEST, "a session's frames are JSON text; bytes go in base64"))
            }
            Message::Ping(_) | Message::Pong | Message::Close(_) => Ok(()),
        }
    }

    fn done(&mut self, link: &mut Link<'_, Done>, done: Done) -> Result<(), Close> {
        match done {
            Done::Answer(answer) => link.socket.send(&answer, true),
            Done::Started(started) => self.follow(link.socket, *started),
            Done::Joined(joined) => self.joined(link.socket, *joined),
        }
        Ok(())
    }

    fn ready(&mut self, follower: u32) {
        if let Some(subscription) = self.subscription(follower) {
            subscription.ready();
        } else {
            self.consumer_is_ready(follower);
        }
    }

    fn ended(&mut self, follower: u32) {
        if self.forget(follower).is_none() {
            self.forget_consumer(follower);
        }
    }

    fn poll_event(&mut self, link: &mut Link<'_, Done>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_responders(link, cx)
    }

    fn farewell(&mut self, link: &mut Link<'_, Done>) {
        let goodbye = Goodbye { reason: "shutting-down".into(), retry_after: 1 };
        link.socket.send(&goodbye.encode(), false);
    }

    fn leave(&mut self) {
        self.subscriptions.clear();
        self.responders.clear();
        self.handed.clear();
    }

    fn release(&mut self) {
        self.subscriptions.clear();
        self.consumers.clear();
        self.responders.clear();
        self.handed.clear();
    }

    fn is_awaited(&self) -> bool {
        !self.handed.is_empty()
    }
}

/// A command's refusal.
pub(crate) fn refusal(id: &Id, problem: &Problem) -> String {
    answer::error(Some(id), problem.object())
}

/// A command's answer, whichever it is.
pub(crate) fn answer_to<T: serde::Serialize>(id: &Id, result: Result<T, Problem>) -> String {
    match result {
        Ok(ok) => answer::ok(id, &ok),
        Err(problem) => refusal(id, &problem),
    }
}
