//! Members that are connected: their sinks, and what a full one has not taken yet.

use std::collections::{HashMap, VecDeque};

use crate::error::Error;
use crate::fanout::Taken;
use crate::patterns::publish_subscribe::groups::board::{Board, MemberId};
use crate::patterns::publish_subscribe::groups::consumer::{Consumer, Handed};

/// The sinks of connected members.
#[derive(Default)]
pub(super) struct Seats(HashMap<MemberId, Seat>);

struct Seat {
    sink: Box<dyn Consumer>,
    full: bool,
    /// What one round gave it while it was full. It gets no more before it has taken these.
    backlog: VecDeque<Handed>,
}

impl Seats {
    pub(super) fn take(&mut self, member: MemberId, sink: Box<dyn Consumer>) {
        self.0.insert(member, Seat { sink, full: false, backlog: VecDeque::new() });
    }

    /// Hands a message to a member; gives it back if the member is not one of these.
    pub(super) fn hand(&mut self, member: MemberId, handed: Handed, board: &mut Board) -> Result<(), Handed> {
        let Some(seat) = self.0.get_mut(&member) else { return Err(handed) };
        if seat.full {
            seat.backlog.push_back(handed);
            return Ok(());
        }
        match seat.sink.take(&handed) {
            Taken::Yes => return Ok(()),
            Taken::YesAndFull => {}
            Taken::No => seat.backlog.push_back(handed),
            Taken::Gone => {
                self.leave(member, board);
                return Ok(());
            }
        }
        seat.full = true;
        board.ask(member, 0);
        Ok(())
    }

    /// A member that was full has room again.
    pub(super) fn ready(&mut self, member: MemberId, board: &mut Board) {
        let Some(seat) = self.0.get_mut(&member) else { return };
        seat.full = false;
        while let Some(handed) = seat.backlog.pop_front() {
            // What has taken too long is somebody else's by now.
            if !board.is_leased(handed.message.offset, handed.count) {
                continue;
            }
            match seat.sink.take(&handed) {
                Taken::Yes => {}
                Taken::YesAndFull => {
                    seat.full = true;
                    return;
                }
                Taken::No => {
                    seat.backlog.push_front(handed);
                    seat.full = true;
                    return;
                }
                Taken::Gone => {
                    self.leave(member, board);
                    return;
                }
            }
        }
        board.ask(member, u32::MAX);
    }

    pub(super) fn leave(&mut self, member: MemberId, board: &mut Board) {
        if self.0.remove(&member).is_some() {
            board.leave(member);
        }
    }

    pub(super) fn end(&mut self, error: &Error) {
        self.0.drain().for_each(|(_, mut seat)| seat.sink.end(error));
    }
}
