//! Publish/subscribe: tell everyone, or share it out among workers.
//!
//! | file | what it holds |
//! |---|---|
//! | [`publish`] | the publisher's half: append once, and every cursor sees it |
//! | [`groups`] | consumer groups: a durable cursor that several consumers share, with acknowledgements |

pub mod groups;
pub mod publish;

pub use self::publish::{IfAbsent, Publish, Published};
