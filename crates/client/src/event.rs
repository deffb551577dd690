//! What a reader meets on its way through a topic.

use quintet_wire::envelope::Envelope;
use quintet_wire::token::Cursor;

/// One step of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message.
    Message(Envelope),
    /// Messages were removed by retention before they were read. Reading goes on after this.
    Gap {
        /// The topic that lost them.
        topic: String,
        /// From where reading goes on.
        first_available: Cursor,
    },
    /// The topic is closed, and everything in it was read. A reader of one topic ends here.
    Closed {
        /// The topic.
        topic: String,
    },
    /// The topic was deleted. A reader of one topic ends here.
    Deleted {
        /// The topic.
        topic: String,
    },
}
