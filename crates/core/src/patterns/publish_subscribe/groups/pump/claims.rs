//! Members that claim: each asks once and waits for the answer. Those of one name are one member.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::Error;
use crate::patterns::publish_subscribe::groups::board::{Board, MemberId};
use crate::patterns::publish_subscribe::groups::consumer::Handed;
use crate::patterns::publish_subscribe::groups::directory::Claim;

/// Members with a name that wait for nothing and hold nothing.
const IDLE_MEMBERS_MAX: usize = 1_024;

/// Who waits for an answer.
#[derive(Default)]
pub(super) struct Claims {
    by_member: HashMap<MemberId, Claimer>,
    names: HashMap<Arc<str>, MemberId>,
    deadlines: BTreeSet<(Instant, MemberId, u64)>,
    /// What the committed round gives to whom.
    given: Vec<MemberId>,
    last_claim: u64,
    /// When members count as gone that have not claimed again.
    patience: BTreeSet<(Instant, MemberId)>,
    /// With so many, those that do nothing are looked for.
    n_patient_max: usize,
}

struct Claimer {
    name: Arc<str>,
    /// The first is served; the others wait for their turn.
    queue: VecDeque<(u64, Claim)>,
    given: Vec<Handed>,
    /// It counts as gone then, unless it claims again or holds something.
    gone_at: Instant,
}

impl Claims {
    /// Queues a claim; tells whose it is and its number, by which it can be withdrawn.
    pub(super) fn add(&mut self, claim: Claim, answer: oneshot::Sender<(MemberId, u64)>, board: &mut Board) {
        self.last_claim += 1;
        let number = self.last_claim;
        let known = self.names.get(&claim.name).copied().filter(|_| !claim.name.is_empty());
        let member = known.unwrap_or_else(|| board.join(Arc::clone(&claim.name), u32::MAX, false));
        if known.is_none() && !claim.name.is_empty() {
            self.names.insert(Arc::clone(&claim.name), member);
        }
        self.deadlines.insert((claim.until, member, number));
        let new = || Claimer {
            name: Arc::clone(&claim.name),
            queue: VecDeque::new(),
            given: Vec::new(),
            gone_at: claim.until,
        };
        let claimer = self.by_member.entry(member).or_insert_with(new);
        let patient_until = claim.until + board.config().ack_wait;
        self.patience.remove(&(claimer.gone_at, member));
        claimer.gone_at = claimer.gone_at.max(patient_until);
        self.patience.insert((claimer.gone_at, member));
        let max = claim.max;
        claimer.queue.push_back((number, claim));
        if claimer.queue.len() == 1 {
            board.ask(member, max);
        }
        if answer.send((member, number)).is_err() {
            self.withdraw(member, number, board);
        }
    }

    /// Takes a claim back whose caller has gone.
    pub(super) fn withdraw(&mut self, member: MemberId, number: u64, board: &mut Board) {
        self.remove(member, number);
        self.ask_next(member, board);
    }

    /// Answers those whose time is up: nothing came, and by `told_at` it is known what there is.
    pub(super) fn expire(&mut self, now: Instant, told_at: Instant, board: &mut Board) {
        let is_up = |(until, _, _): &(Instant, MemberId, u64)| (*until).max(told_at) <= now;
        while let Some((_, member, number)) = self.deadlines.first().copied().filter(is_up) {
            self.deadlines.pop_first();
            if let Some(claim) = self.remove(member, number) {
                // The caller may have gone.
                drop(claim.answer.send(Ok(Vec::new())));
            }
            self.ask_next(member, board);
        }
        for member in board.take_emptied() {
            self.forget_if_gone(member, now, board);
        }
        while let Some((_, member)) = self.patience.first().copied().filter(|(until, _)| *until <= now) {
            self.patience.pop_first();
            self.forget_if_gone(member, now, board);
        }
        self.forget_idle(board);
    }

