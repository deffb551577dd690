//! What goes wrong, as RFC 9457 problem objects: the [`object`] on the wire and the [`kind`]s there are, each with a
//! paragraph that says what to do. Which fault is which problem is for the gateway to say.

pub mod kind;
pub mod object;

mod table;
