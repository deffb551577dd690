//! What all WebSockets share: their bounds, and one coarse clock that looks after every connection, so that none
//! needs a timer of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use crate::state::Shutdown;
use crate::websocket::budget::Budget;
use crate::websocket::config::WebSocketConfig;
use crate::websocket::socket::Socket;

/// The WebSocket door as a whole.
#[derive(Debug)]
pub(crate) struct Doors {
    epoch: Instant,
    limits_ms: LimitsMs,
    tick: Duration,
    send_buffer_bytes: u32,
    unsent: Arc<Budget>,
    received: Arc<Budget>,
    shutdown: Shutdown,
    rounds: Mutex<Rounds>,
}

/// The times of the configuration in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitsMs {
    pub(crate) stall: u64,
    pub(crate) ping: u64,
    pub(crate) silence: u64,
    pub(crate) closing: u64,
    pub(crate) goodbye: u64,
}

/// Connections by the time at which they are to be looked at.
#[derive(Debug, Default)]
struct Rounds {
    due: BTreeMap<u64, Vec<Weak<Socket>>>,
    /// Whether the task that makes the rounds is there. It comes with the first connection and goes with the last.
    walking: bool,
}

impl Doors {
    /// Doors with these settings.
    pub(crate) fn new(config: &WebSocketConfig, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            limits_ms: LimitsMs {
                stall: ms(config.stall),
                ping: ms(config.ping),
                silence: ms(config.silence),
                closing: ms(config.closing),
                goodbye: ms(config.goodbye),
            },
            tick: config.tick.max(Duration::from_millis(1)),
            send_buffer_bytes: config.send_buffer_bytes,
            unsent: Budget::new(config.unsent_bytes),
            received: Budget::new(config.received_bytes),
            shutdown,
            rounds: Mutex::default(),
        })
    }

    /// The time of this clock.
    pub(crate) fn now_ms(&self) -> u64 {
        ms(self.epoch.elapsed())
    }

    pub(crate) fn limits_ms(&self) -> LimitsMs {
        self.limits_ms
    }

    pub(crate) fn send_buffer_bytes(&self) -> u32 {
        self.send_buffer_bytes
    }

    /// Encoded messages that are held.
    pub(crate) fn unsent(&self) -> &Arc<Budget> {
        &self.unsent
    }

    /// What clients have sent that is not dealt with yet.
    pub(crate) fn received(&self) -> &Arc<Budget> {
        &self.received
    }

    /// Takes a new connection into the rounds.
    pub(crate) fn look_after(self: &Arc<Self>, socket: &Arc<Socket>) {
        let first_due = self.now_ms() + self.limits_ms.ping.min(self.limits_ms.stall);
        self.look_at(socket, first_due);
        if self.shutdown.has_begun() {
            socket.stop();
        }
    }

    /// Takes a connection that is ending into the rounds once more, for when its closing time is up.
    pub(crate) fn look_again(self: &Arc<Self>, socket: &Arc<Socket>) {
        self.look_at(socket, self.now_ms() + self.limits_ms.closing);
    }

    fn look_at(self: &Arc<Self>, socket: &Arc<Socket>, due_ms: u64) {
        let mut rounds = self.rounds.lock();
        rounds.insert(due_ms, ms(self.tick), Arc::downgrade(socket));
        if !std::mem::replace(&mut rounds.walking, true) {
            tokio::spawn(walk(Arc::clone(self)));
        }
    }

    /// Looks at those whose time has come; tells whether any are left.
    fn look(&self) -> bool {
        let now_ms = self.now_ms();
        loop {
            let mut rounds = self.rounds.lock();
            let Some(entry) = rounds.due.first_entry().filter(|entry| *entry.key() <= now_ms) else {
                rounds.walking = !rounds.due.is_empty();
                return rounds.walking;
            };
            let sockets = entry.remove();
            drop(rounds);
            for socket in sockets {
                let next_due = socket.upgrade().and_then(|socket| socket.look_after(now_ms));
                if let Some(next_due) = next_due {
                    // At least a tick ahead, so that a round comes to its end.
                    let next_due = next_due.max(now_ms + ms(self.tick));
                    self.rounds.lock().insert(next_due, ms(self.tick), socket);
                }
            }
        }
    }

    /// Tells everyone that the hub is stopping, and looks at all of them when the first should be gone.
    fn stop(&self) {
        let mut rounds = self.rounds.lock();
        let sockets: Vec<Weak<Socket>> = std::mem::take(&mut rounds.due).into_values().flatten().collect();
        let due_ms = self.now_ms() + self.limits_ms.closing.min(self.limits_ms.goodbye);
        rounds.due.insert(due_ms, sockets.clone());
        drop(rounds);
        sockets.iter().filter_map(Weak::upgrade).for_each(|socket| socket.stop());
    }
}

impl Rounds {
    fn insert(&mut self, due_ms: u64, tick_ms: u64, socket: Weak<Socket>) {
        self.due.entry(due_ms.next_multiple_of(tick_ms.max(1))).or_default().push(socket);
    }
}

/// Makes the rounds for as long as there are connections.
async fn walk(doors: Arc<Doors>) {
    let mut ticks = tokio::time::interval(doors.tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shutdown = std::pin::pin!(doors.shutdown.begun());
    let mut stopped = false;
    loop {
        tokio::select! {
            () = &mut shutdown, if !stopped => {
                stopped = true;
                doors.stop();
            }
            _ = ticks.tick() => {
                if !doors.look() {
                    return;
                }
            }
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}
