//! `quintet consume`: works on a group's messages, by printing each or by running a command for it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use clap::Args;
use quintet_client::consumer::{Consumer, Delivery};
use quintet_client::error::Error;
use quintet_wire::groups::Outcome as Said;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::cli::child::{Job, Outcome, check_command, header_variables, run_job};
use crate::cli::connect::HubArgs;
use crate::cli::exit::{Failure, note};
use crate::cli::output::{Output, end_when_unread};
use crate::cli::subscribe::poll_once;
use crate::shutdown::{Asked, Signals};

/// Messages that are held at once when each is only printed.
const PRINTED_AT_ONCE: u32 = 100;

/// `quintet consume`
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The group
    group: String,
    /// A command to run for each message, and its arguments, after --; without one, messages are printed
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Hold so many messages at once: run so many commands [default: 1, or 100 without a command]
    #[arg(long, value_name = "N")]
    credit: Option<NonZeroU32>,
    /// What this consumer is called among the group's members
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    member: String,
    /// End after so many messages, acknowledged or given back
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Print a JSON object a line, the message with its delivery
    #[arg(long, conflicts_with = "command")]
    json: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// Consumes until there were enough, or until Ctrl-C or SIGTERM; then finishes what is begun. A second signal ends
/// that too.
pub(crate) async fn run(args: ConsumeArgs) -> Result<(), Failure> {
    if !args.command.is_empty() {
        check_command(&args.command)?;
    }
    let mut signals =
        Signals::take().map_err(|error| Failure::failed(format!("signals cannot be taken over: {error}")))?;
    let (client, group) = tokio::select! {
        found = async {
            let client = args.hub.reach().await?;
            let group = client.describe_group(&args.group).await.map_err(|error| args.hub.failure(&error))?;
            Ok::<_, Failure>((client, group))
        } => found?,
        asked = signals.next() => asked.exit_now(),
    };
    let usual = if args.command.is_empty() { PRINTED_AT_ONCE } else { 1 };
    let credit = args.credit.map_or(usual, NonZeroU32::get);
    let left = args.count.map_or(u64::MAX, NonZeroU64::get);
    let consumer = client.consume(&args.group).member(&args.member).credit(credit_for(credit, 0, left)).start();
    let how = if args.command.is_empty() {
        end_when_unread();
        How::Print { json: args.json, out: Output::new() }
    } else {
        note(&format!("working for {} at {}; Ctrl-C ends it", args.group, client.url()));
        // Twice in that time would do; once more for a hub that is slow.
        How::Run { command: args.command.into(), keep: group.ack_wait.0 / 3, group: args.group.into() }
    };
    let work = Work { consumer, how, credit, left, jobs: JoinSet::new(), words: JoinSet::new() };
    work.run(&mut signals, &args.hub).await
}

/// What is done with a message.
enum How {
    Print { json: bool, out: Output },
    Run { command: Arc<[OsString]>, keep: Duration, group: Arc<str> },
}

struct Work {
    consumer: Consumer,
    how: How,
    credit: u32,
    // Messages that may still be taken.
    left: u64,
    // What runs, and whether the message is done when it has ended.
    jobs: JoinSet<(Delivery, bool)>,
    // What was said and is not answered.
    words: JoinSet<Result<Said, Error>>,
}

impl Work {
    async fn run(mut self, signals: &mut Signals, hub: &HubArgs) -> Result<(), Failure> {
        while self.left > 0 {
            let has_room = self.jobs.len() < self.credit as usize;
            tokio::select! {
                next = self.consumer.next(), if has_room => match next {
                    Some(Ok(delivery)) => self.take(delivery).await?,
                    Some(Err(error)) => return Err(hub.failure(&error)),
                    None => return Err(Failure::failed("the hub hands out nothing more")),
                },
                Some(ended) = self.jobs.join_next() => self.speak(ended),
                Some(answered) = self.words.join_next() => check(answered, hub)?,
                asked = signals.next() => {
                    if !self.jobs.is_empty() {
                        note("finishing what is begun; once more ends it at once");
                    }
                    return self.finish(signals, Some(asked), hub).await;
                }
            }
        }
        self.finish(signals, None, hub).await
    }

    /// Prints all that is there, or begins a run of the command.
    async fn take(&mut self, delivery: Delivery) -> Result<(), Failure> {
        self.left -= 1;
        match &mut self.how {
            How::Run { command, keep, group } => {
                self.jobs.spawn(work_on(delivery, Arc::clone(command), *keep, Arc::clone(group)));
            }
            How::Print { json, out } => {
                let mut printed = Vec::new();
                let mut next = Some(delivery);
                while let Some(delivery) = next.take() {
                    if *json {
                        out.line(&as_json(&delivery))?;
                    } else {
                        out.line(delivery.payload())?;
                    }
                    printed.push(delivery);
                    if self.left > 0
                        && let Poll::Ready(Some(Ok(more))) = poll_once(pin!(self.consumer.next())).await
                    {
                        self.left -= 1;
                        next = Some(more);
                    }
                }
                out.flush()?;
                while let Some(delivery) = printed.pop() {
                    self.say(delivery, true, printed.len());
                }
            }
        }
        Ok(())
    }

