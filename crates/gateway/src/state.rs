//! What all handlers share: the hub, the settings, and the signal that the doors are closing.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use quintet_core::hub::Hub;
use tokio::sync::watch;

use crate::config::GatewayConfig;
use crate::refused::Refusals;
use crate::websocket::doors::Doors;

/// The state of the router; a clone is a reference to the same.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Arc<Hub>,
    config: GatewayConfig,
    shutdown: Shutdown,
    /// Bytes of bodies that are being received.
    body_bytes: Arc<AtomicUsize>,
    websocket: Arc<Doors>,
    refusals: Arc<Refusals>,
}

impl Gateway {
    /// Doors to this hub.
    pub fn new(hub: Arc<Hub>, config: GatewayConfig) -> Self {
        let shutdown = Shutdown::new();
        let websocket = Doors::new(&config.websocket, shutdown.clone());
        Self(Arc::new(Shared {
            hub,
            config,
            shutdown,
            body_bytes: Arc::default(),
            websocket,
            refusals: Arc::default(),
        }))
    }

    /// The hub behind the doors.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// The settings.
    pub fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    /// The signal that the doors are closing.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    pub(crate) fn websocket(&self) -> &Arc<Doors> {
        &self.0.websocket
    }

    pub(crate) fn refusals(&self) -> &Arc<Refusals> {
        &self.0.refusals
    }

    pub(crate) fn body_bytes(&self) -> &Arc<AtomicUsize> {
        &self.0.body_bytes
    }
}

/// Tells everything that waits to come to an end. Once begun, it stays so.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Begins to close: long polls answer, streams and WebSockets end, new connections are refused.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it has begun. The future owns all it needs; dropping it has no effect.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut signal = self.0.subscribe();
        // The sender is in the future too, so that the wait can only end by the signal.
        let sender = self.0.clone();
        async move {
            if signal.wait_for(|begun| *begun).await.is_err() {
                tracing::debug!("the shutdown signal is gone");
            }
            drop(sender);
        }
    }
}
