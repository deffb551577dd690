//! Clients that do not keep to the protocol, or only just.

use tokio::io::AsyncWriteExt;

use crate::support::{Server, frame, read_close, read_frame};

async fn check(path: &str, bytes: &[u8], code: u16) {
    let server = Server::start().await;
    let mut stream = server.connect_bare(path).await;
    stream.write_all(bytes).await.unwrap();
    assert_eq!(read_close(&mut stream).await, code);
}

#[tokio::test]
async fn broken_frames_are_answered_with_their_code() {
    check("/ws", &[0x81, 1, b'x'], 1002).await;
    check("/ws", &frame(0xF1, b"x"), 1002).await;
    check("/ws", &frame(0x80, b"x"), 1002).await;
    check("/topics/a", &frame(0x81, &[0xC3, 0x28]), 1007).await;
    check("/topics/a", &[frame(0x01, &[0xE2, 0x82]), frame(0x80, &[0x28])].concat(), 1007).await;
    check("/topics/a", &[0x82, 0xFF, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0], 1009).await;
    check("/topics/a", &frame(0x88, &[0x03, 0xEE]), 1002).await;
}

#[tokio::test]
async fn fragments_become_one_message() {
    let server = Server::start().await;
    let mut stream = server.connect_bare("/topics/a?offset=-1").await;
    let euro = "€".as_bytes();
    let bytes =
        [frame(0x01, &euro[..1]), frame(0x89, b"ping"), frame(0x00, &euro[1..2]), frame(0x80, &euro[2..])].concat();
    for byte in bytes {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(read_frame(&mut stream).await, Some((0xA, b"ping".to_vec())));
    assert_eq!(read_frame(&mut stream).await, Some((0x1, euro.to_vec())));
    stream.write_all(&frame(0x88, &[0x0f, 0xa0, b'!'])).await.unwrap();
    assert_eq!(read_close(&mut stream).await, 4000);
    assert_eq!(read_frame(&mut stream).await, None);
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    let server = Server::start().await;
    let mut stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    let mut request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    )
    .into_bytes();
    request.extend(frame(0x81, br#"{"id":1,"ping":{}}"#));
    stream.write_all(&request).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Z\"}}") {
        seen.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap());
    }
}

#[tokio::test]
async fn a_million_tiny_frames_cost_nothing() {
    let server = Server::start().await;
    let mut stream = server.connect_bare("/ws").await;
    let (mut reading, mut writing) = stream.split();
    let pongs = frame(0x8A, b"").repeat(100_000);
    let fragments = frame(0x00, b"").repeat(100_000);
    let pings = frame(0x89, b"").repeat(20_000);
    let write = async {
        writing.write_all(&frame(0x01, b"")).await.unwrap();
        for _ in 0..5 {
            writing.write_all(&pongs).await.unwrap();
            writing.write_all(&fragments).await.unwrap();
        }
        writing.write_all(&pings).await.unwrap();
        writing.write_all(&frame(0x80, br#"{"id":1,"ping":{}}"#)).await.unwrap();
    };
    let read = async {
        // 20,000 pongs of two bytes, then the answer.
        let mut bytes = vec![0; 40_000];
        tokio::io::AsyncReadExt::read_exact(&mut reading, &mut bytes).await.unwrap();
        assert!(bytes.chunks(2).all(|pong| pong == [0x8A, 0]));
    };
    tokio::join!(write, read);
    let (opcode, answer) = read_frame(&mut stream).await.unwrap();
    assert_eq!(opcode, 1);
    assert!(answer.starts_with(br#"{"id":1,"ok""#));
}
