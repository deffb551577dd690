//! What no well-behaved client sends: it gets the right status or close code, and costs nothing.

mod frames;
mod requests;
mod slow;
