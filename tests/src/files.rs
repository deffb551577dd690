//! More connections than files can be open: those beyond are refused, and the log goes on.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::harness::deadline::{SOON, until, within};
use crate::harness::hub::{binary, clean, free_port};
use crate::harness::raw;

struct Hub(Child);

impl Drop for Hub {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
    }
}

async fn send(stream: &mut TcpStream, request: &str, body: &[u8]) {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
}

#[tokio::test]
async fn the_log_has_files_left_when_connections_have_none() {
    let dir = TempDir::new().unwrap();
    let port = free_port();
    // Segments of 1 MiB: some of what follows needs a new file.
    let quintet = binary().display();
    let script = format!(
        "ulimit -n 300 && exec '{quintet}' serve --listen 127.0.0.1:{port} --data-dir data --set store.segment_bytes=1MiB"
    );
    let mut command = Command::new("bash");
    clean(&mut command).arg("-c").arg(script).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let _hub = Hub(command.spawn().unwrap());
    let address = format!("127.0.0.1:{port}");
    until(SOON, "the hub", || std::net::TcpStream::connect(&address).ok()).await;

    let mut publisher = TcpStream::connect(&address).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..250 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        send(&mut stream, "GET /topics/t?live=long-poll&offset=now HTTP/1.1\r\nHost: localhost\r\n\r\n", b"").await;
        waiting.push(stream);
    }
    // Half of so few files are for connections. One is the publisher's, and one may be that of the question above.
    let deadline = Instant::now() + SOON;
    while waiting.len() > 149 {
        assert!(Instant::now() < deadline, "{} of 250 wait, which is more than there is room for", waiting.len());
        let mut still = Vec::new();
        for mut stream in waiting {
            let mut answer = [0; 12];
            match timeout(Duration::from_millis(5), stream.read_exact(&mut answer)).await {
                Err(_) => still.push(stream),
                Ok(Ok(_)) => assert_eq!(&answer, b"HTTP/1.1 503"),
                // Those beyond what can be turned away at once are just closed.
                Ok(Err(_)) => {}
            }
        }
        waiting = still;
    }
    assert!(waiting.len() >= 148, "{} wait", waiting.len());
    let body = vec![b'x'; 200_000];
    for n in 0..40 {
        let head = format!("POST /topics/other HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        send(&mut publisher, &head, &body).await;
        let head = within(SOON, "an answer", raw::head(&mut publisher, SOON)).await;
        assert_eq!(raw::status(&head), 204, "publish {n}: {head}");
    }
}
