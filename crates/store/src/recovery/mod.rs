//! Opening: from the newest intact checkpoint and the log behind it to the state that was committed.

pub(crate) mod damage;
pub(crate) mod layout;
pub(crate) mod missing;
pub(crate) mod open;
pub(crate) mod replay;
pub(crate) mod tail;