    fn speak(&mut self, ended: Result<(Delivery, bool), JoinError>) {
        match ended {
            Ok((delivery, done)) => {
                let n_others = self.jobs.len();
                self.say(delivery, done, n_others);
            }
            // Dropping the delivery has given it back.
            Err(error) => tracing::error!(%error, "the run of a command was lost"),
        }
    }

    /// Says the last word about a message, while so many others are worked on.
    fn say(&mut self, delivery: Delivery, done: bool, n_others: usize) {
        // The hub must not hand out more in its place than are still wanted.
        self.consumer.set_credit(credit_for(self.credit, n_others, self.left));
        self.words.spawn(async move { if done { delivery.ack().await } else { delivery.nack(None).await } });
    }

    /// Takes nothing more, and finishes what is begun, because of a signal or because there was enough.
    async fn finish(self, signals: &mut Signals, asked: Option<Asked>, hub: &HubArgs) -> Result<(), Failure> {
        let Work { consumer, mut jobs, mut words, .. } = self;
        let mut closing = pin!(consumer.close());
        loop {
            tokio::select! {
                closed = &mut closing => return closed.map_err(|error| hub.failure(&error)),
                Some(ended) = jobs.join_next() => {
                    if let Ok((delivery, done)) = ended {
                        words.spawn(async move { if done { delivery.ack().await } else { delivery.nack(None).await } });
                    }
                }
                Some(answered) = words.join_next() => check(answered, hub)?,
                // Returning drops the jobs, and with them the commands that run.
                again = signals.next() => return Err(Failure::signalled(asked.unwrap_or(again))),
            }
        }
    }
}

/// The credit with which no more than so many messages come, while so many are worked on.
fn credit_for(credit: u32, n_worked_on: usize, left: u64) -> u32 {
    let wanted = left.saturating_add(n_worked_on as u64);
    credit.min(u32::try_from(wanted).unwrap_or(u32::MAX))
}

fn check(answered: Result<Result<Said, Error>, JoinError>, hub: &HubArgs) -> Result<(), Failure> {
    match answered {
        Ok(Ok(said)) => tracing::debug!(?said, "answered"),
        Ok(Err(error)) => return Err(hub.failure(&error)),
        Err(error) => tracing::error!(%error, "an answer was lost"),
    }
    Ok(())
}

/// Runs the command for a message, and keeps that for as long as it runs.
async fn work_on(delivery: Delivery, command: Arc<[OsString]>, keep: Duration, group: Arc<str>) -> (Delivery, bool) {
    let variables = environment(&delivery, &group);
    let job = Job { command: &command, variables, input: delivery.payload(), captured: false };
    let outcome = tokio::select! {
        outcome = run_job(&job) => outcome,
        never = keep_for_as_long(&delivery, keep) => match never {},
    };
    let program = command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    let id = delivery.delivery().id;
    let done = match outcome {
        Ok(Outcome::Done(_)) => true,
        Ok(Outcome::Failed { how, .. }) => {
            note(&format!("{program} {how}; {id} is given back"));
            false
        }
        Err(error) => {
            note(&format!("{program} cannot be run: {error}; {id} is given back"));
            false
        }
    };
    (delivery, done)
}

async fn keep_for_as_long(delivery: &Delivery, every: Duration) -> Infallible {
    loop {
        sleep(every).await;
        match delivery.extend(None).await {
            Ok(Said::Done) => {}
            // It is acknowledged nevertheless when its work is done.
            Ok(said) => tracing::warn!(?said, id = %delivery.delivery().id, "the message was not kept"),
            Err(error) => tracing::debug!(%error, "the message was not kept"),
        }
    }
}

/// The message and its delivery as variables.
fn environment(delivery: &Delivery, group: &str) -> Vec<(String, String)> {
    let (message, delivered) = (delivery.message(), delivery.delivery());
    let mut variables = vec![
        ("QUINTET_GROUP".to_owned(), group.to_owned()),
        ("QUINTET_TOPIC".to_owned(), message.topic.clone()),
        ("QUINTET_OFFSET".to_owned(), message.offset.to_string()),
        ("QUINTET_TIME".to_owned(), quintet_wire::time::format(message.time_ms)),
        ("QUINTET_TYPE".to_owned(), message.body.content_type.clone()),
        ("QUINTET_DELIVERY".to_owned(), delivered.id.to_string()),
        ("QUINTET_COUNT".to_owned(), delivered.count.to_string()),
        ("QUINTET_REASON".to_owned(), delivered.reason.clone().into_owned()),
    ];
    variables.extend(header_variables(&message.headers));
    variables
}

fn as_json(delivery: &Delivery) -> Vec<u8> {
    let message = delivery.message();
    let mut line = Vec::new();
    let parts = quintet_wire::envelope::Parts {
        topic: &message.topic,
        offset: message.offset,
        previous: message.previous,
        time_ms: message.time_ms,
        content_type: &message.body.content_type,
        payload: &message.body.bytes,
    };
    let headers = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    quintet_wire::groups::write(&mut line, &parts, headers, delivery.delivery());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_come_than_are_wanted() {
        assert_eq!(credit_for(10, 0, u64::MAX), 10);
        assert_eq!(credit_for(10, 0, 3), 3);
        assert_eq!(credit_for(10, 4, 3), 7);
        assert_eq!(credit_for(10, 9, 3), 10);
        assert_eq!(credit_for(1, 0, 0), 0);
    }
}
