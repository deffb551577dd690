//! Groups on the hub: put, describe, list, delete; consume, claim, acknowledge, redrive.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cursor::{LogId, Offset, Since};
use crate::engine::Durability;
use crate::engine::ledger::group_not_found;
use crate::engine::transaction::{Op, Outcome, PutGroup};
use crate::error::{Error, Kind, Result};
use crate::fanout::follower::Usage;
use crate::group::{GROUP_TIME_MAX, GroupConfig, GroupName};
use crate::hub::{Hub, ListTopics};
use crate::name::TopicName;
use crate::patterns::publish_subscribe::groups::board::MemberId;
use crate::patterns::publish_subscribe::groups::consumer::{Answer, Consumer, DeliveryId, GroupInfo, Handed, Redriven};
use crate::patterns::publish_subscribe::groups::directory::{Answers, Claim, Command, Handle, Place};

/// Topics whose messages are counted for a group's lag.
const LAG_TOPICS_MAX: usize = 1_000;
/// Bytes of a member's name.
pub const MEMBER_NAME_BYTES_MAX: usize = 128;

/// How a group is to be.
#[derive(Debug, Clone)]
pub struct NewGroup {
    /// Its name.
    pub group: GroupName,
    /// How it is set up.
    pub config: GroupConfig,
    /// Where a new one begins.
    pub since: Since,
    /// Which log it shares out; none: that of the topic, if the filter names one that exists, or the hub's default.
    pub durability: Option<Durability>,
}

/// A member's place in a group. Dropping it leaves the group; what it holds is handed out again at once.
pub struct Membership {
    place: Place,
    _usage: Usage,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("group", &self.place.handle.group).finish_non_exhaustive()
    }
}

impl Membership {
    /// Says that a sink that was full can take more.
    pub fn ready(&self) {
        let member = self.place.member;
        self.place.handle.signal(|signals| {
            if !signals.ready.contains(&member) {
                signals.ready.push(member);
            }
        });
    }

    /// Sets how many messages it may hold.
    ///
    /// Dropping the future may leave it as it was.
    pub async fn set_limit(&self, limit: u32) -> Result<()> {
        let command = Command::Limit { member: self.place.member, limit };
        self.place.handle.commands.send(command).await.map_err(|_| self.place.handle.gone())
    }
}

/// What to claim.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Who claims. Claims of one name are one member; without a name each claim is a member of its own.
    pub member: Arc<str>,
    /// At most so many messages.
    pub max: u32,
    /// If there is none, wait until then.
    pub until: Instant,
}

impl Hub {
    /// Creates a group, or sets it up differently, or confirms that it is as asked. Tells whether it is new.
    ///
    /// The filter and the log of a group do not change while it lives. Dropping the future does not take it back.
    pub async fn put_group(&self, new: NewGroup) -> Result<(bool, GroupInfo)> {
        new.config.check()?;
        let putting = Arc::clone(&self.groups.putting).lock_owned().await;
        let known = self.groups.get(&new.group);
        let wished = self.log_of_group(&new)?;
        let log = known.as_ref().map_or(wished, |known| known.log);
        if new.durability.is_some() && log != wished {
            let detail = format!("the group {} exists with another durability; delete it first", new.group);
            return Err(Error::new(Kind::GroupExists, detail));
        }
        if let Some(topic) = &new.config.dead_letter
            && let Some(other) = self.registry.get(topic).and_then(|topic| topic.log())
            && other != log
        {
            let detail = format!("the dead_letter topic {topic} exists with another durability; choose another name");
            return Err(Error::new(Kind::BadRequest, detail));
        }
        let start = self.start_offset(&new.since, log)?;
        let put = PutGroup { group: new.group.clone(), config: new.config, start };
        let engine = self.engine(log).ok_or_else(|| Error::new(Kind::Internal, "the log is not one of the hub's"))?;
        let commit = engine.commit(Op::PutGroup(put).into(), self.clock.now());
        // It goes its way also if the caller does not wait, and nobody else puts a group before it is done.
        let commit = tokio::spawn(async move {
            let _putting = putting;
            commit.await
        });
        let outcomes = commit.await.map_err(|_| Error::new(Kind::ShuttingDown, "the hub is stopping"))??;
        let Some(Outcome::GroupPut { new: is_new, .. }) = outcomes.into_iter().next() else {
            return Err(Error::new(Kind::Internal, "the log gave another answer than to a group"));
        };
        Ok((is_new, self.describe_group(&new.group).await?))
    }

