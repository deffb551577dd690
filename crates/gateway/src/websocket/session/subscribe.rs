//! `subscribe` and `unsubscribe`.

use std::sync::Arc;

use quintet_core::access::{Access, Operation};
use quintet_core::error::Error;
use quintet_core::fanout::FollowerHandle;
use quintet_core::following::{Selection, Start};
use quintet_core::name::{Filter, TopicName};
use quintet_core::presence::{Member, PresenceGuard};
use quintet_core::reading::Absent;
use quintet_wire::problem::kind::Kind;
use quintet_wire::session::answer;
use quintet_wire::session::command::{Id, Presence, Selector, Subscribe};

use crate::convert;
use crate::error::{Problem, Result};
use crate::http::topics::check_read;
use crate::presence::{self, Wish};
use crate::websocket::session::SUBSCRIPTIONS_MAX;
use crate::websocket::session::protocol::{Session, answer_to, refusal};
use crate::websocket::session::sink::{Gate, SubscriptionSink};
use crate::websocket::socket::Socket;

/// A subscription of a session.
pub(crate) struct Subscription {
    gate: Arc<Gate>,
    follower: FollowerHandle,
    guard: Option<PresenceGuard>,
}

impl Subscription {
    /// It can be delivered to again.
    pub(crate) fn ready(&self) {
        self.follower.ready();
    }
}

/// A subscription that is about to begin.
pub(crate) struct Started {
    id: Id,
    selection: Selection,
    start: Result<Start, Error>,
    member: Option<Member>,
}

impl Session {
    /// Checks a subscription and finds out where it begins; or refuses.
    pub(crate) fn start(
        &self,
        id: Id,
        asked: &Subscribe,
    ) -> Result<impl Future<Output = Started> + Send + 'static, String> {
        let selected = self.select(&asked.selector).and_then(|selection| {
            let member = self.member(&selection, asked.presence.as_ref())?;
            Ok((selection, member))
        });
        let (selection, member) = selected.map_err(|problem| refusal(&id, &problem))?;
        let since = convert::core_since(&asked.since);
        let hub = Arc::clone(self.gateway.hub());
        Ok(async move {
            let start = hub.start_at(&selection, &since, Absent::Empty).await;
            Started { id, selection, start, member }
        })
    }

    fn select(&self, selector: &Selector) -> Result<Selection> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(too_many());
        }
        Ok(match selector {
            Selector::Topic(name) => {
                let topic = TopicName::parse(name)?;
                check_read(&self.access, &topic)?;
                Selection::Topic(topic)
            }
            Selector::Filter(text) => {
                let filter = Filter::parse(text)?;
                check_filter(&self.access, &filter)?;
                Selection::Filter(filter)
            }
        })
    }

    /// Who is on the topic by this subscription. A filter makes nobody a member of what it matches.
    fn member(&self, selection: &Selection, asked: Option<&Presence>) -> Result<Option<Member>> {
        let Selection::Topic(topic) = selection else { return Ok(None) };
        let wish = asked.map(|asked| Wish { id: asked.id.as_deref(), data: asked.data.as_deref() });
        presence::of_reader(self.gateway.config().presence, &self.access, topic, wish)
    }

    /// Begins to deliver: the answer first, then what comes.
    pub(crate) fn follow(&mut self, socket: &Arc<Socket>, started: Started) {
        let Started { id, selection, start, member } = started;
        match self.try_follow(socket, &id, &selection, start, member) {
            Ok(()) => {}
            Err(problem) => socket.send(&refusal(&id, &problem), true),
        }
    }

    fn try_follow(
        &mut self,
        socket: &Arc<Socket>,
        id: &Id,
        selection: &Selection,
        start: Result<Start, Error>,
        member: Option<Member>,
    ) -> Result<()> {
        let start = start?;
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(too_many());
        }
        let cursor = start.cursor();
        let number = self.next_number();
        let gate = Arc::new(Gate::new(number));
        let sink = SubscriptionSink::new(Arc::clone(socket), Arc::clone(&gate), selection, cursor.clone());
        // Until the gate is open the sink takes nothing, so that the answer comes first.
        let hub = self.gateway.hub();
        let follower = hub.follow(start, Box::new(sink))?;
        let guard = match (selection, member) {
            (Selection::Topic(topic), Some(member)) => Some(hub.presence().enter(topic, member)?),
            (Selection::Topic(_) | Selection::Filter(_), _) => None,
        };
        let subscribed = answer::Subscribed { subscription: u64::from(number), cursor: convert::wire_cursor(&cursor) };
        socket.send(&answer::ok(id, &subscribed), true);
        gate.open(socket);
        follower.ready();
        self.subscriptions.push(Subscription { gate, follower, guard });
        Ok(())
    }

    /// Ends a subscription; nothing of it comes behind the answer.
    pub(crate) fn unsubscribe(&mut self, id: &Id, number: u64) -> String {
        let found = u32::try_from(number).ok().and_then(|number| self.forget(number));
        answer_to(
            id,
            found.map(|ended| ended.guard.map_or((), PresenceGuard::leave)).map(|()| answer::Done {}).ok_or_else(
                || {
                    Problem::new(
                        Kind::NotFound,
                        format!("this session has no subscription {number}; it may have ended"),
                    )
                },
            ),
        )
    }

    /// A subscription by its number.
    pub(crate) fn subscription(&self, number: u32) -> Option<&Subscription> {
        self.subscriptions.get(self.place(number)?)
    }

    /// Takes a subscription out, if it is there. A member whose subscription is dropped counts as lost.
    pub(crate) fn forget(&mut self, number: u32) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(self.place(number)?);
        subscription.gate.cancel();
        if self.subscriptions.is_empty() {
            self.subscriptions = Vec::new();
        }
        Some(subscription)
    }

    pub(crate) fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.subscriptions.binary_search_by_key(&number, |subscription| subscription.gate.number()).ok()
    }
}

fn too_many() -> Problem {
    let detail = format!("a session holds {SUBSCRIPTIONS_MAX} subscriptions; use filters, or another session");
    Problem::new(Kind::TooMany, detail)
}

/// Of the hub's own topics only those can be followed by a filter that tell who is on a topic.
fn check_filter(access: &Access, filter: &Filter) -> Result<()> {
    if filter.as_str().starts_with('$') && filter.members_of().is_none() {
        let detail = "names that begin with $ are the hub's own; of these only $presence/… can be read by a filter";
        return Err(access.refuse(Operation::Subscribe, filter.as_str(), detail).into());
    }
    Ok(access.check_filter(filter)?)
}
