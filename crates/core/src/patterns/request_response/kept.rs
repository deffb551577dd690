//! Requests that are on disk: keyed ones, and those whose reply comes on a topic.
//!
//! Such a request is a *flight*: a task of its own that outlives its caller. It commits the key and the reply topic
//! before the hand-over, and the reply before any caller sees it. Callers with the same key share the flight; whoever
//! comes later finds the reply in the log. A flight that ends without a reply closes its reply topic with a failure,
//! and the same key can then be tried again, as the next attempt.
//!
//! That only one flight of a key is under way is known within one process. Across several, the log refuses a second
//! beginning of the same attempt.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::clock::Timestamp;
use crate::engine::transaction::{Append, Create, Op, TopicConfig};
use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::message::ContentType;
use crate::name::TopicName;
use crate::patterns::request_response::desk::{Notice, Patience, Submission};
use crate::patterns::request_response::record::{self, KeyRecord};
use crate::patterns::request_response::request::{Answer, Reply, Request, deadline_passed};
use crate::patterns::request_response::services::Landing;

/// Responders that one flight may lose before it gives up: a request that kills whoever serves it stops there.
const LOSSES_MAX: u32 = 4;

/// A kept request under way, as its callers see it.
#[derive(Debug)]
pub(super) struct Flight {
    fingerprint: String,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone)]
enum Progress {
    /// Nothing is committed yet.
    Starting,
    /// On disk; the reply will come on this topic.
    Accepted(TopicName),
    /// How it ended.
    Landed(Result<Landed>),
}

#[derive(Debug, Clone)]
struct Landed {
    reply_topic: TopicName,
    reply: Reply,
    /// Whether it had been there before this flight.
    replayed: bool,
}

/// What a flight is to do.
struct Job {
    request: Arc<Request>,
    key_topic: Option<TopicName>,
    fingerprint: String,
    deadline: Instant,
    /// When what it leaves behind goes.
    expires_at: Timestamp,
}

impl Hub {
    /// Sends a request that is on disk.
    pub(super) async fn request_kept(self: &Arc<Self>, request: Request, deadline: Instant) -> Result<Answer> {
        let respond_async = request.respond_async;
        let soon = request.answer_within.map(|within| (Instant::now() + within).min(deadline));
        let _room = self.services.make_room(request.size())?;
        let left = deadline.saturating_duration_since(Instant::now());
        let job = Arc::new(Job {
            key_topic: request.key.as_deref().map(|key| record::key_topic(&request, key)).transpose()?,
            fingerprint: record::fingerprint(&request),
            request: Arc::new(request),
            deadline,
            // A reply topic is closed at the deadline at the latest.
            expires_at: self.clock.now().plus(left).plus(self.limits.key_window),
        });
        loop {
            let (flight, landing) = self.services.board(job.key_topic.as_ref(), || Flight {
                fingerprint: job.fingerprint.clone(),
                progress: watch::Sender::new(Progress::Starting),
            })?;
            if flight.fingerprint != job.fingerprint {
                return Err(key_reused());
            }
            let mut progress = flight.progress.subscribe();
            let leads = landing.is_some();
            if let Some(landing) = landing {
                tokio::spawn(fly(Arc::clone(self), Arc::clone(&flight), Arc::clone(&job), landing));
            }
            drop(flight);
            let awaited = async {
                let ready = |progress: &Progress| match progress {
                    Progress::Starting => false,
                    Progress::Accepted(_) => respond_async,
                    Progress::Landed(_) => true,
                };
                progress.wait_for(ready).await.map(|progress| progress.clone())
            };
            // The flight itself keeps its leader's deadline, and ends then with what it has committed.
            let ended = if leads { Ok(awaited.await) } else { timeout_at(deadline, awaited).await };
            let Ok(ended) = ended else { return Err(deadline_passed()) };
            let mut ended = ended.map_err(|_| Error::new(Kind::Internal, "a kept request broke off"))?;
            if let (Progress::Accepted(_), Some(soon)) = (&ended, soon) {
                let landed = progress.wait_for(|progress| matches!(progress, Progress::Landed(_)));
                if let Ok(Ok(landed)) = timeout_at(soon, landed).await {
                    ended = landed.clone();
                }
            }
            return match ended {
                Progress::Landed(Err(error)) => {
                    let in_time = Instant::now() < deadline;
                    if !leads && in_time && matches!(error.kind(), Kind::DeadlinePassed) {
                        // The one who led had less time; this caller still has some.
                        continue;
                    }
                    Err(error)
                }
                Progress::Landed(Ok(landed)) if respond_async && soon.is_none() => {
                    Ok(Answer::Accepted { reply_topic: landed.reply_topic })
                }
                Progress::Landed(Ok(Landed { reply, replayed, .. })) => {
                    Ok(Answer::Reply { reply, replayed: replayed || !leads })
                }
                Progress::Accepted(reply_topic) => Ok(Answer::Accepted { reply_topic }),
                Progress::Starting => Err(Error::new(Kind::Internal, "a kept request did not begin")),
            };
        }
    }

