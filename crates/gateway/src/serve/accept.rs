//! The accept loop: connections within bounds, HTTP/1.1 and HTTP/2 on one port, and an orderly end. An application with
//! a server of its own mounts the router there instead.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::serve::head_timer::HeadTimer;
use crate::serve::last_answer::{not_tls, refusal, refuse, tell};
use crate::serve::lean::{self, Lean};
use crate::serve::rewound::Rewound;
use crate::serve::tls::{self, Tls, TlsSocket};
use crate::state::{Gateway, Shutdown};

/// Header fields of a request that hyper takes if it is not told otherwise.
const HYPER_HEADERS: usize = 100;

/// The settings of the accept loop.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Connections open at once; one more is answered `503` and closed (with TLS, just closed). Default 200,000.
    pub connections: usize,
    /// A request's head has to be complete so long after its first byte, and a new connection has to bring one, and
    /// its TLS handshake before, within the same time. Up to half a second longer, if it began as a short request.
    /// Default 10 s.
    pub head_time: Duration,
    /// A connection may be idle for so long between two requests. Default 75 s.
    pub idle: Duration,
    /// Header fields of one request. Default 100: as many of a message as there may be, 64, and others.
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
    /// How plain HTTP/1.1 requests to topics and services are served that come in whole and have up to 16 KiB. Default
    /// [`Shortcut::Connection`].
    pub shortcut: Shortcut,
    /// The certificate, for HTTP over TLS; none for plain HTTP. Default none.
    pub tls: Option<Tls>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            connections: 200_000,
            head_time: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            headers: HYPER_HEADERS,
            buffer_bytes: 64 * 1024,
            stalled: Duration::from_secs(30),
            send_buffer_bytes: 256 * 1024,
            http2_streams: 256,
            drain: Duration::from_secs(10),
            shortcut: Shortcut::default(),
            tls: None,
        }
    }
}

/// What is left out on the way of short requests. Nothing of it is seen from outside, but for what it costs.
#[derive(Debug, Clone, Default)]
pub enum Shortcut {
    /// Nothing: hyper and the router serve all.
    Off,
    /// hyper, whose buffers cost more than all else while a request waits.
    #[default]
    Connection,
    /// hyper and the router. Only for this gateway's own [`router`](crate::http::router), served as it is: what an
    /// application has put around it would be left out too.
    Handlers(Gateway),
}

/// A connection's place among those that are allowed. It is in every request's extensions; who takes a connection over
/// (a WebSocket) keeps a clone for as long as it lasts, so that it is counted and waited for.
#[derive(Debug, Clone)]
pub struct Guest(Arc<Place>);

#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    secure: bool,
    peer: SocketAddr,
}

impl Guest {
    /// Whether the connection is behind TLS, so that the hub's URL begins with `https`.
    pub fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// Who is at the other end; behind a proxy, that is the proxy.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }
}

/// The first bytes of an HTTP/2 connection (RFC 9113 section 3.4), as many as tell it from any HTTP/1.1 method.
const PREFACE_START: &[u8] = b"PRI ";
/// Connections that are being turned away with an answer; beyond that they are just closed.
const REFUSALS_MAX: usize = 64;

