//! The epoll thread: moves bytes between sockets and their clients, and nothing else.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio_rustls::rustls::ClientConfig;

use crate::load::client::{Client, Tally};
use crate::load::tls::Session;

const READ_BYTES: usize = 64 * 1024;
/// Connections that may be opening at a time: fewer than any server's backlog, since a refused SYN costs a second.
const OPENING_MAX: usize = 100;
/// How long a server may take for anything that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// All connections of a run.
pub(crate) struct Driver {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffer: Box<[u8]>,
    /// With it all connections are TLS.
    tls: Option<Arc<ClientConfig>>,
    pub(crate) tally: Tally,
}

struct Connection {
    stream: TcpStream,
    client: Box<dyn Client>,
    tls: Option<Box<Session>>,
    /// What the socket has not taken yet, from `sent` on.
    out: Vec<u8>,
    sent: usize,
}

impl Driver {
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>) -> Result<Driver> {
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        let (poll, events) = (Poll::new()?, Events::with_capacity(1024));
        Ok(Driver { poll, events, connections: Vec::new(), buffer, tls, tally: Tally::default() })
    }

    /// Opens a connection and gives its number.
    pub(crate) fn connect(&mut self, address: SocketAddr, client: Box<dyn Client>) -> Result<usize> {
        let stream = std::net::TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        let number = self.connections.len();
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let tls = self.tls.as_ref().map(Session::new).transpose()?.map(Box::new);
        let mut connection = Connection { stream, client, tls, out: Vec::new(), sent: 0 };
        connection.open(&mut self.tally);
        connection.flush()?;
        self.connections.push(connection);
        Ok(number)
    }

    /// Opens one connection a client, not too many at a time, and waits until all are ready.
    pub(crate) fn connect_all(
        &mut self,
        address: SocketAddr,
        clients: impl IntoIterator<Item = Box<dyn Client>>,
    ) -> Result<()> {
        let (ready, connected) = (self.tally.ready, self.tally.connected);
        let mut opened: u64 = 0;
        for client in clients {
            self.connect(address, client)?;
            opened += 1;
            let enough = opened.saturating_sub(OPENING_MAX as u64);
            self.wait(|tally| tally.ready >= ready + enough && tally.connected >= connected + enough)?;
        }
        self.wait(|tally| tally.ready >= ready + opened && tally.connected >= connected + opened)
    }

    /// Closes all connections.
    pub(crate) fn close_all(&mut self) -> Result<()> {
        self.connections.drain(..).try_for_each(Connection::close)
    }

    /// Sends `bytes` on a connection, now or as soon as its socket takes them.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let connection = &mut self.connections[number];
        connection.client.sent();
        connection.said().extend_from_slice(bytes);
        connection.flush()
    }

    /// Moves bytes until `done` says so; it is an error when that takes too long.
    pub(crate) fn wait(&mut self, done: impl Fn(&Tally) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.tally) {
            if Instant::now() > deadline {
                let Tally { ready, delivered, acknowledged, .. } = self.tally;
                bail!("nothing more comes: {ready} ready, {delivered} delivered, {acknowledged} acknowledged");
            }
            self.turn(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Moves bytes until `instant`.
    pub(crate) fn run_until(&mut self, instant: Instant) -> Result<()> {
        loop {
            let left = instant.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// Waits for events, at most `timeout`, and handles them.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            if event.is_readable() {
                connection
                    .read(&mut self.buffer, &mut self.tally, event.is_read_closed())
                    .with_context(|| format!("connection {}", event.token().0))?;
            }
            connection.flush()?;
        }
        Ok(())
    }
}

impl Connection {
    /// Where what is said goes.
    fn said(&mut self) -> &mut Vec<u8> {
        match &mut self.tls {
            None => &mut self.out,
            Some(tls) => &mut tls.said,
        }
    }

    fn open(&mut self, tally: &mut Tally) {
        match &mut self.tls {
            None => {
                tally.connected += 1;
                self.client.open(&mut self.out, tally);
            }
            Some(tls) => self.client.open(&mut tls.said, tally),
        }
    }

    fn close(mut self) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.close();
        }
        self.flush()
    }

    fn read(&mut self, buffer: &mut [u8], tally: &mut Tally, closed: bool) -> Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed it"),
                Ok(read) => {
                    match &mut self.tls {
                        None => self.client.receive(&buffer[..read], &mut self.out, tally)?,
                        Some(tls) => tls.receive(&buffer[..read], self.client.as_mut(), tally)?,
                    }
                    // A short read has emptied the socket (epoll(7)), unless what follows is its end.
                    if read < buffer.len() && !closed {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.seal(&mut self.out)?;
        }
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}
