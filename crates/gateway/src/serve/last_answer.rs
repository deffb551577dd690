//! What a connection is told that will not be served: that there are too many, or that it has to speak TLS.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use quintet_wire::problem::kind::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::error::Problem;

/// How long a client may take to read it.
const TIME: Duration = Duration::from_secs(1);

/// What is answered to a connection too many.
pub(crate) fn refusal(n_connections: usize) -> Bytes {
    let detail = format!("the hub holds its limit of {n_connections} connections; come back in a moment");
    last_answer(&Problem::new(Kind::Overloaded, detail), "503 Service Unavailable\r\nRetry-After: 1")
}

/// What is answered to plain HTTP where TLS is spoken.
pub(crate) fn not_tls() -> Bytes {
    let detail = "this port speaks TLS; the hub's URL begins with https:// or wss://";
    last_answer(&Problem::new(Kind::BadRequest, detail), "400 Bad Request")
}

/// Turns a connection away with an answer.
pub(crate) async fn refuse(stream: TcpStream, refusal: Bytes, _permit: OwnedSemaphorePermit) {
    if let Err(error) = tell(stream, &refusal).await {
        tracing::debug!(%error, "a connection too many did not wait for its answer");
    }
}

/// Answers and closes. What the client sends is read first, as it would otherwise lose the answer with it.
pub(crate) async fn tell(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    let answer = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok(())
    };
    timeout(TIME, answer).await?
}

/// An answer without a request that was understood, in HTTP/1.1, which every client understands as far as this.
fn last_answer(problem: &Problem, status: &str) -> Bytes {
    let body = problem.object().to_json();
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: cross-origin\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer.into()
}
