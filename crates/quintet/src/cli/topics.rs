//! `quintet topics`: topics as things. What is in them is for `pub` and `sub`.

use clap::{Args, Subcommand, ValueEnum};
use quintet_client::topics::Options;
use quintet_wire::duration;
use quintet_wire::topics::Description;
use serde_json::json;

use crate::cli::connect::HubArgs;
use crate::cli::exit::{Exit, Failure, note};
use crate::cli::output::Output;
use crate::cli::runtime::end_when_interrupted;
use crate::cli::table::{rounded_size, table};
use crate::config::units::parse_size;

/// `quintet topics`
#[derive(Debug, Args)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// List topics
    List {
        /// Only those that match this filter; the hub's own begin with $ and have to be asked for
        #[arg(default_value = "#")]
        filter: String,
        #[command(flatten)]
        how: How,
    },
    /// Show one topic
    Show {
        /// The topic
        topic: String,
        #[command(flatten)]
        how: How,
    },
    /// Create a topic; one that is there with the same properties is left as it is
    Create(CreateArgs),
    /// Close a topic: nothing can be added any more, and its readers come to an end
    Close {
        /// The topic
        topic: String,
        #[command(flatten)]
        how: How,
    },
    /// Delete a topic with all its messages
    Delete {
        /// The topic
        topic: String,
        #[command(flatten)]
        how: How,
    },
}

/// How to print it, and where the hub is.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Print JSON for scripts: one object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The topic
    topic: String,
    /// The content type that all its messages will have [default: application/octet-stream]
    #[arg(long = "type", value_name = "TYPE")]
    content_type: Option<String>,
    /// What an acknowledgement is worth [default: the hub's]
    #[arg(long, value_enum)]
    durability: Option<Durability>,
    /// Remove it after so long without reads and writes
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, conflicts_with = "expires_at")]
    ttl: Option<u64>,
    /// Remove it at this time, e.g. 2030-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Keep messages for so long
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    retain_age: Option<u64>,
    /// Keep so many messages
    #[arg(long, value_name = "N")]
    retain_count: Option<u64>,
    /// Keep so many bytes of messages
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    retain_bytes: Option<u64>,
    #[command(flatten)]
    how: How,
}

/// What an acknowledgement is worth.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Durability {
    /// Acknowledged once on disk
    Disk,
    /// Acknowledged once in memory
    Memory,
}

impl Durability {
    /// The word for it on the wire.
    pub(crate) fn name(self) -> String {
        match self {
            Durability::Disk => "disk".to_owned(),
            Durability::Memory => "memory".to_owned(),
        }
    }
}

/// Does one of them.
pub(crate) async fn run(args: TopicsArgs) -> Result<(), Failure> {
    end_when_interrupted();
    match args.command {
        TopicsCommand::List { filter, how } => list(&filter, &how).await,
        TopicsCommand::Show { topic, how } => show(&topic, &how).await,
        TopicsCommand::Create(args) => create(args).await,
        TopicsCommand::Close { topic, how } => {
            let client = how.hub.reach().await?;
            let tail = client.close_topic(&topic).await.map_err(|error| how.hub.failure(&error))?;
            tell(
                &how,
                &json!({"topic": topic, "closed": true, "next": tail.to_string()}),
                &format!("{topic} is closed"),
            )
        }
        TopicsCommand::Delete { topic, how } => {
            let client = how.hub.reach().await?;
            client.delete_topic(&topic).await.map_err(|error| how.hub.failure(&error))?;
            tell(&how, &json!({"topic": topic, "deleted": true}), &format!("{topic} is deleted"))
        }
    }
}

