//! The one task of a group: it reads on, commits what changes, and then hands out.

mod claims;
mod describe;
mod seats;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::clock::Timestamp;
use crate::cursor::{Offset, Position};
use crate::engine::transaction::{Op, StepGroup, Transaction};
use crate::error::{Error, Kind, Result};
use crate::fanout::Delivery;
use crate::fanout::mailbox::{Mailbox, mailbox};
use crate::group::{GroupConfig, GroupState};
use crate::hub::Hub;
use crate::patterns::publish_subscribe::groups::board::{Assignment, Board, LOADED_BYTES_MAX};
use crate::patterns::publish_subscribe::groups::consumer::{Answer, DeliveryId, Handed};
use crate::patterns::publish_subscribe::groups::directory::{Answers, Command, Handle, Place, stopping};
use crate::patterns::publish_subscribe::groups::letters;
use crate::patterns::publish_subscribe::groups::pump::claims::Claims;
use crate::patterns::publish_subscribe::groups::pump::seats::Seats;

/// Commands that go into one transaction.
const ROUND_COMMANDS_MAX: usize = 4_096;
/// Messages that are read back at once.
const LOAD_MAX: usize = 256;
/// Dead letters of one transaction.
const LETTERS_MAX: usize = 64;
/// What could not be written is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// What is due is not slept through for longer, so that a clock that was set does not leave anybody waiting.
const SLEEP_MAX: Duration = Duration::from_secs(5);
/// With nothing due at all.
const SLEEP_IDLE: Duration = Duration::from_secs(3600);
/// Nobody is told that there is nothing before the log had so long to tell what there is.
const READ_TIME: Duration = Duration::from_millis(100);
/// Members that come and go find what was read for those before them.
const FEED_IDLE: Duration = Duration::from_secs(30);

/// A group at work.
pub(super) struct Pump {
    hub: Weak<Hub>,
    handle: Arc<Handle>,
    commands: mpsc::Receiver<Command>,
    /// What the pump was woken by.
    next_command: Option<Command>,
    pub(super) board: Board,
    feed: Option<Mailbox>,
    /// By then it has told of what there is, if there is anything.
    feed_told_at: Instant,
    /// It is kept until then without members.
    feed_until: Instant,
    seats: Seats,
    claims: Claims,
    /// To be answered when the round is committed.
    answers: Vec<(Answers, Vec<Answer>)>,
    redrives: Vec<tokio::sync::oneshot::Sender<Result<super::consumer::Redriven>>>,
    problem: Option<String>,
    /// Nothing is tried before.
    pause_until: Instant,
    letters_pause_until: Instant,
    /// Dead letters go round, so many at once, from behind here.
    letters_after: Offset,
    letters_max: usize,
    read_pause_until: Instant,
}

impl Pump {
    pub(super) fn new(
        hub: Weak<Hub>,
        handle: Arc<Handle>,
        commands: mpsc::Receiver<Command>,
        state: &GroupState,
    ) -> Self {
        let now = hub.upgrade().map(|hub| hub.now()).unwrap_or_default();
        let begun = Instant::now();
        Self {
            hub,
            commands,
            next_command: None,
            board: Board::new(state, now),
            handle,
            feed: None,
            feed_told_at: begun,
            feed_until: begun,
            seats: Seats::default(),
            claims: Claims::default(),
            answers: Vec::new(),
            redrives: Vec::new(),
            problem: None,
            pause_until: begun,
            letters_pause_until: begun,
            letters_after: Offset::ZERO,
            letters_max: LETTERS_MAX,
            read_pause_until: begun,
        }
    }

    /// Works until the group or the hub is gone.
    pub(super) async fn run(mut self) {
        loop {
            let Some(hub) = self.hub.upgrade() else {
                self.end(&stopping());
                return;
            };
            if let Err(error) = self.take_signals() {
                self.end(&error);
                return;
            }
            let now = hub.now();
            self.board.tick(now);
            let worked = if is_over(self.pause_until) { self.work(&hub, now).await } else { Ok(false) };
            match worked {
                Ok(true) => {
                    if is_over(self.read_pause_until) && is_over(self.letters_pause_until) {
                        self.problem = None;
                    }
                    // A busy group is not to starve others on a hub whose log answers at once.
                    tokio::task::consume_budget().await;
                }
                Ok(false) => {
                    let sleep_for = self.sleep_for(now);
                    drop(hub);
                    self.wait(sleep_for).await;
                }
                Err(error) if matches!(error.kind(), Kind::GroupNotFound | Kind::ShuttingDown) => {
                    self.end(&error);
                    return;
                }
                Err(error) => {
                    tracing::warn!(group = %self.handle.group, %error, "the group cannot go on now and will try again");
                    self.problem = Some(error.to_string());
                    self.pause_until = Instant::now() + RETRY;
                }
            }
        }
    }

