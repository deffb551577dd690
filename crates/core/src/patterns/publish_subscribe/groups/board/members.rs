//! The members of a group, and who of them has room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::cursor::Offset;
use crate::patterns::publish_subscribe::groups::board::Board;

/// Names a member while it is there.
pub(in crate::patterns::publish_subscribe::groups) type MemberId = u64;

/// Payload bytes that one member is given in one round; a single larger message is given alone.
const ROUND_BYTES_MAX: usize = 256 << 10;

/// Members that have left and are still in turn.
const RING_SPARE: usize = 64;

/// A member.
#[derive(Debug)]
pub(in crate::patterns::publish_subscribe::groups) struct Member {
    pub(super) id: MemberId,
    pub(super) name: Arc<str>,
    /// Messages that it may hold: what it asked for, and no more than the group gives one member.
    limit: u32,
    asked_limit: u32,
    /// What it holds.
    leased: BTreeSet<Offset>,
    /// What it takes until it says more: for one that is connected as much as it may hold, for one that claims what its
    /// claim asks for.
    pub(super) asked: u32,
    pub(super) connected: bool,
    /// What only it may be given.
    pub(super) runnable: BTreeSet<Offset>,
    in_ring: bool,
    round_bytes: usize,
}

impl Member {
    fn n_held(&self) -> u32 {
        u32::try_from(self.leased.len()).unwrap_or(u32::MAX)
    }

    /// Messages that it can be given now.
    pub(super) fn room(&self) -> u32 {
        if self.round_bytes >= ROUND_BYTES_MAX { 0 } else { self.limit.saturating_sub(self.n_held()).min(self.asked) }
    }
}

/// All members.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<MemberId, Member>,
    last_id: MemberId,
    /// Those that may have room, in turn.
    ring: VecDeque<MemberId>,
    /// Claiming members that hold nothing any more, since this was last asked for.
    emptied: Vec<MemberId>,
}

impl Members {
    pub(super) fn get(&self, id: MemberId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.by_id.iter().map(|(id, member)| (*id, member))
    }

    /// Messages that all together can be given now.
    pub(super) fn room(&self) -> u64 {
        self.by_id.values().map(|member| u64::from(member.room())).sum()
    }

    pub(super) fn is_any_hungry(&self) -> bool {
        self.ring.iter().any(|id| self.by_id.get(id).is_some_and(|member| member.room() > 0))
    }

    pub(super) fn lease(&mut self, id: MemberId, offset: Offset) {
        if let Some(member) = self.by_id.get_mut(&id) {
            member.leased.insert(offset);
        }
    }

    pub(super) fn release(&mut self, id: MemberId, offset: Offset) {
        if let Some(member) = self.by_id.get_mut(&id) {
            member.leased.remove(&offset);
            if member.leased.is_empty() && !member.connected {
                self.emptied.push(id);
            }
        }
        self.feed(id);
    }

    /// Puts a member that has room among those in turn.
    pub(super) fn feed(&mut self, id: MemberId) {
        if let Some(member) = self.by_id.get_mut(&id)
            && member.room() > 0
            && !std::mem::replace(&mut member.in_ring, true)
        {
            self.ring.push_back(id);
        }
    }

    /// The next member in turn that has room.
    pub(super) fn next_hungry(&mut self) -> Option<MemberId> {
        while let Some(id) = self.ring.pop_front() {
            let Some(member) = self.by_id.get_mut(&id) else { continue };
            member.in_ring = false;
            if member.room() > 0 {
                return Some(id);
            }
        }
        None
    }

    /// Keeps those that have left from gathering among those in turn.
    fn tidy_ring(&mut self) {
        if self.ring.len() > 2 * self.by_id.len() + RING_SPARE {
            self.ring.retain(|id| self.by_id.contains_key(id));
        }
    }

    /// Notes what a member was given in this round.
    pub(super) fn give(&mut self, id: MemberId, bytes: usize) {
        if let Some(member) = self.by_id.get_mut(&id) {
            member.round_bytes += bytes;
            if !member.connected {
                member.asked = member.asked.saturating_sub(1);
            }
        }
        self.feed(id);
    }

    pub(super) fn end_round(&mut self) {
        let ids: Vec<MemberId> = self.by_id.values().filter(|m| m.round_bytes > 0).map(|m| m.id).collect();
        for id in ids {
            if let Some(member) = self.by_id.get_mut(&id) {
                member.round_bytes = 0;
            }
            self.feed(id);
        }
    }

    pub(super) fn limit_all(&mut self, limit: u32) {
        let ids: Vec<MemberId> = self.by_id.keys().copied().collect();
        for id in ids {
            if let Some(member) = self.by_id.get_mut(&id) {
                member.limit = member.asked_limit.min(limit);
            }
            self.feed(id);
        }
    }
}

impl Board {
    /// Adds a member that may hold so many messages. One that claims is given none before it asks.
    pub(in crate::patterns::publish_subscribe::groups) fn join(
        &mut self,
        name: Arc<str>,
        limit: u32,
        connected: bool,
    ) -> MemberId {
        let members = &mut self.members;
        members.last_id += 1;
        let id = members.last_id;
        let member = Member {
            id,
            name,
            limit: limit.min(self.config.in_flight_per_member),
            asked_limit: limit,
            leased: BTreeSet::new(),
            asked: if connected { u32::MAX } else { 0 },
            connected,
            runnable: BTreeSet::new(),
            in_ring: false,
            round_bytes: 0,
        };
        members.by_id.insert(id, member);
        members.feed(id);
        id
    }

    /// How much a member takes from now on: nothing while it is full.
    pub(in crate::patterns::publish_subscribe::groups) fn ask(&mut self, id: MemberId, asked: u32) {
        if let Some(member) = self.members.get_mut(id) {
            member.asked = asked;
        }
        self.members.feed(id);
    }

    /// A member may hold another number of messages.
    pub(in crate::patterns::publish_subscribe::groups) fn limit(&mut self, id: MemberId, limit: u32) {
        if let Some(member) = self.members.get_mut(id) {
            member.asked_limit = limit;
            member.limit = limit.min(self.config.in_flight_per_member);
        }
        self.members.feed(id);
    }

    /// Removes a member. What it held is handed out again at once.
    pub(in crate::patterns::publish_subscribe::groups) fn leave(&mut self, id: MemberId) {
        let Some(member) = self.members.by_id.remove(&id) else { return };
        self.members.tidy_ring();
        self.disown(member.runnable);
        member.leased.into_iter().for_each(|offset| self.lose(offset));
    }

    /// Claiming members that hold nothing any more.
    pub(in crate::patterns::publish_subscribe::groups) fn take_emptied(&mut self) -> Vec<MemberId> {
        std::mem::take(&mut self.members.emptied)
    }

    /// Whether nothing is known of a member but its name.
    pub(in crate::patterns::publish_subscribe::groups) fn is_idle_member(&self, id: MemberId) -> bool {
        self.members.get(id).is_none_or(|member| member.leased.is_empty() && member.asked == 0)
    }

    /// The members: id, name, what they hold and may hold, whether they are connected.
    pub(in crate::patterns::publish_subscribe::groups) fn members(
        &self,
    ) -> impl Iterator<Item = (MemberId, &Arc<str>, u32, u32, bool)> {
        self.members.iter().map(|(id, member)| (id, &member.name, member.n_held(), member.limit, member.connected))
    }
}
