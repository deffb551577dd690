//! `quintet sub`: follows a topic or a filter over a transport of one's choice, and prints what comes.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use clap::{Args, ValueEnum};
use quintet_client::client::Client;
use quintet_client::event::Event;
use quintet_client::subscription::Subscription;
use quintet_wire::duration;
use quintet_wire::token::{BadCursor, Since};

use crate::cli::connect::HubArgs;
use crate::cli::exit::{Failure, note};
use crate::cli::output::{Output, end_when_unread};
use crate::cli::runtime::end_when_interrupted;

/// `quintet sub`
#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// A topic, or a filter: + stands for one level, # for all that follow (only over ws)
    topic: String,
    /// How to be told
    #[arg(long, value_enum, default_value_t = Via::Ws)]
    via: Via,
    /// Where to begin: start, now, or a cursor
    #[arg(long, value_name = "CURSOR", default_value = "now", allow_hyphen_values = true, value_parser = parse_since)]
    since: Since,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print a JSON object a line: topic, offset, time, type, headers and data
    #[arg(long)]
    json: bool,
    /// How long to wait between two questions when there is nothing new (only short-poll)
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    interval: Duration,
    /// Be shown on the topic under this id, for as long as it is followed (see `quintet presence`)
    #[arg(long, value_name = "ID")]
    presence_id: Option<String>,
    /// What is shown beside it, at most 1 KiB
    #[arg(long, value_name = "DATA", requires = "presence_id")]
    presence_data: Option<String>,
    #[command(flatten)]
    hub: HubArgs,
}

/// The ways to be told of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Push over a WebSocket
    Ws,
    /// Push as server-sent events
    Sse,
    /// Ask, and wait for the answer until there is something
    LongPoll,
    /// Ask again and again
    ShortPoll,
}

/// Prints messages until the topic ends, there are enough, or nobody reads them.
pub(crate) async fn run(args: SubArgs) -> Result<(), Failure> {
    end_when_interrupted();
    if is_filter(&args.topic) && args.via != Via::Ws {
        return Err(Failure::usage(format!("{} is a filter, which only --via ws follows", args.topic)));
    }
    if is_filter(&args.topic) && args.presence_id.is_some() {
        return Err(Failure::usage(format!("{} is a filter; with --presence-id name one topic", args.topic)));
    }
    let mut client = args.hub.reach().await?;
    if let Some(id) = &args.presence_id {
        client = client.with_member(id, args.presence_data.as_deref());
    }
    let mut subscription = subscription(&client, &args);
    end_when_unread();
    let mut out = Output::new();
    let mut n_left = args.count.unwrap_or(u64::MAX);
    let mut deleted = false;
    while let Some(event) = next(&mut subscription, &mut out).await? {
        match event.map_err(|error| args.hub.failure(&error))? {
            Event::Message(message) => {
                if args.json {
                    out.line(message.to_json().as_bytes())?;
                } else {
                    out.line(&message.body.bytes)?;
                }
                n_left -= 1;
                if n_left == 0 {
                    return out.flush();
                }
            }
            Event::Gap { topic, first_available } => {
                out.flush()?;
                note(&format!(
                    "gap in {topic}: messages were removed before they were read; it goes on after {first_available}"
                ));
            }
            Event::Closed { topic } => {
                out.flush()?;
                note(&format!("{topic} is closed; that was all of it"));
            }
            Event::Deleted { topic } => {
                out.flush()?;
                note(&format!("{topic} was deleted"));
                deleted = !is_filter(&args.topic);
            }
            other => tracing::warn!(?other, "an event of a newer client"),
        }
    }
    out.flush()?;
    if deleted { Err(Failure::failed("")) } else { Ok(()) }
}

fn subscription(client: &Client, args: &SubArgs) -> Subscription {
    let (topic, since) = (args.topic.as_str(), args.since);
    match args.via {
        Via::Ws if is_filter(topic) => client.subscribe(topic, since),
        Via::Ws => client.push(topic, since),
        Via::Sse => client.push_events(topic, since),
        Via::LongPoll => client.long_polling(topic, since),
        Via::ShortPoll => client.short_polling(topic, since, args.interval),
    }
}

type Next = Option<Result<Event, quintet_client::error::Error>>;

/// The next event. What was printed is written out whenever there is none yet, so that lines come at once when they
/// come one by one, and many in one write when they come fast.
async fn next(subscription: &mut Subscription, out: &mut Output) -> Result<Next, Failure> {
    let mut next = pin!(subscription.next());
    if let Poll::Ready(event) = poll_once(next.as_mut()).await {
        return Ok(event);
    }
    out.flush()?;
    Ok(next.await)
}

/// What a future has now.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

fn is_filter(topic: &str) -> bool {
    topic.split('/').any(|level| level == "+" || level == "#")
}

/// Reads a cursor, for clap.
pub(crate) fn parse_since(text: &str) -> Result<Since, BadCursor> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_wildcards() {
        assert!(is_filter("a/+/b") && is_filter("#"));
        assert!(!is_filter("a/b+c") && !is_filter("a#"));
    }
}
