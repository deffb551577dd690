//! What a handler of one's own costs: axum, as it comes, that answers a POST with its body.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

/// Serves until killed.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let router = Router::new().route("/{*path}", post(async |body: Bytes| body));
        axum::serve(listener, router).await?;
        Ok(())
    })
}
