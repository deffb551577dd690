//! Where a claimed message is: every way into and out of the board's sets goes through here.

use std::sync::Arc;

use crate::cursor::Offset;
use crate::group::{HeldState, Why};
use crate::message::Message;
use crate::patterns::publish_subscribe::groups::board::{Before, Board, Entry, IDLE_KEYS_MAX, KeyOf, LOADED_BYTES_MAX};

impl Board {
    /// Puts an entry where it belongs. Its message is let go if it need not be in memory.
    pub(super) fn insert(&mut self, offset: Offset, mut entry: Entry) {
        // Who holds it need not read it again, unless they fail.
        let leased = entry.held.state == HeldState::Leased;
        if leased || self.loaded_bytes > LOADED_BYTES_MAX && self.is_idle(&entry) {
            entry.message = None;
        }
        self.put(offset, entry);
    }

    /// Puts an entry where it belongs, with its message.
    pub(super) fn put(&mut self, offset: Offset, entry: Entry) {
        self.loaded_bytes += entry.message.as_ref().map_or(0, |message| message.size());
        let (state, due, key) = (entry.held.state, entry.held.due, entry.key.clone());
        if state == HeldState::Leased {
            self.timers.insert((due, offset));
            self.n_leased += 1;
            if let Some(member) = entry.member {
                self.members.lease(member, offset);
            }
        }
        self.held.insert(offset, entry);
        match key {
            KeyOf::None if state == HeldState::Leased => {}
            KeyOf::None => self.queue(offset),
            KeyOf::Unknown => {
                self.keyless.insert(offset);
            }
            KeyOf::Is(key) => {
                let of_key = self.keys.entry(Arc::clone(&key)).or_default();
                of_key.offsets.insert(offset);
                if state == HeldState::Leased {
                    of_key.leased = Some(offset);
                }
                self.arrange(&key);
            }
        }
    }

    /// Takes an entry from wherever it is.
    pub(super) fn remove(&mut self, offset: Offset) -> Option<Entry> {
        let entry = self.held.remove(&offset)?;
        if let Some(message) = &entry.message {
            self.loaded_bytes -= message.size();
        }
        if entry.held.state == HeldState::Leased {
            self.timers.remove(&(entry.held.due, offset));
            self.n_leased -= 1;
            if let Some(member) = entry.member {
                self.members.release(member, offset);
            }
        }
        self.unqueue(offset, &entry);
        self.keyless.remove(&offset);
        if let KeyOf::Is(key) = &entry.key
            && let Some(of_key) = self.keys.get_mut(key)
        {
            of_key.offsets.remove(&offset);
            of_key.leased = of_key.leased.filter(|leased| *leased != offset);
            of_key.placed = of_key.placed.filter(|placed| *placed != offset);
            self.arrange(key);
        }
        Some(entry)
    }

    /// Notes what an entry is before it changes, once a round.
    pub(super) fn note(&mut self, offset: Offset) {
        let entry = self.held.get(&offset).cloned();
        self.before.entry(offset).or_insert(Before::Was(entry));
    }

    /// Of a key, only the first message waits for its turn, and only while none is in a member's hands.
    fn arrange(&mut self, key: &Arc<str>) {
        let Some(of_key) = self.keys.get_mut(key) else { return };
        let next = if of_key.leased.is_some() { None } else { of_key.offsets.first().copied() };
        let before = std::mem::replace(&mut of_key.placed, next);
        match (of_key.offsets.is_empty(), of_key.idle) {
            (true, None) => {
                self.n_idled += 1;
                of_key.idle = Some(self.n_idled);
                self.idle_keys.insert(self.n_idled, Arc::clone(key));
                self.forget_idle_keys();
            }
            (false, Some(idle)) => {
                of_key.idle = None;
                self.idle_keys.remove(&idle);
            }
            _ => {}
        }
        if before == next {
            return;
        }
        if let Some(before) = before
            && let Some(entry) = self.held.get(&before).cloned()
        {
            self.unqueue(before, &entry);
        }
        if let Some(next) = next {
            self.queue(next);
        }
    }

    /// Queues what waits for nothing but its time and a member.
    fn queue(&mut self, offset: Offset) {
        let Some(entry) = self.held.get(&offset) else { return };
        let HeldState::Waiting(why) = entry.held.state else { return };
        if self.config.max_deliver.is_some_and(|max| entry.held.count >= max) && why != Why::Redrive {
            self.dying.insert(offset);
        } else if entry.held.due > self.now {
            self.timers.insert((entry.held.due, offset));
        } else if let Some(owner) = self.owner_of(entry).and_then(|owner| self.members.get_mut(owner)) {
            owner.runnable.insert(offset);
            let owner = owner.id;
            self.members.feed(owner);
        } else {
            self.runnable.insert(offset);
        }
    }

    fn unqueue(&mut self, offset: Offset, entry: &Entry) {
        self.timers.remove(&(entry.held.due, offset));
        self.runnable.remove(&offset);
        self.dying.remove(&offset);
        if let Some(owner) = self.owner_of(entry).and_then(|owner| self.members.get_mut(owner)) {
            owner.runnable.remove(&offset);
        }
    }

    /// The living member that an entry's key belongs to.
    fn owner_of(&self, entry: &Entry) -> Option<u64> {
        let KeyOf::Is(key) = &entry.key else { return None };
        self.keys.get(key)?.owner.filter(|owner| self.members.get(*owner).is_some())
    }

    /// Gives what waited for a member that is gone to anybody.
    pub(super) fn disown(&mut self, runnable: impl IntoIterator<Item = Offset>) {
        runnable.into_iter().for_each(|offset| self.queue(offset));
    }

    pub(super) fn key_of(&self, message: &Message) -> KeyOf {
        let key = self.config.key.as_deref().and_then(|header| message.headers.get(header));
        key.map_or(KeyOf::None, |key| KeyOf::Is(key.into()))
    }

    /// Whether nothing is to be done with an entry now.
    fn is_idle(&self, entry: &Entry) -> bool {
        entry.held.due > self.now || matches!(entry.key, KeyOf::Is(_))
    }

    fn forget_idle_keys(&mut self) {
        while self.idle_keys.len() > IDLE_KEYS_MAX {
            let Some((_, key)) = self.idle_keys.pop_first() else { return };
            self.keys.remove(&key);
        }
    }
}
