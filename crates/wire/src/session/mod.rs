//! The frames of a `/ws` session, in both directions: [`command`]s and the [`answer`]s to them, and what the hub
//! sends unasked, [`delivery`] of messages and [`hub`] frames. Consumer [`groups`] have a file of their own. Which frame may follow which is the gateway's matter.

pub mod answer;
pub mod command;
pub mod delivery;
pub mod groups;
pub mod hub;

mod encode;
mod members;
mod parse;

#[cfg(test)]
mod tests;
