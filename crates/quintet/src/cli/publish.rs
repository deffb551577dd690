//! `quintet pub`: publishes an argument, a file, or the lines of standard input, each exactly once.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quintet_client::publish_subscribe::{PublishOptions, Publisher, Summary};
use quintet_wire::envelope::Headers;
use quintet_wire::session::command::Message;

use crate::cli::connect::HubArgs;
use crate::cli::exit::{Failure, note};
use crate::cli::input;
use crate::cli::output::Output;
use crate::cli::runtime::end_when_interrupted;

/// How long to wait at least before a message with an id is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// `quintet pub`
#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// The topic, e.g. chat/room-1; it is created if it is not there
    topic: String,
    /// The message; without it and --file, every line of standard input is one
    message: Option<String>,
    /// A file that becomes one message; - for the whole of standard input
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    file: Option<PathBuf>,
    /// The content type [default: text/plain, or application/octet-stream for what is not UTF-8]
    #[arg(long = "type", value_name = "TYPE")]
    content_type: Option<String>,
    /// Each message is JSON, and is checked to be; blank lines are passed over
    #[arg(long)]
    json: bool,
    /// A header of the messages; can be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = input::pair)]
    headers: Vec<(String, String)>,
    /// What the message is called: if the hub has it already, it is not stored again; for one message, not for lines
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Print how many readers were there when the message became visible, and how many groups; for one message
    #[arg(long)]
    receipts: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// Publishes; done when everything is acknowledged. While the hub is away it waits, and then sends what was not
/// acknowledged again with the same sequence numbers, so that nothing is lost or stored twice.
pub(crate) async fn run(args: PubArgs) -> Result<(), Failure> {
    end_when_interrupted();
    let PubArgs { topic, message, file, content_type, json, headers, message_id, receipts, hub } = args;
    let publishing = Publishing {
        content_type: input::content_type(json, content_type),
        json,
        headers: headers.into_iter().collect(),
        hub,
        topic,
    };
    let message = match (message, file) {
        (Some(message), _) => message.into(),
        (None, Some(path)) => input::file(&path)?,
        (None, None) if message_id.is_some() || receipts => {
            let detail = "--message-id and --receipts are for one message; give it as an argument or with --file";
            return Err(Failure::usage(detail));
        }
        (None, None) => return publishing.lines().await,
    };
    if message_id.is_some() || receipts {
        return publishing.with_options(message, &PublishOptions { message_id, receipts }).await;
    }
    publishing.one(message).await
}

struct Publishing {
    content_type: Option<String>,
    json: bool,
    headers: Headers,
    hub: HubArgs,
    topic: String,
}

impl Publishing {
    async fn one(&self, bytes: bytes::Bytes) -> Result<(), Failure> {
        if self.json {
            input::check_json(&bytes, "the message")?;
        }
        let publisher = self.publisher().await?;
        publisher.publish(self.message(bytes)).await.map_err(|error| self.hub.failure(&error))?;
        self.finish(publisher).await
    }

    /// Publishes one message by a request of its own. What the hub knows again by its id is sent until it is answered.
    async fn with_options(&self, bytes: bytes::Bytes, options: &PublishOptions) -> Result<(), Failure> {
        if self.json {
            input::check_json(&bytes, "the message")?;
        }
        let client = self.hub.reach().await?;
        let message = self.message(bytes);
        let published = loop {
            match client.publish_with(&self.topic, message.clone(), options).await {
                Ok(published) => break published,
                Err(error) if error.is_retryable() && options.message_id.is_some() => {
                    tracing::warn!(%error, "not published yet; it is tried again");
                    tokio::time::sleep(error.retry_after().unwrap_or_default().max(RETRY_PAUSE)).await;
                }
                Err(error) => return Err(self.hub.failure(&error)),
            }
        };
        if published.duplicate {
            note(&format!("{} had the message already, at {}", self.topic, published.offset));
        }
        if let Some(receipt) = published.receipt {
            let mut output = Output::new();
            output.line(format!("readers={} groups={}", receipt.readers, receipt.groups).as_bytes())?;
            output.flush()?;
        }
        Ok(())
    }

    async fn lines(&self) -> Result<(), Failure> {
        let publisher = self.publisher().await?;
        if std::io::stdin().is_terminal() {
            note(&format!("every line becomes a message in {}; end with Ctrl-D", self.topic));
        }
        let mut lines = input::lines();
        let mut n_lines: u64 = 0;
        while let Some(line) = lines.recv().await {
            let line = line.map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
            n_lines += 1;
            if self.json {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                if let Err(failure) = input::check_json(&line, &format!("line {n_lines}")) {
                    // What came before it was taken, and is not to be lost with it.
                    self.finish(publisher).await?;
                    return Err(failure);
                }
            }
            publisher.publish(self.message(line)).await.map_err(|error| self.hub.failure(&error))?;
        }
        self.finish(publisher).await
    }

    async fn publisher(&self) -> Result<Publisher, Failure> {
        let client = self.hub.reach().await?;
        client.publisher(&self.topic).start().map_err(|error| self.hub.failure(&error))
    }

    fn message(&self, bytes: bytes::Bytes) -> Message {
        Message { headers: self.headers.clone(), body: input::body(bytes, self.content_type.as_deref()) }
    }

    async fn finish(&self, publisher: Publisher) -> Result<(), Failure> {
        let summary = publisher.close().await.map_err(|error| self.hub.failure(&error))?;
        let Summary { messages, duplicate_batches, restarts } = summary;
        tracing::debug!(messages, duplicate_batches, restarts, "published");
        if restarts > 0 {
            note(&format!(
                "the hub had lost or deleted {} in the meantime; what was not acknowledged before was sent again, what \
                 was acknowledged before may be gone with it",
                self.topic
            ));
        }
        Ok(())
    }
}
