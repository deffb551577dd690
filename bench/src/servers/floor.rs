//! The floor: a bare epoll loop that does one write(2) of framed bytes per subscriber and message.
//!
//! Its protocol is the least that will do. A connection says `S` to subscribe or `P` to publish, and is answered `+`.
//! A publisher sends a big-endian `u32` length and that many bytes, and is answered `.` for each message. A message is
//! framed once as a WebSocket text frame. Messages are kept until the end, since a run is short.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 * 1024;

struct Floor {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    subscribers: Vec<usize>,
    frames: Vec<Box<[u8]>>,
}

struct Connection {
    stream: TcpStream,
    role: Role,
}

enum Role {
    Unknown,
    /// The next frame to write and how much of it is written.
    Subscriber {
        frame: usize,
        written: usize,
    },
    /// What has arrived of messages that are not whole yet.
    Publisher(Vec<u8>),
}

/// Serves until killed.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(listen)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor { poll, connections: Vec::new(), subscribers: Vec::new(), frames: Vec::new() };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        floor.poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener)?;
                continue;
            }
            let number = event.token().0;
            if event.is_readable() {
                floor.read(number, &mut buffer);
            }
            if event.is_writable() {
                floor.write(number);
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.connections.push(Some(Connection { stream, role: Role::Unknown }));
        }
    }

    fn read(&mut self, number: usize, buffer: &mut [u8]) {
        let before = self.frames.len();
        while let Some(connection) = &mut self.connections[number] {
            match connection.stream.read(buffer) {
                Ok(read) if read > 0 => self.take(number, &buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => {
                    self.connections[number] = None;
                    self.subscribers.retain(|subscriber| *subscriber != number);
                }
            }
        }
        if self.frames.len() > before {
            for index in 0..self.subscribers.len() {
                self.write(self.subscribers[index]);
            }
        }
    }

    fn take(&mut self, number: usize, bytes: &[u8]) {
        let Some(connection) = &mut self.connections[number] else { return };
        if matches!(connection.role, Role::Unknown) {
            connection.role = match bytes {
                b"S" => Role::Subscriber { frame: self.frames.len(), written: 0 },
                _ => Role::Publisher(Vec::new()),
            };
            if bytes == b"S" {
                self.subscribers.push(number);
            }
            let _sent = connection.stream.write(b"+");
            return;
        }
        let Role::Publisher(pending) = &mut connection.role else { return };
        pending.extend_from_slice(bytes);
        let mut used = 0;
        while let Some(message) = message(&pending[used..]) {
            self.frames.push(framed(message));
            used += 4 + message.len();
            let _sent = connection.stream.write(b".");
        }
        pending.drain(..used);
    }

    /// One write a frame, until the socket is full.
    fn write(&mut self, number: usize) {
        let Some(Connection { stream, role: Role::Subscriber { frame, written } }) = &mut self.connections[number]
        else {
            return;
        };
        while let Some(bytes) = self.frames.get(*frame) {
            match stream.write(&bytes[*written..]) {
                Ok(more) => *written += more,
                Err(_) => return,
            }
            if *written == bytes.len() {
                (*frame, *written) = (*frame + 1, 0);
            }
        }
    }
}

fn message(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    bytes.get(4..4 + length)
}

fn framed(message: &[u8]) -> Box<[u8]> {
    let mut frame = vec![0x81, 126];
    if message.len() < 126 {
        frame[1] = message.len() as u8;
    } else {
        frame.extend_from_slice(&(message.len() as u16).to_be_bytes());
    }
    frame.extend_from_slice(message);
    frame.into_boxed_slice()
}