    /// Letters, if there are any, in a transaction of their own; then what was asked for and what can be handed out;
    /// then a redrive, if one was asked for. Tells whether anything was done.
    async fn work(&mut self, hub: &Arc<Hub>, now: Timestamp) -> Result<bool> {
        let mut worked = is_over(self.letters_pause_until) && self.send_letters(hub, now).await?;
        let round = self.round(hub, now).await;
        // Nobody is told that there is nothing before it was looked for.
        self.claims.expire(Instant::now(), self.feed_told_at, &mut self.board);
        worked |= round?;
        if let Some(answer) = self.redrives.pop() {
            let redriven = letters::redrive(self, hub, now).await;
            if redriven.is_err() {
                // What was taken up and not committed comes with the next one.
                self.board.undo();
            }
            // Whoever asked may have gone.
            drop(answer.send(redriven));
            worked = true;
        }
        Ok(worked)
    }

    async fn round(&mut self, hub: &Arc<Hub>, now: Timestamp) -> Result<bool> {
        let n_commands = self.take_commands();
        let mut loaded = false;
        let is_held = hub.groups.held.load(Ordering::Relaxed);
        if is_over(self.read_pause_until) && !is_held {
            let read = match self.read_on(hub) {
                Ok(()) => self.load(hub).await,
                Err(error) => Err(error),
            };
            loaded = self.note_read(read);
        }
        let assignments = if is_held { Vec::new() } else { self.board.hand_out() };
        let step = self.board.step();
        if !step.is_empty() {
            if let Err(error) = self.commit(hub, Vec::new(), now).await {
                self.fail(&assignments, &error);
                return Err(error);
            }
            self.answer();
            self.deliver(assignments);
            return Ok(true);
        }
        self.answer();
        Ok(n_commands > 0 || loaded)
    }

    /// Commits the board's step with what belongs to it.
    pub(super) async fn commit(&mut self, hub: &Hub, mut ops: Vec<Op>, now: Timestamp) -> Result<()> {
        let Some(engine) = hub.engine(self.handle.log) else {
            return Err(Error::new(Kind::Internal, "the group's log is not one of the hub's"));
        };
        let (group, created) = (self.handle.group.clone(), self.handle.created);
        ops.push(Op::StepGroup(StepGroup { group, created, step: self.board.step() }));
        match engine.commit(Transaction { ops }, now).await {
            Ok(_) => {
                self.board.committed();
                Ok(())
            }
            Err(error) => {
                self.board.undo();
                Err(error)
            }
        }
    }

    async fn send_letters(&mut self, hub: &Arc<Hub>, now: Timestamp) -> Result<bool> {
        if !self.board.has_dying() {
            return Ok(false);
        }
        let loaded = self.load(hub).await;
        self.note_read(loaded);
        let dying = self.board.take_dying(self.letters_after, self.letters_max);
        let last = dying.last().map(|dying| dying.message.offset).unwrap_or_default();
        let n = dying.len();
        if dying.is_empty() && self.board.step().is_empty() {
            return Ok(false);
        }
        let sent = letters::send(self, hub, dying, now).await;
        if let Err(error) = sent {
            if matches!(error.kind(), Kind::GroupNotFound | Kind::ShuttingDown) {
                return Err(error);
            }
            tracing::warn!(group = %self.handle.group, %error, "dead letters cannot be written now; they are kept");
            self.problem = Some(format!("dead letters cannot be written: {error}"));
            self.letters_pause_until = Instant::now() + RETRY;
            // One that the topic refuses is not to hold back the others: they go one by one, and it comes last.
            self.letters_max = 1;
            self.letters_after = if n == 1 { last } else { self.letters_after };
            return Ok(false);
        }
        self.letters_max = LETTERS_MAX.min(self.letters_max * 2);
        self.letters_after = last;
        Ok(true)
    }