async fn list(filter: &str, how: &How) -> Result<(), Failure> {
    let client = how.hub.reach().await?;
    let mut out = Output::new();
    if how.json {
        // Page by page, so that a million topics begin to be printed at once.
        let mut after = None;
        loop {
            let page = client.topics_page(filter, after.as_deref()).await.map_err(|error| how.hub.failure(&error))?;
            for topic in &page.topics {
                out.line(json(topic)?.as_bytes())?;
            }
            after = page.next;
            if after.is_none() {
                return out.flush();
            }
        }
    }
    let topics = client.topics(filter).await.map_err(|error| how.hub.failure(&error))?;
    if topics.is_empty() {
        note(&format!("there is no topic that matches {filter}"));
        return Ok(());
    }
    let heads = ["TOPIC", "TYPE", "DURABILITY", "MESSAGES", "SIZE", "STATE", "CREATED"];
    let rows = topics.into_iter().map(|topic| {
        let state = if topic.closed { "closed" } else { "open" };
        vec![
            topic.topic,
            topic.content_type,
            topic.durability,
            topic.messages.to_string(),
            rounded_size(topic.bytes),
            state.to_owned(),
            quintet_wire::time::format(topic.created),
        ]
    });
    out.line(table(&heads, rows).as_bytes())?;
    out.flush()
}

async fn show(topic: &str, how: &How) -> Result<(), Failure> {
    let client = how.hub.reach().await?;
    let description = client.describe_topic(topic).await.map_err(|error| how.hub.failure(&error))?;
    let Some(description) = description else {
        let message = format!("there is no topic {topic}\nsee `quintet topics list`, or create it by publishing to it");
        return Err(Failure::new(Exit::Refused, message));
    };
    let text = if how.json { json(&description)? } else { describe(&description) };
    let mut out = Output::new();
    out.line(text.as_bytes())?;
    out.flush()
}

async fn create(args: CreateArgs) -> Result<(), Failure> {
    let options = Options {
        content_type: args.content_type,
        durability: args.durability.map(Durability::name),
        ttl_s: args.ttl,
        expires_at: args.expires_at,
        retain_age_s: args.retain_age,
        retain_count: args.retain_count,
        retain_bytes: args.retain_bytes,
    };
    let (topic, how) = (args.topic, args.how);
    let client = how.hub.reach().await?;
    let new = client.create_topic(&topic, &options).await.map_err(|error| how.hub.failure(&error))?;
    let text = if new { format!("{topic} is created") } else { format!("{topic} was there already") };
    tell(&how, &json!({"topic": topic, "created": new}), &text)
}

/// What was done: for scripts on standard output, for people on standard error.
pub(crate) fn tell(how: &How, object: &serde_json::Value, text: &str) -> Result<(), Failure> {
    if !how.json {
        note(text);
        return Ok(());
    }
    let mut out = Output::new();
    out.line(object.to_string().as_bytes())?;
    out.flush()
}

fn describe(topic: &Description) -> String {
    let mut rows = vec![
        ("topic", topic.topic.clone()),
        ("type", topic.content_type.clone()),
        ("durability", topic.durability.clone()),
        ("messages", topic.messages.to_string()),
        ("size", format!("{} ({} bytes)", rounded_size(topic.bytes), topic.bytes)),
        ("state", if topic.closed { "closed" } else { "open" }.to_owned()),
        ("created", quintet_wire::time::format(topic.created)),
        ("first", topic.first.to_string()),
        ("next", topic.next.to_string()),
    ];
    if let Some(ttl) = topic.ttl {
        rows.push(("ttl", duration::format(std::time::Duration::from_secs(ttl))));
    }
    if let Some(at) = &topic.expires_at {
        rows.push(("expires", at.clone()));
    }
    rows.iter().map(|(name, value)| format!("{name:<12}{value}")).collect::<Vec<_>>().join("\n")
}

/// One object on one line.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::failed(format!("this cannot be written as JSON: {error}")))
}

/// Reads a duration of whole seconds, for clap.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    if duration.subsec_millis() != 0 || duration.is_zero() {
        return Err(format!("`{text}` is not one or more whole seconds"));
    }
    Ok(duration.as_secs())
}
