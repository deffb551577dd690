//! The accept loop: connections within bounds, HTTP/1.1 and HTTP/2 on one port, and an orderly end. An application with
//! a server of its own mounts the router there instead.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use quintet_wire::problem::kind::Kind;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::error::Problem;
use crate::serve::head_timer::HeadTimer;
use crate::state::Shutdown;

/// The settings of the accept loop.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Connections open at once; one more is answered `503` and closed. Default 200,000.
    pub connections: usize,
    /// A request's head has to be complete so long after its first byte, and a new connection has to bring one within
    /// the same time. Default 10 s.
    pub head_time: Duration,
    /// A connection may be idle for so long between two requests. Default 75 s.
    pub idle: Duration,
    /// Header fields of one request. Default 200.
    pub headers: usize,
    /// Bytes of a connection's read and write buffers, and so the bound of a request's head. Default 64 KiB.
    pub buffer_bytes: usize,
    /// A connection whose peer takes no byte for so long is closed. Default 30 s.
    pub stalled: Duration,
    /// Bytes that the kernel holds for a slow reader. Default 256 KiB.
    pub send_buffer_bytes: usize,
    /// Requests at once on one HTTP/2 connection. Default 256.
    pub http2_streams: u32,
    /// How long requests under way may take when the server stops. Default 10 s.
    pub drain: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            connections: 200_000,
            head_time: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            headers: 200,
            buffer_bytes: 64 * 1024,
            stalled: Duration::from_secs(30),
            send_buffer_bytes: 256 * 1024,
            http2_streams: 256,
            drain: Duration::from_secs(10),
        }
    }
}

/// A connection's place among those that are allowed. It is in every request's extensions; who takes a connection over
/// (a WebSocket) keeps a clone for as long as it lasts, so that it is counted and waited for.
#[derive(Debug, Clone)]
pub struct Guest {
    _place: Arc<OwnedSemaphorePermit>,
}

/// The first bytes of an HTTP/2 connection (RFC 9113 section 3.4), as many as tell it from any HTTP/1.1 method.
const PREFACE_START: &[u8] = b"PRI ";
/// Connections that are being turned away with an answer; beyond that they are just closed.
const REFUSALS_MAX: usize = 64;
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Serves until the shutdown has begun and the requests under way are done, or their time is up.
///
/// Dropping the future stops accepting; connections that are open go on.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown, config: ServeConfig) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(config.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let refusal = refusal(config.connections);
    let server = Arc::new(Server { router, shutdown: shutdown.clone(), config });
    let mut stop = std::pin::pin!(shutdown.begun());
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    rest_after(&error).await;
                    continue;
                }
            },
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(Arc::clone(&server).connection(stream, Guest { _place: Arc::new(place) }));
            }
            Err(_) => {
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(refuse(stream, refusal.clone(), permit));
                }
            }
        }
    }
    drop(listener);
    let all = u32::try_from(server.config.connections).unwrap_or(u32::MAX);
    if timeout(server.config.drain, places.acquire_many(all)).await.is_err() {
        tracing::warn!("connections were still open when the time to finish was up; they are cut off");
    }
    Ok(())
}

struct Server {
    router: Router,
    shutdown: Shutdown,
    config: ServeConfig,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, guest: Guest) {
        if let Err(error) = self.tune(&stream) {
            tracing::debug!(%error, "a connection's socket could not be set up");
        }
        match timeout(self.config.head_time, is_http2(&stream)).await {
            // Boxed, so that the many connections of the other kind do not hold its room.
            Ok(Ok(true)) => Box::pin(self.http2(stream, guest)).await,
            Ok(Ok(false)) => self.http1(stream, guest).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection broke before its first request"),
            Err(_) => tracing::debug!("a connection brought no request in time"),
        }
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        socket.set_send_buffer_size(self.config.send_buffer_bytes)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
        // Also ends a connection whose peer is alive but takes nothing.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.config.stalled))?;
        Ok(())
    }

    async fn http1(&self, stream: TcpStream, guest: Guest) {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(HeadTimer::new(self.config.head_time, self.config.idle))
            .header_read_timeout(self.config.head_time)
            .max_headers(self.config.headers)
            .max_buf_size(self.config.buffer_bytes.max(8192));
        let connection = builder.serve_connection(TokioIo::new(stream), self.service(guest)).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP/1.1 connection broke");
        }
    }

    async fn http2(&self, stream: TcpStream, guest: Guest) {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(self.config.stalled))
            .keep_alive_timeout(self.config.stalled)
            .max_concurrent_streams(self.config.http2_streams)
            .max_header_list_size(u32::try_from(self.config.buffer_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(self.config.buffer_bytes);
        let connection = builder.serve_connection(TokioIo::new(stream), self.service(guest));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP/2 connection broke");
        }
    }

    fn service(
        &self,
        guest: Guest,
    ) -> impl hyper::service::Service<
        http::Request<hyper::body::Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + use<> {
        let router = TowerToHyperService::new(self.router.clone());
        hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(guest.clone());
            router.call(request)
        })
    }
}

/// Looks at the first bytes without taking them.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; PREFACE_START.len()];
    loop {
        let n = stream.peek(&mut start).await?;
        if n == 0 || start[..n] != PREFACE_START[..n] {
            return Ok(false);
        }
        if n == start.len() {
            return Ok(true);
        }
        // What was seen stays readable, so that there is nothing to wait for but time. This is a client that sends
        // its first bytes one by one.
        sleep(Duration::from_millis(10)).await;
    }
}

/// What is answered to a connection too many, in HTTP/1.1, which every client understands as far as this.
fn refusal(n_connections: usize) -> Bytes {
    let detail = format!("the hub holds its limit of {n_connections} connections; come back in a moment");
    let body = Problem::new(Kind::Overloaded, detail).object().to_json();
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: cross-origin\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer.into()
}

/// Turns a connection away with an answer. What it sends is read first, as it would otherwise lose the answer with it.
async fn refuse(mut stream: TcpStream, refusal: Bytes, _permit: OwnedSemaphorePermit) {
    let answer = async {
        stream.write_all(&refusal).await?;
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    if !matches!(timeout(REFUSAL_TIME, answer).await, Ok(Ok(()))) {
        tracing::debug!("a connection too many did not wait for its answer");
    }
}

/// Out of file descriptors is no reason to spin; a connection that broke before it was accepted is no reason to wait.
async fn rest_after(error: &io::Error) {
    let broken = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
    if !broken.contains(&error.kind()) {
        tracing::warn!(%error, "no connection can be accepted now; trying again");
        sleep(Duration::from_millis(100)).await;
    }
}