    async fn carry_out(&self, flight: &Flight, job: &Job) -> Result<Landed> {
        let mut attempt = 1;
        if let Some(key_topic) = &job.key_topic
            && let Some((_, message)) = self.last_message(key_topic).await?
        {
            let known = KeyRecord::from_message(&message)?;
            if known.fingerprint != job.fingerprint {
                return Err(key_reused());
            }
            let last = self.last_message(&known.reply_topic).await?.filter(|(info, _)| info.closed);
            if let Some(reply) = last.and_then(|(_, message)| record::read_reply(&message)) {
                return Ok(Landed { reply_topic: known.reply_topic, reply, replayed: true });
            }
            attempt = known.attempt.saturating_add(1);
        }
        self.services.with(|desk| desk.check_attended(&job.request.service, Instant::now()))?;
        let reply_topic = record::reply_topic(self.services.randomness.draw())?;
        self.begin(job, &reply_topic, attempt).await?;
        flight.progress.send_replace(Progress::Accepted(reply_topic.clone()));
        let outcome = self.attempt(job, &reply_topic, attempt).await;
        let message = outcome.as_ref().map_or_else(record::failure_message, record::reply_message);
        let landed = self.land(&reply_topic, message).await;
        if let (Err(_), Err(error)) = (&outcome, &landed) {
            tracing::warn!(topic = %reply_topic, %error, "how a request failed could not be written; its topic stays open");
        }
        let reply = outcome?;
        // Without its commit a reply is none: the same key would run again.
        landed?;
        Ok(Landed { reply_topic, reply, replayed: false })
    }

    /// Commits the reply topic and, with it, the key.
    async fn begin(&self, job: &Job, reply_topic: &TopicName, attempt: u32) -> Result<()> {
        let json = || ContentType::parse("application/json");
        let reply_type = job.request.reply_type.clone().map_or_else(json, Ok)?;
        let create = Create {
            topic: reply_topic.clone(),
            config: TopicConfig { expires_at: Some(job.expires_at), ..TopicConfig::open(reply_type) },
            messages: Vec::new(),
            closed: false,
        };
        let mut ops = vec![Op::Create(create)];
        ops.extend(job.record(reply_topic, attempt)?);
        self.commit_kept(ops).await
    }

    /// Has it served, again and again if it may be, until there is a reply or the time is up.
    async fn attempt(&self, job: &Job, reply_topic: &TopicName, mut attempt: u32) -> Result<Reply> {
        let last = attempt.saturating_add(LOSSES_MAX);
        let mut ticket = self.services.submit_as(Submission {
            id: self.services.new_id(),
            request: Arc::clone(&job.request),
            attempt,
            deadline: job.deadline,
            patience: if job.key_topic.is_some() { Patience::Retries } else { Patience::Waits },
            reply_topic: Some(reply_topic.clone()),
        })?;
        loop {
            match timeout_at(job.deadline, ticket.notice()).await {
                Ok(Notice::Done(outcome)) => return outcome,
                Ok(Notice::Lost) if attempt >= last => return Err(responders_lost()),
                Ok(Notice::Lost) => {
                    attempt += 1;
                    self.commit_kept(job.record(reply_topic, attempt)?.into_iter().collect()).await?;
                    ticket.retry(attempt);
                }
                Err(_) => {
                    return match ticket.withdraw() {
                        Some(Notice::Done(outcome)) => outcome,
                        Some(Notice::Lost) | None => Err(deadline_passed()),
                    };
                }
            }
        }
    }
}

impl Job {
    /// The record of an attempt, if the request has a key. The first one creates the key's topic.
    fn record(&self, reply_topic: &TopicName, attempt: u32) -> Result<Option<Op>> {
        let Some(key_topic) = &self.key_topic else { return Ok(None) };
        let fingerprint = self.fingerprint.clone();
        let record = KeyRecord { fingerprint, reply_topic: reply_topic.clone(), attempt };
        let config = TopicConfig::open(ContentType::octet_stream());
        Ok(Some(Op::Append(Append {
            create: Some(TopicConfig { expires_at: Some(self.expires_at), ..config }),
            stream_seq: Some(record.stream_seq()),
            ..Append::new(key_topic.clone(), vec![record.to_message()?])
        })))
    }
}

/// A flight's task: what has come out is told when the key is free again, so that who hears it and asks anew finds
/// the log, not this flight.
async fn fly(hub: Arc<Hub>, flight: Arc<Flight>, job: Arc<Job>, landing: Landing) {
    let landed = hub.carry_out(&flight, &job).await;
    drop(landing);
    flight.progress.send_replace(Progress::Landed(landed));
}

fn responders_lost() -> Error {
    Error::new(
        Kind::ResponderLost,
        "one responder after the other went away with the request in its hands; it may or may not have been done. \
         The same key can be tried again",
    )
}

fn key_reused() -> Error {
    Error::new(
        Kind::KeyReused,
        "this idempotency key was used for another request to the service; use a new key, or send the same request",
    )
}