    /// What can be told of a group.
    pub async fn describe_group(&self, group: &GroupName) -> Result<GroupInfo> {
        let handle = self.group(group)?;
        let mut info = self.ask(&handle, Command::Describe).await?;
        let in_log = |topic: &crate::topic::TopicInfo| topic.created.log == handle.log;
        let list = ListTopics { filter: Some(info.config.filter.clone()), after: None, max: LAG_TOPICS_MAX + 1 };
        let topics = self.list_topics(&list);
        info.lag_is_at_least = topics.len() > LAG_TOPICS_MAX;
        let Some(engine) = self.engine(handle.log) else { return Ok(info) };
        for topic in topics.iter().take(LAG_TOPICS_MAX).filter(|topic| in_log(topic)) {
            if topic.next.offset > info.claimed_through {
                let count = engine.count(topic.topic.clone(), topic.created.offset, info.claimed_through);
                info.lag += count.await?;
            }
        }
        Ok(info)
    }

    /// Groups in the order of their names, behind one of them.
    pub fn list_groups(&self, after: Option<&GroupName>, max: usize) -> Vec<GroupName> {
        self.groups.list(after, max).iter().map(|handle| handle.group.clone()).collect()
    }

    /// How a group is set up, for who may do what with it.
    pub fn group_config(&self, group: &GroupName) -> Result<Arc<GroupConfig>> {
        Ok(Arc::clone(&self.group(group)?.config.lock()))
    }

    /// Deletes a group. Its members are told; what was not settled is no longer handed out.
    pub async fn delete_group(&self, group: &GroupName) -> Result<()> {
        let handle = self.group(group)?;
        self.commit(handle.log, Op::DeleteGroup(group.clone(), Some(handle.created))).await?;
        Ok(())
    }

    /// Joins a group: messages come until the membership is dropped. It holds at most `limit` unacknowledged ones.
    ///
    /// Dropping the future leaves the group again.
    pub async fn consume(
        &self,
        group: &GroupName,
        member: &str,
        limit: u32,
        sink: Box<dyn Consumer>,
    ) -> Result<Membership> {
        let name = check_member(member)?;
        if limit == 0 {
            return Err(Error::new(Kind::BadRequest, "a credit of 0 gets nothing; it is at least 1"));
        }
        let usage = Usage::within(&self.groups.n_members, self.limits.group_members, "members of groups")?;
        let handle = self.group(group)?;
        let place = self.ask(&handle, |answer| Command::Join { name, limit, sink, answer }).await?;
        Ok(Membership { place, _usage: usage })
    }

    /// Claims messages; if there are none, waits. Empty when the time is up. One that does not wait is given what is there,
    /// which may have to be read first.
    ///
    /// Dropping the future withdraws the claim. What was handed out in the same instant is handed out again.
    pub async fn claim_messages(&self, group: &GroupName, request: ClaimRequest) -> Result<Vec<Handed>> {
        let name = check_member(&request.member)?;
        let _usage = Usage::within(&self.groups.n_members, self.limits.group_members, "members of groups")?;
        let handle = self.group(group)?;
        let (to, from) = oneshot::channel();
        let longest = Instant::now().checked_add(self.limits.wait_max);
        let until = longest.map_or(request.until, |longest| request.until.min(longest));
        let max = request.max.clamp(1, u32::try_from(self.limits.read_messages).unwrap_or(u32::MAX));
        let claim = Claim { name, max, until, answer: to };
        let (member, number) = self.ask(&handle, |answer| Command::Claim(claim, answer)).await?;
        let mut withdrawal = Withdrawal { handle: &handle, claim: Some((member, number)) };
        let answered = from.await.map_err(|_| handle.gone())?;
        withdrawal.claim = None;
        answered
    }

    /// Settles messages: their work is done. Answers one by one, when it is as durable as the group.
    ///
    /// It can be said as often as one likes. Dropping the future does not take it back.
    pub async fn acknowledge(&self, group: &GroupName, ids: Vec<DeliveryId>) -> Result<Vec<Answer>> {
        self.say(group, ids, Command::Acknowledge).await
    }

