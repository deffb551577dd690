//! The floor: a bare epoll loop that does one write(2) of framed bytes per subscriber and message, and nothing else.
//!
//! Its protocol is the least that will do. A connection says `S`, a topic and a line feed to subscribe, or `P` to publish, and
//! is answered `+`. A publisher sends a big-endian `u32` length and that many bytes, a topic, a line feed and the payload, and is
//! answered `.` for each message. A message is framed once, as a WebSocket text frame and as an HTTP response. Messages are
//! kept until the end, since a run is short.
//!
//! A connection whose first byte is `G` polls instead: the first request tells the topic, `GET /topics/<topic>?…`, and asks
//! for what comes from then on. Of any other request no more is looked at than where its head ends. It waits until there is
//! a message that its connection has not had, and that is its response, so that a delivery is one read(2) and one write(2).

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use memchr::{memchr, memmem};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 * 1024;

struct Floor {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    topics: Vec<Topic>,
    /// Where each topic is in `topics`.
    numbers: HashMap<Box<[u8]>, usize>,
}

#[derive(Default)]
struct Topic {
    messages: Vec<Message>,
    subscribers: Vec<usize>,
}

/// A message in both of its forms.
struct Message {
    frame: Box<[u8]>,
    response: Box<[u8]>,
}

struct Connection {
    stream: TcpStream,
    role: Role,
}

enum Role {
    /// What has arrived of the first word.
    Unknown(Vec<u8>),
    Subscriber(Subscriber),
    /// What has arrived of messages that are not whole yet.
    Publisher(Vec<u8>),
}

struct Subscriber {
    topic: usize,
    /// The next message to write and how much of it is written.
    next: usize,
    written: usize,
    door: Door,
}

enum Door {
    Push,
    /// What has arrived of a request that is not whole yet, and whether a whole one waits.
    Poll {
        head: Vec<u8>,
        is_parked: bool,
    },
}