    /// What cannot be read now is tried again later; acknowledgements do not wait for it.
    fn note_read(&mut self, read: Result<bool>) -> bool {
        read.unwrap_or_else(|error| {
            tracing::warn!(group = %self.handle.group, %error, "the group cannot read now and will try again");
            self.problem = Some(format!("the log cannot be read: {error}"));
            self.read_pause_until = Instant::now() + RETRY;
            false
        })
    }

    /// Reads back some of the claimed messages that are needed and not in memory; tells whether there were any.
    async fn load(&mut self, hub: &Arc<Hub>) -> Result<bool> {
        let wanted = self.board.to_load(LOAD_MAX);
        let any = !wanted.is_empty();
        let mut bytes = 0;
        for (offset, topic) in wanted {
            let message = letters::load(hub, Position { log: self.handle.log, offset }, &topic).await?;
            match &message {
                Some(message) => bytes += message.size(),
                None => {
                    tracing::warn!(group = %self.handle.group, %topic, offset = offset.0, "a claimed message is gone");
                }
            }
            self.board.loaded(offset, message);
            if bytes > LOADED_BYTES_MAX {
                break;
            }
        }
        Ok(any)
    }

    /// Takes what the log has, if a member has room for it.
    fn read_on(&mut self, hub: &Arc<Hub>) -> Result<()> {
        if self.board.members().next().is_some() {
            self.feed_until = Instant::now() + FEED_IDLE;
        } else if is_over(self.feed_until) {
            self.feed = None;
        }
        if !self.board.wants_messages() {
            return Ok(());
        }
        if self.feed.is_none() {
            let from = Position { log: self.handle.log, offset: self.board.read_through() };
            let start = hub.start_of_group(&self.board.config().filter, from)?;
            let (letterbox, mut mailbox) = mailbox();
            mailbox.attach(hub.follow(start, Box::new(letterbox))?);
            self.feed = Some(mailbox);
            self.feed_told_at = Instant::now() + READ_TIME;
        }
        match self.feed.as_mut().and_then(Mailbox::try_take) {
            Some(delivery) => self.take_delivery(delivery),
            None => Ok(()),
        }
    }

