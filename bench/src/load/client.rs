//! What one connection of the load generator does, as bytes in and bytes out.

use anyhow::Result;

/// Ends each payload and occurs nowhere else in what a server sends, so that counting it counts deliveries whatever the
/// protocol wraps them in. (`~` would be 126, which announces a length in WebSocket. A length whose last byte is the
/// mark would be miscounted too; the workloads check that exactly as much arrives as was sent.)
pub(crate) const MARK: u8 = b'^';

/// One side of a connection. It never sees the socket.
pub(crate) trait Client {
    /// What to say first.
    fn open(&mut self, out: &mut Vec<u8>, tally: &mut Tally);
    /// Takes what has arrived, and says what to answer. An error ends the run.
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Result<()>;
    /// The workload has sent something on this connection, which an answer will follow.
    fn sent(&mut self) {}
}

/// What has happened on all connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections whose handshake is done, if they have one.
    pub(crate) connected: u64,
    /// Connections that have said all they have to say before the measurement.
    pub(crate) ready: u64,
    /// Payloads that arrived.
    pub(crate) delivered: u64,
    /// Answers to publishes or requests.
    pub(crate) acknowledged: u64,
    /// Whether those that send the next request after each answer do so.
    pub(crate) going: bool,
    /// How long each answer took, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
}

/// A payload of `size` bytes that ends in the mark.
pub(crate) fn payload(size: usize) -> String {
    let mut payload: String =
        "The quick brown fox jumps over the lazy dog. ".chars().cycle().take(size.saturating_sub(1)).collect();
    payload.push(char::from(MARK));
    payload
}

/// How many payloads end in `bytes`.
pub(crate) fn marks(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(MARK, bytes).count() as u64
}

/// Bytes for people.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}
