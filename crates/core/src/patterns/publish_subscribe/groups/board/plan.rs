//! What is done in a round: who is given what, and what goes to the dead letters.

use std::sync::Arc;

use crate::cursor::Offset;
use crate::group::{GROUP_HELD_MAX, Held, HeldState, Why};
use crate::message::Message;
use crate::patterns::publish_subscribe::groups::board::members::MemberId;
use crate::patterns::publish_subscribe::groups::board::{Before, Board, Entry, KeyOf};

/// Messages that are claimed or handed out in one round.
const ROUND_MESSAGES_MAX: usize = 4_096;

/// A message that is given to a member once the round is committed.
#[derive(Debug)]
pub(in crate::patterns::publish_subscribe::groups) struct Assignment {
    pub(in crate::patterns::publish_subscribe::groups) member: MemberId,
    pub(in crate::patterns::publish_subscribe::groups) message: Arc<Message>,
    pub(in crate::patterns::publish_subscribe::groups) held: Held,
    pub(in crate::patterns::publish_subscribe::groups) why: Why,
}

/// A message that goes to the dead letters.
#[derive(Debug)]
pub(in crate::patterns::publish_subscribe::groups) struct Dying {
    pub(in crate::patterns::publish_subscribe::groups) message: Arc<Message>,
    pub(in crate::patterns::publish_subscribe::groups) count: u32,
    pub(in crate::patterns::publish_subscribe::groups) why: Why,
}

impl Board {
    /// Whether another message may be claimed.
    pub(super) fn can_claim(&self) -> bool {
        self.held.len() < GROUP_HELD_MAX && self.n_leased < self.config.in_flight as usize
    }

    /// Gives out what can be given: what failed before, then what is new.
    pub(in crate::patterns::publish_subscribe::groups) fn hand_out(&mut self) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        if !self.keyless.is_empty() {
            // Until all keys are known, nobody knows what has to wait for what.
            return assignments;
        }
        let mut n_parked = 0;
        while assignments.len() + n_parked < ROUND_MESSAGES_MAX && self.n_leased < self.config.in_flight as usize {
            let Some(member) = self.members.next_hungry() else { break };
            if let Some(offset) = self.next_runnable(member) {
                self.assign_held(offset, member, &mut assignments);
            } else if self.can_claim()
                && let Some(message) = self.ready.pop_front()
            {
                n_parked += usize::from(!self.claim(message, member, &mut assignments));
            } else {
                self.members.feed(member);
                // Others may have messages of their own keys waiting.
                let Some(member) = self.members.iter().find(|(id, m)| m.room() > 0 && self.has_own(*id)) else { break };
                let member = member.0;
                if let Some(offset) = self.next_runnable(member) {
                    self.assign_held(offset, member, &mut assignments);
                }
            }
        }
        assignments
    }

    /// Takes what has been handed out often enough; it is settled with this round.
    pub(in crate::patterns::publish_subscribe::groups) fn take_dying(
        &mut self,
        after: Offset,
        n_max: usize,
    ) -> Vec<Dying> {
        let loaded = |offset: &&Offset| self.held.get(offset).is_some_and(|entry| entry.message.is_some());
        let round = self.dying.range(after.next()..).chain(self.dying.range(..=after));
        let offsets: Vec<Offset> = round.filter(loaded).take(n_max).copied().collect();
        let mut dying = Vec::new();
        for offset in offsets {
            self.note(offset);
            let Some(Entry { held, message: Some(message), .. }) = self.remove(offset) else { continue };
            let HeldState::Waiting(why) = held.state else { continue };
            self.counts.dead_lettered += 1;
            dying.push(Dying { message, count: held.count, why });
        }
        dying
    }

    fn has_own(&self, member: MemberId) -> bool {
        let loaded = |offset: &Offset| self.held.get(offset).is_some_and(|entry| entry.message.is_some());
        self.members.get(member).is_some_and(|member| member.runnable.iter().any(loaded))
    }

    /// The first message that a member can be given, of its own or of anybody's, and that is in memory.
    fn next_runnable(&self, member: MemberId) -> Option<Offset> {
        let loaded = |offset: &&Offset| self.held.get(offset).is_some_and(|entry| entry.message.is_some());
        let own = self.members.get(member).and_then(|member| member.runnable.iter().find(loaded));
        own.or_else(|| self.runnable.iter().find(loaded)).copied()
    }

    fn assign_held(&mut self, offset: Offset, member: MemberId, assignments: &mut Vec<Assignment>) {
        self.note(offset);
        let Some(mut entry) = self.remove(offset) else { return };
        let (HeldState::Waiting(why), Some(message)) = (entry.held.state, entry.message.take()) else {
            self.insert(offset, entry);
            return;
        };
        if entry.held.count > 0 {
            self.counts.redelivered += 1;
        }
        entry.held.count = entry.held.count.saturating_add(1);
        self.assign(offset, entry, member, (message, why), assignments);
    }

    /// Claims a new message: for the member, unless it has to wait for others of its key, or for another member.
    /// Tells whether it was given to the member.
    fn claim(&mut self, message: Arc<Message>, member: MemberId, assignments: &mut Vec<Assignment>) -> bool {
        let offset = message.offset;
        self.before.insert(offset, Before::Ready(Arc::clone(&message)));
        self.claimed_through = offset;
        let key = self.key_of(&message);
        let held = Held { topic: message.topic.clone(), count: 1, state: HeldState::Waiting(Why::New), due: self.now };
        if let KeyOf::Is(name) = &key
            && let Some(of_key) = self.keys.get(name)
        {
            let other = of_key.owner.is_some_and(|owner| owner != member && self.members.get(owner).is_some());
            if other || !of_key.offsets.is_empty() {
                let held = Held { count: 0, ..held };
                self.insert(offset, Entry { held, member: None, key, message: Some(message) });
                self.members.feed(member);
                return false;
            }
        }
        self.assign(offset, Entry { held, member: None, key, message: None }, member, (message, Why::New), assignments);
        true
    }

    fn assign(
        &mut self,
        offset: Offset,
        mut entry: Entry,
        member: MemberId,
        (message, why): (Arc<Message>, Why),
        assignments: &mut Vec<Assignment>,
    ) {
        entry.held.state = HeldState::Leased;
        entry.held.due = self.now.plus(self.config.ack_wait);
        entry.member = Some(member);
        if let KeyOf::Is(key) = &entry.key {
            self.keys.entry(Arc::clone(key)).or_default().owner = Some(member);
        }
        let held = entry.held.clone();
        self.insert(offset, entry);
        self.counts.delivered += 1;
        self.members.give(member, message.payload.len());
        assignments.push(Assignment { member, message, held, why });
    }
}