    /// Names are cheap; of those that wait for nothing and hold nothing, only some are remembered.
    fn forget_idle(&mut self, board: &mut Board) {
        if self.patience.len() <= self.n_patient_max {
            return;
        }
        let is_idle = |member: &MemberId| {
            self.by_member.get(member).is_some_and(|claimer| claimer.queue.is_empty()) && board.is_idle_member(*member)
        };
        let mut idle: Vec<MemberId> = self.patience.iter().map(|(_, member)| *member).filter(is_idle).collect();
        idle.truncate(idle.len().saturating_sub(IDLE_MEMBERS_MAX / 2));
        idle.into_iter().for_each(|member| self.forget(member, board));
        self.n_patient_max = self.patience.len() + IDLE_MEMBERS_MAX / 2;
    }

    pub(super) fn next_due(&self, told_at: Instant) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(until, _, _)| (*until).max(told_at));
        let patience = self.patience.first().map(|(until, _)| *until);
        deadline.into_iter().chain(patience).min()
    }

    /// Keeps a message for the claim it is for, until [`Self::answer`].
    pub(super) fn hand(&mut self, member: MemberId, handed: Handed) {
        if let Some(claimer) = self.by_member.get_mut(&member) {
            claimer.given.push(handed);
            if claimer.given.len() == 1 {
                self.given.push(member);
            }
        }
    }

    /// Answers those who were given something.
    pub(super) fn answer(&mut self, board: &mut Board) {
        for member in std::mem::take(&mut self.given) {
            let Some(claimer) = self.by_member.get_mut(&member) else { continue };
            let given = std::mem::take(&mut claimer.given);
            let first = claimer.queue.front().map(|(number, _)| *number);
            let claim = first.and_then(|number| self.remove(member, number));
            let unsent = match claim {
                Some(claim) => claim.answer.send(Ok(given)).err().and_then(Result::ok),
                None => Some(given),
            };
            // The caller has gone without a word: somebody else gets what it was given.
            unsent.into_iter().flatten().for_each(|handed| board.lose(handed.message.offset));
            self.ask_next(member, board);
        }
    }

    /// What a member was to be given could not be committed.
    pub(super) fn fail(&mut self, member: MemberId, error: &Error, board: &mut Board) {
        let first = self.by_member.get(&member).and_then(|claimer| claimer.queue.front()).map(|(number, _)| *number);
        if let Some(claim) = first.and_then(|number| self.remove(member, number)) {
            drop(claim.answer.send(Err(error.clone())));
        }
        self.ask_next(member, board);
    }

    pub(super) fn end(&mut self, error: &Error) {
        for (_, claimer) in self.by_member.drain() {
            for (_, claim) in claimer.queue {
                drop(claim.answer.send(Err(error.clone())));
            }
        }
    }

    fn remove(&mut self, member: MemberId, number: u64) -> Option<Claim> {
        let claimer = self.by_member.get_mut(&member)?;
        let at = claimer.queue.iter().position(|(n, _)| *n == number)?;
        let (_, claim) = claimer.queue.remove(at)?;
        self.deadlines.remove(&(claim.until, member, number));
        Some(claim)
    }

    /// The member asks for what its first claim asks for.
    fn ask_next(&mut self, member: MemberId, board: &mut Board) {
        let Some(claimer) = self.by_member.get(&member) else { return };
        let max = claimer.queue.front().map_or(0, |(_, claim)| claim.max);
        board.ask(member, max);
        if claimer.name.is_empty() && claimer.queue.is_empty() && board.is_idle_member(member) {
            self.forget(member, board);
        }
    }

    /// A member that holds nothing and waits for nothing is there only as long as it has a name and may come back.
    fn forget_if_gone(&mut self, member: MemberId, now: Instant, board: &mut Board) {
        let Some(claimer) = self.by_member.get(&member) else { return };
        let may_come_back = !claimer.name.is_empty() && now < claimer.gone_at;
        if claimer.queue.is_empty() && !may_come_back && board.is_idle_member(member) {
            self.forget(member, board);
        }
    }

    fn forget(&mut self, member: MemberId, board: &mut Board) {
        if let Some(claimer) = self.by_member.remove(&member) {
            self.names.remove(&claimer.name);
            self.patience.remove(&(claimer.gone_at, member));
            board.leave(member);
        }
    }
}
