//! The command line: one file a command, and what they share.

pub(crate) mod args;

pub(crate) mod publish;
pub(crate) mod subscribe;

pub(crate) mod request;
pub(crate) mod respond;

pub(crate) mod consume;
pub(crate) mod groups;
pub(crate) mod presence;

pub(crate) mod topics;

pub(crate) mod store;
pub(crate) mod token;

pub(crate) mod child;
pub(crate) mod connect;
pub(crate) mod exit;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod runtime;
pub(crate) mod table;
