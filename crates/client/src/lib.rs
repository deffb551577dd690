//! A client for a Quintet hub: the five patterns, one cursor.
//!
//! One file for each pattern: [`request_response`], [`publish_subscribe`], [`short_polling`], [`long_polling`] and
//! [`push`]. The last four read the same topics, and each gives a [`subscription::Subscription`] that yields every
//! message once and in order, reconnects by itself, and has a [cursor](subscription::Subscription::cursor) with which
//! any of the others goes on where it stopped.
//!
//! ```no_run
//! # async fn example() -> Result<(), quintet_client::error::Error> {
//! use quintet_client::client::Client;
//! use quintet_client::event::Event;
//! use quintet_wire::payload::Body;
//! use quintet_wire::token::Since;
//!
//! let client = Client::new("http://127.0.0.1:7070")?;
//! client.publish("chat", Body::text("hello").into()).await?;
//! let mut chat = client.push("chat", Since::Start);
//! while let Some(event) = chat.next().await {
//!     if let Event::Message(message) = event? {
//!         assert_eq!(message.text(), Some("hello"));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! With an `https` URL everything goes over TLS, by rustls with `ring`. It therefore turns on `reqwest`'s feature
//! `rustls-no-provider`: an application whose own `reqwest` has no TLS has to install a provider of rustls for it.
//!
//! It knows nothing of how a hub works inside, and has no fallback from one transport to another: the caller chooses.
#![warn(missing_docs)]

pub mod client;
pub mod error;
pub mod event;
pub mod limits;
pub mod subscription;
pub mod topics;

pub mod request_response;

pub mod publish_subscribe;

pub mod consumer;
pub mod groups;

pub mod short_polling;

pub mod long_polling;

pub mod push;

pub mod presence;

pub mod responder;

mod backoff;
mod connection;
mod hands;
mod http;
mod membership;
mod pipeline;
mod reading;
mod tls;
mod window;

#[cfg(test)]
mod fake;
