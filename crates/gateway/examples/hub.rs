//! A hub in memory behind its HTTP doors, for trying things out: `cargo run -p quintet-gateway --example hub -- 7070`.
//! The real one is `quintet serve`.

use std::error::Error;
use std::sync::Arc;

use quintet_core::cursor::LogId;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::hub::{Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_gateway::config::GatewayConfig;
use quintet_gateway::http::router;
use quintet_gateway::serve::{ServeConfig, serve};
use quintet_gateway::state::Gateway;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(7070), |port| port.parse::<u16>())?;
    // A log's id is new for every process, so that cursors of an earlier one are recognised.
    let log = LogId(getrandom::u32().map_err(|error| error.to_string())?.max(1));
    let hub = Hub::start(HubConfig::new(Arc::new(MemoryEngine::new(log, Limits::default()))))?;
    let gateway = Gateway::new(Arc::clone(&hub), GatewayConfig::default());
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let shutdown = gateway.shutdown().clone();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.begin();
        }
    });
    serve(listener, router(gateway), shutdown, ServeConfig::default()).await?;
    hub.shutdown().await?;
    Ok(())
}