    /// Gives messages back, to be handed out again after a while; none: after what the group's backoff says.
    ///
    /// Dropping the future does not take it back.
    pub async fn give_back(
        &self,
        group: &GroupName,
        ids: Vec<DeliveryId>,
        delay: Option<Duration>,
    ) -> Result<Vec<Answer>> {
        check_time(delay)?;
        self.say(group, ids, |ids, answer| Command::GiveBack(ids, delay, answer)).await
    }

    /// Keeps messages in the member's hands for so long from now; none: for the group's time to acknowledge.
    ///
    /// Dropping the future does not take it back.
    pub async fn extend(&self, group: &GroupName, ids: Vec<DeliveryId>, by: Option<Duration>) -> Result<Vec<Answer>> {
        check_time(by)?;
        self.say(group, ids, |ids, answer| Command::Extend(ids, by, answer)).await
    }

    /// Hands the group's dead letters out again.
    ///
    /// Dropping the future does not stop it.
    pub async fn redrive(&self, group: &GroupName) -> Result<Redriven> {
        let handle = self.group(group)?;
        self.ask(&handle, Command::Redrive).await?
    }

    /// How many groups share out what is published to a topic.
    pub fn groups_of(&self, topic: &TopicName) -> usize {
        let log = self.registry.get(topic).and_then(|topic| topic.log());
        log.map_or(0, |log| self.groups.n_matching(topic, log))
    }

    /// Groups hand out nothing from now on, while acknowledgements are still taken: the first thing that a hub does that
    /// will be stopped. What members hold stays theirs over the restart, for as long as their time lasts.
    pub fn hold_groups(&self) {
        self.groups.held.store(true, Ordering::Relaxed);
    }

    /// Members of all groups.
    pub fn n_group_members(&self) -> usize {
        self.groups.n_members()
    }

    async fn say(
        &self,
        group: &GroupName,
        ids: Vec<DeliveryId>,
        command: impl FnOnce(Vec<DeliveryId>, Answers) -> Command,
    ) -> Result<Vec<Answer>> {
        let max = self.limits.batch_messages;
        if ids.len() > max {
            let detail = format!("at most {max} deliveries can be spoken of at once; send them in several");
            return Err(Error::new(Kind::TooLarge, detail));
        }
        let handle = self.group(group)?;
        self.ask(&handle, |answer| command(ids, answer)).await?
    }

    async fn ask<T>(&self, handle: &Handle, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (to, from) = oneshot::channel();
        handle.commands.send(command(to)).await.map_err(|_| handle.gone())?;
        from.await.map_err(|_| handle.gone())
    }

    fn group(&self, group: &GroupName) -> Result<Arc<Handle>> {
        self.groups.get(group).ok_or_else(|| group_not_found(group))
    }

    fn log_of_group(&self, new: &NewGroup) -> Result<LogId> {
        if new.durability.is_none() && new.config.filter.is_exact() {
            let topic = TopicName::parse(new.config.filter.as_str())?;
            if let Some(log) = self.registry.get(&topic).and_then(|topic| topic.log()) {
                return Ok(log);
            }
        }
        self.log_of(new.durability)
    }

    fn start_offset(&self, since: &Since, log: LogId) -> Result<Offset> {
        Ok(match since {
            Since::Start => Offset::ZERO,
            Since::Now => self.end_of(log).offset,
            Since::After(cursor) if cursor.is_start() => Offset::ZERO,
            Since::After(cursor) => {
                let offset = cursor.in_log(log).filter(|offset| *offset <= self.registry.newest(log));
                offset.ok_or_else(|| {
                    Error::new(Kind::BadCursor, "the cursor is not a position of the log that the group shares out")
                })?
            }
        })
    }
}

/// Takes a claim back when its caller goes.
struct Withdrawal<'a> {
    handle: &'a Handle,
    claim: Option<(MemberId, u64)>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim {
            self.handle.signal(|signals| signals.unclaimed.push(claim));
        }
    }
}

fn check_time(time: Option<Duration>) -> Result<()> {
    if time.is_some_and(|time| time > GROUP_TIME_MAX) {
        let detail = "a message rests or is kept for at most 7d at a time; say so again before that is over";
        return Err(Error::new(Kind::BadRequest, detail));
    }
    Ok(())
}

fn check_member(name: &str) -> Result<Arc<str>> {
    if name.len() > MEMBER_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let detail = format!("a member's name has at most {MEMBER_NAME_BYTES_MAX} bytes and no control characters");
        return Err(Error::new(Kind::BadName, detail));
    }
    Ok(name.into())
}
