//! What an operator can set at the doors. The hub's own bounds are in `quintet_core::limits`.

use std::time::Duration;

use crate::auth::Tokens;
use crate::origin::OriginRules;
use crate::websocket::config::WebSocketConfig;

/// Who is shown in presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PresenceMode {
    /// Nobody; whoever asks to be is refused.
    Off,
    /// Those who ask to be, by `Presence-Id` or the like.
    Explicit,
    /// These, and everybody who reads a topic with a token.
    #[default]
    Subjects,
}

impl PresenceMode {
    /// All of them with the names that configurations use.
    pub const NAMES: [(&'static str, Self); 3] =
        [("off", Self::Off), ("explicit", Self::Explicit), ("subjects", Self::Subjects)];

    /// The name used in configurations.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// The settings of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Who may come in; none means everybody may do everything.
    pub tokens: Tokens,
    /// Which web pages may reach the hub, and under which host names.
    pub origins: OriginRules,
    /// Whether publishing under `/topics/` creates a topic that does not exist. Default true.
    pub create_on_publish: bool,
    /// Bytes of one request body. Default 16 MiB.
    pub body_bytes: usize,
    /// Bytes of all request bodies that are being received. Default 512 MiB.
    pub bodies_bytes: usize,
    /// A body that brings nothing for so long is given up. Default 10 s.
    pub body_idle: Duration,
    /// A body has to be complete after so long. Default 300 s.
    pub body_time: Duration,
    /// How long a long poll waits that does not say. Default 25 s; the hub's `wait_max` bounds it.
    pub long_poll_wait: Duration,
    /// Streams of events tell their cursor so often when nothing happens. Default 15 s.
    pub heartbeat: Duration,
    /// A `live=sse` stream is ended after so long, so that caches can collapse readers (Durable Streams section 10.2).
    /// Default 60 s.
    pub sse_rotation: Duration,
    /// What an `EventSource` waits before it connects again. Default 1 s.
    pub retry: Duration,
    /// Who is shown in presence. Default [`PresenceMode::Subjects`].
    pub presence: PresenceMode,
    /// How WebSockets are served.
    pub websocket: WebSocketConfig,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            tokens: Tokens::default(),
            origins: OriginRules::default(),
            create_on_publish: true,
            body_bytes: 16 << 20,
            bodies_bytes: 512 << 20,
            body_idle: Duration::from_secs(10),
            body_time: Duration::from_secs(300),
            long_poll_wait: Duration::from_secs(25),
            heartbeat: Duration::from_secs(15),
            sse_rotation: Duration::from_secs(60),
            retry: Duration::from_secs(1),
            presence: PresenceMode::default(),
            websocket: WebSocketConfig::default(),
        }
    }
}