/// Serves until killed.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(listen)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor { poll, connections: Vec::new(), topics: Vec::new(), numbers: HashMap::new() };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener)?;
                continue;
            }
            let number = event.token().0;
            if event.is_readable() {
                floor.read(number, &mut buffer, event.is_read_closed());
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
            self.connections.push(Some(Connection { stream, role: Role::Unknown(Vec::new()) }));
        }
    }

    fn read(&mut self, number: usize, buffer: &mut [u8], is_closed: bool) {
        while let Some(connection) = &mut self.connections[number] {
            match connection.stream.read(buffer) {
                Ok(read) if read > 0 => {
                    self.take(number, &buffer[..read]);
                    // A short read has emptied the socket (epoll(7)), unless what follows is its end.
                    if read < buffer.len() && !is_closed {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => {
                    if let Role::Subscriber(Subscriber { topic, .. }) = connection.role {
                        self.topics[topic].subscribers.retain(|subscriber| *subscriber != number);
                    }
                    self.connections[number] = None;
                }
            }
        }
    }

    fn take(&mut self, number: usize, bytes: &[u8]) {
        let Some(connection) = &mut self.connections[number] else { return };
        match &mut connection.role {
            Role::Unknown(word) => {
                word.extend_from_slice(bytes);
                let word = std::mem::take(word);
                self.meet(number, word);
            }
            Role::Subscriber(Subscriber { door: Door::Push, .. }) => {}
            Role::Subscriber(Subscriber { door: Door::Poll { head, is_parked }, .. }) => {
                *is_parked = is_whole(head, bytes);
                self.write(number);
            }
            Role::Publisher(pending) => {
                pending.extend_from_slice(bytes);
                let pending = std::mem::take(pending);
                self.publish(number, pending);
            }
        }
    }

    /// Finds out what a connection is for from what it has said so far.
    fn meet(&mut self, number: usize, word: Vec<u8>) {
        let topic = match word.first() {
            Some(b'S') => memchr(b'\n', &word).map(|end| &word[1..end]),
            Some(b'G') => memmem::find(&word, b"\r\n\r\n").and_then(|_| topic_of(&word)),
            _ => None,
        };
        let topic = topic.map(|topic| self.topic(topic));
        let Some(connection) = &mut self.connections[number] else { return };
        connection.role = match (word.first(), topic) {
            (Some(b'P'), _) => Role::Publisher(Vec::new()),
            (first, Some(topic)) => {
                let is_poll = first == Some(&b'G');
                let door = if is_poll { Door::Poll { head: Vec::new(), is_parked: true } } else { Door::Push };
                let Topic { messages, subscribers } = &mut self.topics[topic];
                subscribers.push(number);
                Role::Subscriber(Subscriber { topic, next: messages.len(), written: 0, door })
            }
            (_, None) => Role::Unknown(word),
        };
        if matches!(connection.role, Role::Publisher(_) | Role::Subscriber(Subscriber { door: Door::Push, .. })) {
            let _sent = connection.stream.write(b"+");
        }
    }

    /// The topic of that name, which may be new.
    fn topic(&mut self, name: &[u8]) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.topics.push(Topic::default());
        self.numbers.insert(name.into(), self.topics.len() - 1);
        self.topics.len() - 1
    }

    fn publish(&mut self, number: usize, mut pending: Vec<u8>) {
        let (mut used, mut touched) = (0, Vec::new());
        while let Some(message) = message(&pending[used..]) {
            used += 4 + message.len();
            let (topic, payload) = message.split_at(memchr(b'\n', message).unwrap_or(0));
            let topic = self.topic(topic);
            let payload = &payload[payload.len().min(1)..];
            self.topics[topic].messages.push(Message { frame: framed(payload), response: response(payload) });
            if touched.last() != Some(&topic) {
                touched.push(topic);
            }
            if let Some(connection) = &mut self.connections[number] {
                let _sent = connection.stream.write(b".");
            }
        }
        pending.drain(..used);
        if let Some(Connection { role: Role::Publisher(rest), .. }) = &mut self.connections[number] {
            *rest = pending;
        }
        for topic in touched {
            for index in 0..self.topics[topic].subscribers.len() {
                self.write(self.topics[topic].subscribers[index]);
            }
        }
    }

    /// One write a message, until the socket is full or the poll is answered.
    fn write(&mut self, number: usize) {
        let Some(Connection { stream, role: Role::Subscriber(subscriber) }) = &mut self.connections[number] else {
            return;
        };
        let Subscriber { topic, next, written, door } = subscriber;
        while let Some(message) = self.topics[*topic].messages.get(*next) {
            let bytes = match door {
                Door::Push => &message.frame,
                Door::Poll { is_parked: true, .. } => &message.response,
                Door::Poll { .. } => return,
            };
            match stream.write(&bytes[*written..]) {
                Ok(more) => *written += more,
                Err(_) => return,
            }
            if *written == bytes.len() {
                (*next, *written) = (*next + 1, 0);
                if let Door::Poll { is_parked, .. } = door {
                    *is_parked = false;
                }
            }
        }
    }
}

/// Whether a request's head ends in `bytes`, which follow `head`. A client that polls has one request open at a time.
fn is_whole(head: &mut Vec<u8>, bytes: &[u8]) -> bool {
    if head.is_empty() && memmem::find(bytes, b"\r\n\r\n").is_some() {
        return true;
    }
    head.extend_from_slice(bytes);
    let is_whole = memmem::find(head, b"\r\n\r\n").is_some();
    if is_whole {
        head.clear();
    }
    is_whole
}

/// The topic in the first line of a poll.
fn topic_of(head: &[u8]) -> Option<&[u8]> {
    let rest = head.strip_prefix(b"GET /topics/")?;
    Some(&rest[..memchr(b'?', rest)?])
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

fn response(message: &[u8]) -> Box<[u8]> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-cache\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    [head.as_bytes(), message].concat().into_boxed_slice()
}
