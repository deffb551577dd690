//! What keeps a connected member present.

use std::fmt;
use std::sync::Arc;

use crate::presence::member::MemberKey;
use crate::presence::roster::Roster;
use crate::presence::rosters::{Departure, Rosters};

/// Keeps a member present. Dropped, it is a lost connection: the member has the grace period to come back in.
///
/// It may be that of a caller who is not shown; then it does nothing.
#[must_use = "dropping the guard is a lost connection"]
pub struct PresenceGuard(Option<Box<Seat>>);

struct Seat {
    rosters: Arc<Rosters>,
    roster: Arc<Roster>,
    key: Arc<MemberKey>,
}

impl PresenceGuard {
    pub(super) fn new(rosters: Arc<Rosters>, roster: Arc<Roster>, key: Arc<MemberKey>) -> Self {
        Self(Some(Box::new(Seat { rosters, roster, key })))
    }

    /// Of somebody who is not shown.
    pub(super) fn of_nobody() -> Self {
        Self(None)
    }

    /// Leaves in order: with its last connection the member is gone at once.
    pub fn leave(mut self) {
        self.end(Departure::InOrder);
    }

    fn end(&mut self, departure: Departure) {
        if let Some(seat) = self.0.take() {
            seat.rosters.depart(&seat.roster, &seat.key, departure);
        }
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        self.end(Departure::Lost);
    }
}

impl fmt::Debug for PresenceGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PresenceGuard").field(&self.0.as_ref().map(|seat| &seat.key)).finish()
    }
}
