//! Bytes on a TCP connection, for what no well-behaved client would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::deadline::{SOON, within};
use crate::harness::hub::Hub;

pub async fn connect(hub: &Hub) -> TcpStream {
    within(SOON, "a connection", TcpStream::connect(("127.0.0.1", hub.port))).await.unwrap()
}

/// Sends bytes and returns what comes back until the hub closes, or a whole head has come.
pub async fn exchange(hub: &Hub, bytes: &[u8]) -> String {
    let mut stream = connect(hub).await;
    // The hub may refuse before it has read everything; what it says is read all the same.
    let _refused_early = stream.write_all(bytes).await;
    head(&mut stream, SOON).await
}

/// What comes until the connection ends or an empty line ends a head.
pub async fn head(stream: &mut TcpStream, limit: Duration) -> String {
    let mut received = Vec::new();
    within(limit, "an answer", async {
        let mut chunk = [0; 4096];
        while !received.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(n) => received.extend_from_slice(&chunk[..n]),
            }
        }
    })
    .await;
    String::from_utf8_lossy(&received).into_owned()
}

/// The status of a head.
#[track_caller]
pub fn status(head: &str) -> u16 {
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    status.unwrap_or_else(|| panic!("no status line: {head:?}"))
}
