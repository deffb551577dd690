//! `consume`, `ack`, `nack`, `extend`, `credit` and `unconsume`: take a group's messages and say what became of them.

use std::sync::Arc;

use quintet_core::access::Operation;
use quintet_core::error::Error;
use quintet_core::group::GroupName;
use quintet_core::patterns::publish_subscribe::groups::operate::Membership;
use quintet_wire::groups::DeliveryId;
use quintet_wire::problem::kind::Kind;
use quintet_wire::session::answer;
use quintet_wire::session::command::Id;
use quintet_wire::session::groups as wire;

use crate::error::{Problem, Result};
use crate::groups::Word;
use crate::websocket::budget::Charge;
use crate::websocket::protocol::Link;
use crate::websocket::session::CONSUMERS_MAX;
use crate::websocket::session::consumer_sink::ConsumerSink;
use crate::websocket::session::protocol::{Done, Session, answer_to, refusal};
use crate::websocket::session::sink::Gate;
use crate::websocket::socket::Socket;
use crate::websocket::work::Counts;

/// A consumer of a session.
pub(crate) struct Consuming {
    gate: Arc<Gate>,
    group: GroupName,
    membership: Arc<Membership>,
}

impl Consuming {
    /// It can be given messages again.
    pub(crate) fn ready(&self) {
        self.membership.ready();
    }
}

/// A consumer that is about to begin.
pub(crate) struct Joined {
    id: Id,
    gate: Arc<Gate>,
    group: GroupName,
    membership: Result<Membership, Error>,
}

impl Session {
    /// Joins a group.
    pub(crate) fn consume(&mut self, link: &mut Link<'_, Done>, charge: Charge, id: Id, asked: &wire::Consume) {
        let group = match self.may_consume(&asked.group) {
            Ok(group) => group,
            Err(problem) => return link.socket.send(&refusal(&id, &problem), true),
        };
        let name = if asked.member.is_empty() { self.access.subject().unwrap_or_default() } else { &asked.member };
        let (name, credit) = (name.to_owned(), asked.credit);
        let gate = Arc::new(Gate::new(self.next_number()));
        let sink = Box::new(ConsumerSink::new(Arc::clone(link.socket), Arc::clone(&gate)));
        let hub = Arc::clone(self.gateway.hub());
        let job = async move {
            let membership = hub.consume(&group, &name, credit, sink).await;
            Done::Joined(Box::new(Joined { id, gate, group, membership }))
        };
        link.work.push(Counts::Yes, charge, job);
    }

    /// Begins to take messages: the answer first, then what comes.
    pub(crate) fn joined(&mut self, socket: &Arc<Socket>, joined: Joined) {
        let Joined { id, gate, group, membership } = joined;
        let membership = match membership.map_err(Problem::from).and_then(|membership| {
            self.has_room()?;
            Ok(membership)
        }) {
            Ok(membership) => membership,
            Err(problem) => return socket.send(&refusal(&id, &problem), true),
        };
        socket.send(&answer::ok(&id, &wire::Consuming { consumer: u64::from(gate.number()) }), true);
        let is_over = gate.holds_notice();
        gate.open(socket);
        if is_over {
            return;
        }
        membership.ready();
        // Joins may end in another order than they were begun in.
        let place = self.consumers.partition_point(|known| known.gate.number() < gate.number());
        self.consumers.insert(place, Consuming { gate, group, membership: Arc::new(membership) });
    }

    /// Says something of deliveries, and answers when it is as durable as the group.
    pub(crate) fn say(
        &self,
        link: &mut Link<'_, Done>,
        charge: Charge,
        id: Id,
        consumer: u64,
        said: (Word, Vec<DeliveryId>),
    ) {
        let group = match self.consumer(consumer) {
            Ok(consuming) => consuming.group.clone(),
            Err(problem) => return link.socket.send(&refusal(&id, &problem), true),
        };
        let hub = Arc::clone(self.gateway.hub());
        let (word, deliveries) = said;
        let job = async move { Done::Answer(answer_to(&id, word.say(&hub, &group, &deliveries).await)) };
        link.work.push(Counts::Yes, charge, job);
    }

    /// Sets how many messages a consumer may hold.
    pub(crate) fn set_credit(&self, link: &mut Link<'_, Done>, charge: Charge, id: Id, asked: wire::Credit) {
        let membership = match self.consumer(asked.consumer) {
            Ok(consuming) => Arc::clone(&consuming.membership),
            Err(problem) => return link.socket.send(&refusal(&id, &problem), true),
        };
        let job = async move {
            let set = membership.set_limit(asked.credit).await;
            Done::Answer(answer_to(&id, set.map(|()| answer::Done {}).map_err(Problem::from)))
        };
        link.work.push(Counts::Yes, charge, job);
    }

    /// Leaves a group; nothing of it comes behind the answer, and what the consumer holds goes to others.
    pub(crate) fn unconsume(&mut self, id: &Id, number: u64) -> String {
        let left = self.consumer(number).map(|consuming| consuming.gate.number());
        answer_to(
            id,
            left.map(|number| {
                self.forget_consumer(number);
                answer::Done {}
            }),
        )
    }

    /// A consumer that is told that there is room again, if it is one.
    pub(crate) fn consumer_is_ready(&self, number: u32) {
        if let Some(consuming) = self.place_of_consumer(number).and_then(|place| self.consumers.get(place)) {
            consuming.ready();
        }
    }

    /// Drops a consumer, if it is there.
    pub(crate) fn forget_consumer(&mut self, number: u32) {
        if let Some(place) = self.place_of_consumer(number) {
            self.consumers.remove(place).gate.cancel();
        }
        if self.consumers.is_empty() {
            self.consumers = Vec::new();
        }
    }

    fn may_consume(&self, group: &str) -> Result<GroupName> {
        self.has_room()?;
        let group = GroupName::parse(group)?;
        let config = self.gateway.hub().group_config(&group)?;
        self.access.check_all(Operation::Subscribe, &config.filter)?;
        Ok(group)
    }

    fn has_room(&self) -> Result<()> {
        if self.consumers.len() < CONSUMERS_MAX {
            return Ok(());
        }
        let detail =
            format!("a session holds {CONSUMERS_MAX} consumers; give one more credit, or open another session");
        Err(Problem::new(Kind::TooMany, detail))
    }

    fn consumer(&self, number: u64) -> Result<&Consuming> {
        let place = u32::try_from(number).ok().and_then(|number| self.place_of_consumer(number));
        place.and_then(|place| self.consumers.get(place)).ok_or_else(|| {
            let detail = format!("this session has no consumer {number}; its group may have been deleted");
            Problem::new(Kind::NotFound, detail)
        })
    }

    fn place_of_consumer(&self, number: u32) -> Option<usize> {
        self.consumers.binary_search_by_key(&number, |consuming| consuming.gate.number()).ok()
    }
}
