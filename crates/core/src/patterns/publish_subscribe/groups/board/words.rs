//! What members say of messages in their hands, and what time says of them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::group::{HeldState, Why};
use crate::patterns::publish_subscribe::groups::board::{Before, Board, Entry, KeyOf};
use crate::patterns::publish_subscribe::groups::consumer::Answer;

impl Board {
    /// Takes note of the time: leases that are over, rests that are over.
    pub(in crate::patterns::publish_subscribe::groups) fn tick(&mut self, now: Timestamp) {
        self.now = now;
        while let Some((due, offset)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            let Some(mut entry) = self.remove(offset) else {
                self.timers.remove(&(due, offset));
                continue;
            };
            if entry.held.state == HeldState::Leased {
                entry.held.state = HeldState::Waiting(Why::Timeout);
                entry.held.due = due.plus(self.config.backoff_after(entry.held.count));
                entry.member = None;
            }
            self.insert(offset, entry);
        }
    }

    /// Settles a message, whoever holds it by now: the work is done.
    pub(in crate::patterns::publish_subscribe::groups) fn acknowledge(&mut self, offset: Offset, count: u32) -> Answer {
        let Some(entry) = self.held.get(&offset) else { return self.not_held(offset) };
        if count == 0 || count > entry.held.count {
            return Answer::Unknown;
        }
        self.note(offset);
        drop(self.remove(offset));
        self.counts.acknowledged += 1;
        Answer::Done
    }

    /// Takes a message back, to be handed out again after a while; none: after what the group's backoff says.
    pub(in crate::patterns::publish_subscribe::groups) fn give_back(
        &mut self,
        offset: Offset,
        count: u32,
        delay: Option<Duration>,
    ) -> Answer {
        self.change_lease(offset, count, |board, entry| {
            let delay = delay.unwrap_or_else(|| board.config.backoff_after(entry.held.count));
            entry.held.due = board.now.plus(delay);
            entry.held.state = HeldState::Waiting(Why::Nack);
            entry.member = None;
        })
    }

    /// Leaves a message in its member's hands for so long from now.
    pub(in crate::patterns::publish_subscribe::groups) fn extend(
        &mut self,
        offset: Offset,
        count: u32,
        by: Option<Duration>,
    ) -> Answer {
        self.change_lease(offset, count, |board, entry| {
            entry.held.due = board.now.plus(by.unwrap_or(board.config.ack_wait));
        })
    }

    fn change_lease(&mut self, offset: Offset, count: u32, change: impl FnOnce(&Self, &mut Entry)) -> Answer {
        let Some(entry) = self.held.get(&offset) else { return self.not_held(offset) };
        if count == 0 || count > entry.held.count {
            return Answer::Unknown;
        }
        if count != entry.held.count || entry.held.state != HeldState::Leased {
            return Answer::Over;
        }
        self.note(offset);
        let Some(mut entry) = self.remove(offset) else { return Answer::Unknown };
        change(self, &mut entry);
        self.insert(offset, entry);
        Answer::Done
    }

    fn not_held(&self, offset: Offset) -> Answer {
        if offset == Offset::ZERO || offset > self.claimed_through { Answer::Unknown } else { Answer::Settled }
    }

    /// A member went away with a message in its hands.
    pub(in crate::patterns::publish_subscribe::groups) fn lose(&mut self, offset: Offset) {
        let Some(mut entry) = self.remove(offset) else { return };
        if entry.held.state == HeldState::Leased {
            entry.held.state = HeldState::Waiting(Why::MemberLost);
            entry.held.due = self.now;
            entry.member = None;
        }
        self.insert(offset, entry);
    }

    /// Claims a message again that was settled as a dead letter.
    pub(in crate::patterns::publish_subscribe::groups) fn hand_out_again(
        &mut self,
        held: crate::group::Held,
        offset: Offset,
    ) {
        let key = if self.config.key.is_some() { KeyOf::Unknown } else { KeyOf::None };
        self.before.entry(offset).or_insert(Before::Was(None));
        self.insert(offset, Entry { held, member: None, key, message: None });
    }

    /// Dead letters up to here have been tried again.
    pub(in crate::patterns::publish_subscribe::groups) fn redriven(&mut self, through: Offset) {
        self.redriven_through = self.redriven_through.max(through);
    }

    /// Messages went before they were claimed.
    pub(in crate::patterns::publish_subscribe::groups) fn note_gap(&mut self) {
        self.counts.lost += 1;
        // It stays true when what else is done in this round is taken back.
        self.committed.counts.lost += 1;
    }

    /// Whether anything is to go to the dead letters.
    pub(in crate::patterns::publish_subscribe::groups) fn has_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// Whether a delivery is still the one in a member's hands.
    pub(in crate::patterns::publish_subscribe::groups) fn is_leased(&self, offset: Offset, count: u32) -> bool {
        self.held.get(&offset).is_some_and(|e| e.held.state == HeldState::Leased && e.held.count == count)
    }

    /// Whether a message is claimed and not settled.
    pub(in crate::patterns::publish_subscribe::groups) fn holds(&self, offset: Offset) -> bool {
        self.held.contains_key(&offset)
    }
}
