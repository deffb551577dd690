//! Quintet's doors: a hub's topics and services over HTTP, server-sent events and WebSocket.
//!
//! A gateway translates and decides nothing: what a request means is here, what becomes of it is the hub's business.
//! [`router`](crate::http::router) gives the whole surface as an [`axum::Router`], to be mounted in an application of
//! one's own or handed to [`serve`](crate::serve::serve), which owns the accept loop.
#![forbid(unsafe_code)]

pub mod auth;
pub mod config;
pub mod error;
pub mod http;
pub mod origin;
pub mod serve;
pub mod state;
pub mod websocket;

mod convert;
mod format;
mod groups;
mod presence;
mod refused;
mod sse;
