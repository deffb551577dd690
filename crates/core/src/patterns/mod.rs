//! The five patterns. Each is a cursor over a log plus a way to wait; each has its own file, and none knows another.
//!
//! | pattern | the client says | on the hub |
//! |---|---|---|
//! | [`request_response`] | do this and answer me | [`Hub::request`](crate::hub::Hub::request), [`Hub::respond`](crate::hub::Hub::respond) |
//! | [`publish_subscribe`] | tell everyone | [`Hub::publish`](crate::hub::Hub::publish) |
//! | [`short_polling`] | what is new since my cursor? | [`Hub::read`](crate::hub::Hub::read) |
//! | [`long_polling`] | tell me when something is new | [`Hub::wait`](crate::hub::Hub::wait) |
//! | [`push`] | keep telling me | [`Hub::subscribe`](crate::hub::Hub::subscribe), [`Hub::follow`](crate::hub::Hub::follow) |

pub mod long_polling;
pub mod publish_subscribe;
pub mod push;
pub mod request_response;
pub mod short_polling;
