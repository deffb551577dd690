//! Presence: who is on a topic, as a snapshot and as messages.
//!
//! A member is there with its first connection or poll and is gone with its last: a connection that is lost has a grace
//! period to come back in, a poller has a lease that each of its questions renews. Changes are messages of the topic
//! `$presence/{topic}`, so that following them is reading like any other; a snapshot comes with the cursor behind which
//! they go on. Nothing here knows how a member came: that is a gateway's business.

mod alarms;
mod desk;
mod event;
mod guard;
mod member;
mod roster;
mod rosters;

pub use crate::presence::desk::{Presence, PresentMember, Snapshot};
pub use crate::presence::guard::PresenceGuard;
pub use crate::presence::member::{Member, MemberKey};
