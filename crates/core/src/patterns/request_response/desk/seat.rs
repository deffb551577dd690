//! A responder's place at the desk: what it may take, and what it has.

use std::collections::{HashSet, VecDeque};
use std::task::Waker;

use crate::patterns::request_response::request::RequestId;

/// Names a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::patterns::request_response) struct SeatId(pub(super) u64);

/// How long a responder stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::patterns::request_response) enum SeatKind {
    /// As long as it is connected: leaving with a request in its hands loses it.
    Registered,
    /// For one request, and then it cannot be watched any more.
    Claim,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) kind: SeatKind,
    /// What it calls itself, for the log.
    pub(super) label: Box<str>,
    /// Requests that it serves at once.
    pub(super) capacity: usize,
    /// Meant for it, not taken yet, oldest first.
    pub(super) assigned: VecDeque<RequestId>,
    /// Handed over to it.
    pub(super) held: HashSet<RequestId>,
    /// Handed over to it, and of no use any more; it has not heard so yet.
    pub(super) cancelled: VecDeque<RequestId>,
    /// It takes nothing more, and is there only for what it has.
    pub(super) retired: bool,
    /// Whether it has asked for more since it last got something. One that does not ask gets nothing.
    pub(super) listening: bool,
    /// Whether what is assigned was so already at the last tick.
    pub(super) overdue: bool,
    pub(super) waker: Option<Waker>,
    /// When it last got something, counted in assignments.
    pub(super) turn: u64,
}

impl Seat {
    pub(super) fn new(kind: SeatKind, label: &str, capacity: usize, turn: u64) -> Self {
        Self {
            kind,
            label: label.into(),
            capacity,
            assigned: VecDeque::new(),
            held: HashSet::new(),
            cancelled: VecDeque::new(),
            retired: false,
            listening: false,
            overdue: false,
            waker: None,
            turn,
        }
    }

    pub(super) fn load(&self) -> usize {
        self.assigned.len() + self.held.len() + self.cancelled.len()
    }

    /// Forgets all it has; gives whom to wake.
    pub(super) fn clear(&mut self) -> Option<Waker> {
        self.assigned.clear();
        self.held.clear();
        self.cancelled.clear();
        self.waker.take()
    }

    pub(super) fn has_room(&self) -> bool {
        !self.retired && self.load() < self.capacity
    }
}
