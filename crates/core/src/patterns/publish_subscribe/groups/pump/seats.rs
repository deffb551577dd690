//! Members that are connected: their sinks, and what a full one has not taken yet.

use std::collections::HashMap;

use crate::error::Error;
use crate::fanout::Taken;
use crate::patterns::publish_subscribe::groups::board::{Board, MemberId};
use crate::patterns::publish_subscribe::groups::consumer::{Consumer, Handed};

/// The sinks of connected members.
#[derive(Default)]
pub(super) struct Seats {
    by_member: HashMap<MemberId, Seat>,
    /// Whom the committed round gives something.
    given: Vec<MemberId>,
}

struct Seat {
    sink: Box<dyn Consumer>,
    full: bool,
    /// What it was given and has not taken: what one round gives it at once, or what it had no room for. It gets no more
    /// before it has taken these.
    backlog: Vec<Handed>,
}

impl Seats {
    pub(super) fn take(&mut self, member: MemberId, sink: Box<dyn Consumer>) {
        self.by_member.insert(member, Seat { sink, full: false, backlog: Vec::new() });
    }

    /// Keeps a message for a member, until [`Self::deliver`]; gives it back if the member is not one of these.
    pub(super) fn hand(&mut self, member: MemberId, handed: Handed) -> Result<(), Handed> {
        let Some(seat) = self.by_member.get_mut(&member) else { return Err(handed) };
        if seat.backlog.is_empty() {
            self.given.push(member);
        }
        seat.backlog.push(handed);
        Ok(())
    }

    /// Offers what was handed.
    pub(super) fn deliver(&mut self, board: &mut Board) {
        for member in std::mem::take(&mut self.given) {
            self.offer(member, board);
        }
    }

    /// A member that was full has room again.
    pub(super) fn ready(&mut self, member: MemberId, board: &mut Board) {
        let Some(seat) = self.by_member.get_mut(&member) else { return };
        seat.full = false;
        // What has taken too long is somebody else's by now.
        seat.backlog.retain(|handed| board.is_leased(handed.message.offset, handed.count));
        self.offer(member, board);
        if self.by_member.get(&member).is_some_and(|seat| !seat.full) {
            board.ask(member, u32::MAX);
        }
    }

    pub(super) fn leave(&mut self, member: MemberId, board: &mut Board) {
        if self.by_member.remove(&member).is_some() {
            board.leave(member);
        }
    }

    pub(super) fn end(&mut self, error: &Error) {
        self.by_member.drain().for_each(|(_, mut seat)| seat.sink.end(error));
    }

    fn offer(&mut self, member: MemberId, board: &mut Board) {
        let Some(seat) = self.by_member.get_mut(&member).filter(|seat| !seat.full && !seat.backlog.is_empty()) else {
            return;
        };
        match seat.sink.take(&seat.backlog) {
            // What a burst has needed is not kept.
            Taken::Yes => seat.backlog = Vec::new(),
            Taken::YesAndFull => {
                seat.backlog = Vec::new();
                seat.full = true;
                board.ask(member, 0);
            }
            Taken::No => {
                seat.full = true;
                board.ask(member, 0);
            }
            Taken::Gone => self.leave(member, board),
        }
    }
}
