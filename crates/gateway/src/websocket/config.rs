//! What an operator can set at the WebSocket door.

use std::time::Duration;

/// The settings of WebSockets.
#[derive(Debug, Clone)]
pub struct WebSocketConfig {
    /// A connection whose client takes no bytes for so long, although there are some for it, is closed with 4408.
    /// Default 30 s.
    pub stall: Duration,
    /// A client from which nothing has come for so long is sent a ping. Default 30 s.
    pub ping: Duration,
    /// A client from which nothing has come for so long, no pong either, is taken for dead. Default 60 s.
    pub silence: Duration,
    /// How long a closing handshake may take. Default 2 s.
    pub closing: Duration,
    /// How long replies to requests in hand are taken when the hub is stopping. The binary gives half of the time that
    /// an orderly end may take, as it gives requests over HTTP. Default 5 s.
    pub goodbye: Duration,
    /// How exactly the times above are kept. Default 1 s.
    pub tick: Duration,
    /// What the kernel is asked to hold for one connection at most (`SO_SNDBUF`; Linux takes twice as much). Default
    /// 128 KiB.
    pub send_buffer_bytes: u32,
    /// Encoded messages that are held for clients which have not taken them yet, over all connections; each is counted
    /// once, however many wait for it. A client for which this would be exceeded loses its connection. Default 256 MiB.
    pub unsent_bytes: usize,
    /// Messages of clients that are incomplete or not yet dealt with, over all connections. A client for which this
    /// would be exceeded is closed with 4429. Default 256 MiB.
    pub received_bytes: usize,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            ping: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            closing: Duration::from_secs(2),
            goodbye: Duration::from_secs(5),
            tick: Duration::from_secs(1),
            send_buffer_bytes: 128 << 10,
            unsent_bytes: 256 << 20,
            received_bytes: 256 << 20,
        }
    }
}
