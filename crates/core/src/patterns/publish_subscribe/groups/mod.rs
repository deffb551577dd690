//! Consumer groups: each message goes to one member, and is handed out again until it is acknowledged.
//!
//! | file | what it holds |
//! |---|---|
//! | [`consumer`] | what members say and get |
//! | [`operate`] | groups on the hub: put, describe, consume, claim, acknowledge |
//! | `directory` | which groups there are, and how each is reached |
//! | `pump` | the one task of a group: it reads on, commits what changes, and then hands out |
//! | `board` | who holds what, what is due, what belongs together: the state, without any waiting |
//! | `letters` | dead letters: how they are made, and how they are tried again |
//!
//! A claim is committed before its message is handed out, an acknowledgement before it is answered, and a dead letter
//! together with the settlement of what it is a copy of. One transaction of a group is under way at a time; everything
//! that is asked for meanwhile goes into the next one, so a group's throughput is not bound by the disk's latency.

pub mod consumer;
pub mod operate;

mod board;
mod directory;
mod letters;
mod pump;

pub(crate) use self::directory::Directory;
