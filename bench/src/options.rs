//! The command line. Only what is asked for; what it means is in `workload`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(name = "quintet-bench", about = "Measures Quintet and its peers with one load generator", version)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) servers: Servers,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the servers are and how Quintet is started.
#[derive(Debug, Args)]
pub(crate) struct Servers {
    /// The quintet binary [default: beside this one]
    #[arg(long, global = true, env = "QUINTET_BENCH_QUINTET")]
    pub(crate) quintet: Option<PathBuf>,
    /// The nats-server binary
    #[arg(long, global = true, env = "QUINTET_BENCH_NATS", default_value = "nats-server")]
    pub(crate) nats: PathBuf,
    /// A folder in which `npm install ws` was run, for the Node peer
    #[arg(long, global = true, env = "QUINTET_BENCH_NODE", default_value = ".")]
    pub(crate) node: PathBuf,
    /// Where Quintet keeps its topics
    #[arg(long, global = true, value_enum, default_value_t = Store::Memory)]
    pub(crate) store: Store,
    /// Where temporary data directories are made; a tmpfs would make the disk free
    #[arg(long, global = true, default_value = ".")]
    pub(crate) room: PathBuf,
    /// How often everything is measured, in turn
    #[arg(long, global = true, default_value_t = 5)]
    pub(crate) runs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    Memory,
    Disk,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// CPU per delivery to many subscribers of one topic at a steady rate, where nothing can be batched
    Fanout(Fanout),
    /// The same for messages sent as fast as one pipelined publisher can
    Burst(Burst),
    /// Memory per connection that has nothing to do
    Idle(Idle),
    /// CPU per TLS handshake: connections that each ask for one small thing and close, with and without TLS
    Handshake(Handshake),
    /// Acknowledged publishes per second, and their CPU
    Publish(Publish),
    /// Publishes per second that are acknowledged once they are on disk, beside the bare loop of write and fdatasync
    Durable(Durable),
    /// Messages per second that a group's members work off, each acknowledged
    Groups(Groups),
    /// Requests answered per second through a responder, beside a plain HTTP echo and one with a hop behind it
    Request(Request),
    /// Serves the floor: one write(2) of framed bytes per subscriber and message, and nothing else
    Floor {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Serves a plain axum echo
    Echo {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Serves an axum handler that has each body answered by whoever dials in on another address
    EchoHop {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        responders: SocketAddr,
    },
}

/// How a subscriber follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// A WebSocket on the topic: a frame is a payload
    Ws,
    /// A `/ws` session that has subscribed to the topic
    Session,
    /// A plain EventSource
    Sse,
    /// The live SSE of Durable Streams
    DurableSse,
    /// Long poll after long poll on one connection
    LongPoll,
}

/// How a publisher publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Through {
    /// Keep-alive HTTP
    Http,
    /// One `/ws` session
    Ws,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerName {
    Quintet,
    Floor,
    Echo,
    EchoHop,
    Nchan,
    Nats,
    Mosquitto,
    Redis,
    NodeWs,
}

#[derive(Debug, Args)]
pub(crate) struct Fanout {
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    /// Messages a second
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Payload bytes
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    #[arg(long, value_enum, default_value_t = Via::Ws)]
    pub(crate) via: Via,
    /// Each connection follows a topic of its own, and each message goes to the next of them
    #[arg(long)]
    pub(crate) topics: bool,
    /// Every connection is over TLS, but those of the floor
    #[arg(long)]
    pub(crate) tls: bool,
    /// Draws the CPU per delivery into this SVG file too
    #[arg(long)]
    pub(crate) picture: Option<PathBuf>,
    #[arg(long = "peer", value_enum, default_values = ["floor", "quintet"])]
    pub(crate) peers: Vec<PeerName>,
}

#[derive(Debug, Args)]
pub(crate) struct Burst {
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 1000)]
    pub(crate) messages: usize,
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    #[arg(long, value_enum, default_value_t = Via::Ws)]
    pub(crate) via: Via,
    #[arg(long = "peer", value_enum, default_values = ["floor", "quintet"])]
    pub(crate) peers: Vec<PeerName>,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Every connection is over TLS, but those of the floor
    #[arg(long)]
    pub(crate) tls: bool,
    #[arg(long, value_enum, default_value_t = Via::Ws)]
    pub(crate) via: Via,
    #[arg(long = "peer", value_enum, default_values = ["floor", "quintet"])]
    pub(crate) peers: Vec<PeerName>,
}

#[derive(Debug, Args)]
pub(crate) struct Handshake {
    #[arg(long, default_value_t = 2000)]
    pub(crate) connections: usize,
    #[arg(long = "peer", value_enum, default_values = ["quintet"])]
    pub(crate) peers: Vec<PeerName>,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Publishes in flight; repeat for several figures
    #[arg(long = "concurrency", default_values_t = [1, 16, 256])]
    pub(crate) concurrencies: Vec<usize>,
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    #[arg(long, value_enum, default_value_t = Through::Http)]
    pub(crate) via: Through,
    /// Where the topic is kept; several are measured in turn
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["memory"])]
    pub(crate) stores: Vec<Store>,
}

#[derive(Debug, Args)]
pub(crate) struct Durable {
    /// Publishes in flight, and messages a batch of the bare loop; repeat for several figures
    #[arg(long = "concurrency", default_values_t = [1, 16, 256, 1024])]
    pub(crate) concurrencies: Vec<usize>,
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,
    #[arg(long = "peer", value_enum, default_values = ["quintet"])]
    pub(crate) peers: Vec<PeerName>,
}

#[derive(Debug, Args)]
pub(crate) struct Groups {
    /// Members, each on a connection of its own; repeat for several figures
    #[arg(long = "members", default_values_t = [1, 8, 64])]
    pub(crate) members: Vec<usize>,
    /// Messages that one member holds at once
    #[arg(long, default_value_t = 100)]
    pub(crate) in_flight: usize,
    /// Messages that are there when the members come
    #[arg(long, default_value_t = 20_000)]
    pub(crate) messages: usize,
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    #[arg(long = "peer", value_enum, default_values = ["quintet"])]
    pub(crate) peers: Vec<PeerName>,
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// Calls in flight, each on a connection of its own; repeat for several figures
    #[arg(long = "concurrency", default_values_t = [1, 64])]
    pub(crate) concurrencies: Vec<usize>,
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    #[arg(long = "peer", value_enum, default_values = ["echo", "echo-hop", "quintet"])]
    pub(crate) peers: Vec<PeerName>,
}
