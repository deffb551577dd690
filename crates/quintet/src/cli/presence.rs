//! `quintet presence`: who is on a topic, and who comes and goes.

use clap::Args;
use quintet_client::client::Client;
use quintet_client::error::Error;
use quintet_client::event::Event;
use quintet_client::presence::presence_topic;
use quintet_wire::presence::{Change, Event as Happened, Snapshot};
use quintet_wire::problem::kind::Kind;
use quintet_wire::token::Since;

use crate::cli::connect::HubArgs;
use crate::cli::exit::{Failure, note};
use crate::cli::output::{Output, end_when_unread};
use crate::cli::runtime::end_when_interrupted;
use crate::cli::table::table;

/// `quintet presence`
#[derive(Debug, Args)]
pub(crate) struct PresenceArgs {
    /// The topic
    topic: String,
    /// Go on and print who comes, changes and goes
    #[arg(long)]
    follow: bool,
    /// Print JSON for scripts: a member a line, then a change a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// Prints who is there, and what changes.
pub(crate) async fn run(args: PresenceArgs) -> Result<(), Failure> {
    end_when_interrupted();
    let client = args.hub.reach().await?;
    if args.follow {
        end_when_unread();
    }
    let mut out = Output::new();
    loop {
        let snapshot = client.presence(&args.topic).await.map_err(|error| args.hub.failure(&error))?;
        print(&args, &mut out, &snapshot)?;
        if !args.follow {
            return Ok(());
        }
        match follow(&args, &client, &mut out, Since::At(snapshot.cursor.into())).await? {
            None => return Ok(()),
            Some(why) => note(&format!("{why}; this is who is there now")),
        }
    }
}

fn print(args: &PresenceArgs, out: &mut Output, snapshot: &Snapshot) -> Result<(), Failure> {
    if args.json {
        for member in &snapshot.members {
            out.line(json(member)?.as_bytes())?;
        }
    } else if snapshot.members.is_empty() {
        note(&format!("nobody is on {}", args.topic));
    } else {
        let rows = snapshot.members.iter().map(|member| {
            let text = |text: &Option<String>| text.as_deref().unwrap_or_default().escape_debug().to_string();
            vec![member.id.clone(), text(&member.subject), quintet_wire::time::format(member.since), text(&member.data)]
        });
        out.line(table(&["ID", "SUBJECT", "SINCE", "DATA"], rows).as_bytes())?;
    }
    out.flush()
}

/// Prints changes; tells why the snapshot does not hold any more.
async fn follow(
    args: &PresenceArgs,
    client: &Client,
    out: &mut Output,
    since: Since,
) -> Result<Option<&'static str>, Failure> {
    let mut changes = client.push(&presence_topic(&args.topic), since);
    while let Some(event) = changes.next().await {
        match event {
            Ok(Event::Message(message)) => {
                let change = serde_json::from_slice(&message.body.bytes)
                    .map_err(|error| Failure::failed(format!("a change was not understood: {error}")))?;
                out.line(if args.json { json(&change)? } else { line(&change) }.as_bytes())?;
                out.flush()?;
            }
            Ok(Event::Gap { .. }) => return Ok(Some("changes were removed before they were read")),
            Ok(Event::Deleted { .. }) => return Ok(Some("nobody was there for a while")),
            Err(error) if is_stale(&error) => return Ok(Some("the hub has begun anew")),
            Ok(_) => {}
            Err(error) => return Err(args.hub.failure(&error)),
        }
    }
    Ok(None)
}

/// The cursor is of a hub that was started since.
fn is_stale(error: &Error) -> bool {
    [Kind::StaleCursor, Kind::TopicDeleted, Kind::BadCursor].iter().any(|kind| error.is_problem(*kind))
}

fn line(change: &Change) -> String {
    let happened = match change.event {
        Happened::Join => "joins",
        Happened::Update => "changes",
        Happened::Leave => "leaves",
    };
    match &change.data {
        Some(data) => format!("{} {happened}: {}", change.id, data.escape_debug()),
        None => format!("{} {happened}", change.id),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::failed(format!("this cannot be written as JSON: {error}")))
}
