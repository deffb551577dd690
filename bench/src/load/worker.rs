//! A worker of a consumer group: it takes what it is given, acknowledges all of it, and asks for more.

use anyhow::Result;

/// What a worker heard in some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Messages that it was given.
    pub(crate) delivered: u64,
    /// Acknowledgements that were confirmed; protocols without confirmations have none.
    pub(crate) confirmed: u64,
}

/// How a server's workers speak.
pub(crate) trait Speech: std::fmt::Debug {
    /// Takes whole messages off the front of `seen`, and says in `out` what is to be answered.
    fn hear(&mut self, seen: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Heard>;
}