    fn take_delivery(&mut self, delivery: Delivery) -> Result<()> {
        self.feed_told_at = Instant::now() + READ_TIME;
        match delivery {
            Delivery::Messages { batch, .. } => self.board.offer(batch.messages()),
            Delivery::Gap { topic, .. } => {
                let topic = topic.as_ref().map_or("a whole log", |topic| topic.as_str());
                tracing::warn!(group = %self.handle.group, topic, "retention removed messages before they were claimed");
                self.board.note_gap();
            }
            // What a topic held and was claimed is found to be gone when it is needed.
            Delivery::Closed { .. } | Delivery::Deleted { .. } => {}
            Delivery::Failed(error) => {
                self.feed = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn sleep_for(&self, now: Timestamp) -> Duration {
        let at = Instant::now();
        if self.pause_until > at {
            return self.pause_until - at;
        }
        let idle = if self.feed.is_some() { SLEEP_MAX } else { SLEEP_IDLE };
        let sleep_for = self.board.next_due().map_or(idle, |due| due.since(now).min(SLEEP_MAX));
        let pauses = [self.letters_pause_until, self.read_pause_until].into_iter().filter(|pause| *pause > at);
        let others = pauses.chain(self.claims.next_due(self.feed_told_at)).map(|due| due.saturating_duration_since(at));
        others.fold(sleep_for, Duration::min).max(Duration::from_millis(1))
    }

    async fn wait(&mut self, sleep_for: Duration) {
        let paused = !is_over(self.pause_until);
        let wants = !paused && is_over(self.read_pause_until) && self.board.wants_messages();
        let handle = Arc::clone(&self.handle);
        let delivery = tokio::select! {
            biased;
            () = handle.signalled.notified() => return,
            command = self.commands.recv(), if !paused && self.next_command.is_none() => {
                // It is obeyed when the board knows the time.
                self.next_command = command;
                return;
            }
            delivery = take(&mut self.feed), if wants => delivery,
            () = sleep(sleep_for) => return,
        };
        let taken = match delivery {
            Some(delivery) => self.take_delivery(delivery),
            None => {
                self.feed = None;
                Ok(())
            }
        };
        self.note_read(taken.map(|()| true));
    }

    fn take_signals(&mut self) -> Result<()> {
        let signals = std::mem::take(&mut *self.handle.signals.lock());
        if let Some(error) = signals.ended {
            return Err(error);
        }
        if signals.configured {
            let config: Arc<GroupConfig> = Arc::clone(&self.handle.config.lock());
            self.board.configure(config);
        }
        for member in signals.ready {
            self.seats.ready(member, &mut self.board);
        }
        for (member, claim) in signals.unclaimed {
            self.claims.withdraw(member, claim, &mut self.board);
        }
        for member in signals.gone {
            self.seats.leave(member, &mut self.board);
        }
        Ok(())
    }

    fn take_commands(&mut self) -> usize {
        let mut n = 0;
        while n < ROUND_COMMANDS_MAX
            && let Some(command) = self.next_command.take().or_else(|| self.commands.try_recv().ok())
        {
            self.obey(command);
            n += 1;
        }
        n
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join { name, limit, sink, answer } => {
                let member = self.board.join(name, limit, true);
                self.seats.take(member, sink);
                // The place that nobody takes, now or when it was sent, is left again.
                drop(answer.send(Place { handle: Arc::clone(&self.handle), member }));
            }
            Command::Limit { member, limit } => self.board.limit(member, limit),
            Command::Claim(claim, answer) => self.claims.add(claim, answer, &mut self.board),
            Command::Acknowledge(ids, answer) => {
                let each = |board: &mut Board, id: &DeliveryId| board.acknowledge(id.position.offset, id.count);
                self.say(&ids, answer, each);
            }
            Command::GiveBack(ids, delay, answer) => {
                let each = |board: &mut Board, id: &DeliveryId| board.give_back(id.position.offset, id.count, delay);
                self.say(&ids, answer, each);
            }
            Command::Extend(ids, by, answer) => {
                let each = |board: &mut Board, id: &DeliveryId| board.extend(id.position.offset, id.count, by);
                self.say(&ids, answer, each);
            }
            Command::Redrive(answer) => self.redrives.push(answer),
            // Whoever asked may have gone.
            Command::Describe(answer) => drop(answer.send(self.describe())),
        }
    }

    fn say(&mut self, ids: &[DeliveryId], answer: Answers, each: impl Fn(&mut Board, &DeliveryId) -> Answer) {
        let log = self.handle.log;
        let each = |id: &DeliveryId| match id.position.log == log {
            true => each(&mut self.board, id),
            false => Answer::Unknown,
        };
        let said = ids.iter().map(each).collect();
        self.answers.push((answer, said));
    }

    fn answer(&mut self) {
        for (answer, said) in self.answers.drain(..) {
            // Whoever asked may have gone.
            drop(answer.send(Ok(said)));
        }
    }

    /// The round was not committed, and has been taken back.
    fn fail(&mut self, assignments: &[Assignment], error: &Error) {
        for (answer, _) in self.answers.drain(..) {
            drop(answer.send(Err(error.clone())));
        }
        for assignment in assignments {
            self.claims.fail(assignment.member, error, &mut self.board);
        }
    }

    fn deliver(&mut self, assignments: Vec<Assignment>) {
        let log = self.handle.log;
        for assignment in assignments {
            let Assignment { member, message, held, why } = assignment;
            let handed = Handed { message, log, count: held.count, why, until: held.due };
            if let Err(handed) = self.seats.hand(member, handed) {
                self.claims.hand(member, handed);
            }
        }
        self.seats.deliver(&mut self.board);
        self.claims.answer(&mut self.board);
    }

    /// Tells everybody that it is over.
    fn end(&mut self, error: &Error) {
        // What is still queued is dropped, and its senders look here.
        self.handle.ended.get_or_init(|| error.clone());
        self.commands.close();
        self.seats.end(error);
        self.claims.end(error);
        for (answer, _) in self.answers.drain(..) {
            drop(answer.send(Err(error.clone())));
        }
        for answer in self.redrives.drain(..) {
            drop(answer.send(Err(error.clone())));
        }
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }
}

fn is_over(pause: Instant) -> bool {
    Instant::now() >= pause
}

async fn take(feed: &mut Option<Mailbox>) -> Option<Delivery> {
    match feed {
        Some(feed) => feed.take().await,
        None => std::future::pending().await,
    }
}
