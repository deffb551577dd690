//! What a group at work tells of itself.

use std::sync::Arc;

use crate::patterns::publish_subscribe::groups::consumer::{GroupInfo, MemberInfo};
use crate::patterns::publish_subscribe::groups::pump::Pump;

impl Pump {
    /// Everything but the lag, for which messages have to be counted.
    pub(super) fn describe(&self) -> GroupInfo {
        let members = self.board.members().map(|(_, name, in_flight, limit, connected)| MemberInfo {
            name: Arc::clone(name),
            in_flight,
            limit,
            connected,
        });
        GroupInfo {
            group: self.handle.group.clone(),
            config: Arc::clone(self.board.config()),
            log: self.handle.log,
            created: self.handle.created,
            claimed_through: self.board.claimed_through(),
            lag: 0,
            lag_is_at_least: false,
            in_flight: self.board.n_leased(),
            waiting: self.board.n_held() - self.board.n_leased(),
            counts: self.board.counts(),
            members: members.collect(),
            problem: self.problem.clone(),
        }
    }
}