/// Serves until the shutdown has begun and the requests under way are done, or their time is up.
///
/// Dropping the future stops accepting; connections that are open go on.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown, config: ServeConfig) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(config.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let refusal = refusal(config.connections);
    let lean = |gateway| Lean::new(router.clone(), gateway, shutdown.clone(), &config);
    let lean = match &config.shortcut {
        Shortcut::Off => None,
        Shortcut::Connection => Some(lean(None)),
        Shortcut::Handlers(gateway) => Some(lean(Some(gateway.clone()))),
    };
    let server = Arc::new(Server { router, lean, shutdown: shutdown.clone(), config });
    let mut stop = std::pin::pin!(shutdown.begun());
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest_after(&error).await;
                    continue;
                }
            },
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(permit) => {
                let place = Place { _permit: permit, secure: server.config.tls.is_some(), peer };
                let guest = Guest(Arc::new(place));
                tokio::spawn(Arc::clone(&server).connection(stream, guest));
            }
            // A handshake would cost more than the answer that it is for.
            Err(_) if server.config.tls.is_some() => drop(stream),
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
    lean: Option<Lean>,
    shutdown: Shutdown,
    config: ServeConfig,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, guest: Guest) {
        if let Err(error) = self.tune(&stream) {
            tracing::debug!(%error, "a connection's socket could not be set up");
        }
        if let Some(tls) = &self.config.tls {
            return Box::pin(self.secure(tls, stream, guest)).await;
        }
        let first = tokio::select! {
            // Nothing has been asked yet, so there is nothing to finish.
            () = self.shutdown.begun() => return,
            first = timeout(self.config.head_time, is_http2(&stream)) => first,
        };
        match first {
            // Boxed, so that the many connections of the other kinds do not hold its room.
            Ok(Ok(true)) => Box::pin(self.http2(stream, guest)).await,
            Ok(Ok(false)) => self.plain_http1(stream, guest).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection broke before its first request"),
            Err(_) => tracing::debug!("a connection brought no request in time"),
        }
    }

    async fn plain_http1(&self, stream: TcpStream, guest: Guest) {
        let left = match &self.lean {
            Some(lean) => lean::serve(lean, stream, &guest).await,
            None => Ok(Some(Rewound::new(bytes::Bytes::new(), stream))),
        };
        match left {
            Ok(Some(stream)) => Box::pin(self.http1(stream, guest)).await,
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "an HTTP/1.1 connection broke"),
        }
    }

    async fn secure(&self, tls: &Tls, stream: TcpStream, guest: Guest) {
        match timeout(self.config.head_time, begin_tls(tls, stream)).await {
            Ok(Ok(Some(stream))) if tls::is_http2(&stream) => self.http2(stream, guest).await,
            Ok(Ok(Some(stream))) => self.http1(stream, guest).await,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection broke in or after its TLS handshake"),
            Err(_) => tracing::debug!("a connection brought no handshake with a request in time"),
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

    async fn http1(&self, stream: impl Stream, guest: Guest) {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(HeadTimer::new(self.config.head_time, self.config.idle))
            .header_read_timeout(self.config.head_time)
            .max_buf_size(self.config.buffer_bytes.max(8192));
        // hyper has room for its own bound without asking for memory.
        if self.config.headers != HYPER_HEADERS {
            builder.max_headers(self.config.headers);
        }
        let asked = Arc::new(AtomicBool::new(false));
        let service = self.service(guest, &asked);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            // What was read before may be a whole request, which is seen first.
            biased;
            ended = connection.as_mut() => ended,
            () = self.shutdown.begun() => {
                if !asked.load(Ordering::Relaxed) {
                    // There is half a head at most, which hyper would wait for.
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP/1.1 connection broke");
        }
    }

    async fn http2(&self, stream: impl Stream, guest: Guest) {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(self.config.stalled))
            .keep_alive_timeout(self.config.stalled)
            .max_concurrent_streams(self.config.http2_streams)
            .max_header_list_size(u32::try_from(self.config.buffer_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(self.config.buffer_bytes);
        let connection = builder.serve_connection(TokioIo::new(stream), self.service(guest, &Arc::default()));
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

    /// The router as hyper wants it; `asked` is set with the first request.
    fn service(
        &self,
        guest: Guest,
        asked: &Arc<AtomicBool>,
    ) -> impl hyper::service::Service<
        http::Request<hyper::body::Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + use<> {
        let router = TowerToHyperService::new(self.router.clone());
        let asked = Arc::clone(asked);
        hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(guest.clone());
            router.call(request)
        })
    }
}

/// A connection, as HTTP needs it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// The handshake, and what the client sends first behind it, without taking that. None if there will be no request.
async fn begin_tls(tls: &Tls, stream: TcpStream) -> io::Result<Option<TlsSocket>> {
    if !tls::is_tls(&stream).await? {
        tell(stream, &not_tls()).await?;
        return Ok(None);
    }
    let mut stream = tls.accept(stream).await?;
    let is_open = !stream.fill_buf().await?.is_empty();
    Ok(is_open.then_some(stream))
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

/// Out of file descriptors is no reason to spin; a connection that broke before it was accepted is no reason to wait.
async fn rest_after(error: &io::Error) {
    let broken = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
    if !broken.contains(&error.kind()) {
        tracing::warn!(%error, "no connection can be accepted now; trying again");
        sleep(Duration::from_millis(100)).await;
    }
}
