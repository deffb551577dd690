//! `quintet groups` and `quintet redrive`: consumer groups as things. Working for one is `quintet consume`.

use clap::{Args, Subcommand};
use quintet_wire::duration::Span;
use quintet_wire::groups::{Description, Member, NewGroup};
use quintet_wire::token::Since;
use serde_json::json;

use crate::cli::exit::{Failure, note};
use crate::cli::output::Output;
use crate::cli::runtime::end_when_interrupted;
use crate::cli::subscribe::parse_since;
use crate::cli::table::table;
use crate::cli::topics::{Durability, How, json, tell};

/// `quintet groups`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct GroupsArgs {
    #[command(subcommand)]
    command: Option<GroupsCommand>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Subcommand)]
enum GroupsCommand {
    /// List groups, which is also what happens without a command
    List {
        #[command(flatten)]
        how: How,
    },
    /// Show one group, with its members
    Show {
        /// The group
        group: String,
        #[command(flatten)]
        how: How,
    },
    /// Create a group, or set one up differently; what is not said has its default
    Put(Box<PutArgs>),
    /// Delete a group; the messages stay in their topics
    Delete {
        /// The group
        group: String,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct PutArgs {
    /// The group
    group: String,
    /// The topics whose messages it shares out: a topic, or a filter with + and #
    filter: String,
    /// Where a new group begins: start, now, or a cursor [default: start]
    #[arg(long, value_name = "CURSOR", allow_hyphen_values = true, value_parser = parse_since)]
    start: Option<Since>,
    /// Which log it shares out, and is kept in [default: the topic's, or the hub's]
    #[arg(long, value_enum)]
    durability: Option<Durability>,
    /// Hand a message out again that is not acknowledged for so long [default: 30s]
    #[arg(long, value_name = "DURATION")]
    ack_wait: Option<Span>,
    /// Hand a message out so often, and then move it to the dead letters [default: 5 with --dead-letter, else for ever]
    #[arg(long, value_name = "N", requires = "dead_letter")]
    max_deliver: Option<u32>,
    /// The topic of dead letters
    #[arg(long, value_name = "TOPIC")]
    dead_letter: Option<String>,
    /// Let a message rest so long after the first failure, the second, and so on [default: not at all]
    #[arg(long, value_name = "DURATION,…", value_delimiter = ',')]
    backoff: Vec<Span>,
    /// Have so many messages in members' hands at once [default: 10000]
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// Let one member hold so many at once [default: 1000]
    #[arg(long, value_name = "N")]
    max_in_flight_per_member: Option<u32>,
    /// Messages with the same value of this header go to one member, one after the other
    #[arg(long, value_name = "HEADER")]
    key: Option<String>,
    #[command(flatten)]
    how: How,
}

/// `quintet redrive`
#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// The group
    group: String,
    #[command(flatten)]
    how: How,
}

/// Does one of them.
pub(crate) async fn run(args: GroupsArgs) -> Result<(), Failure> {
    end_when_interrupted();
    match args.command {
        None => list(&args.how).await,
        Some(GroupsCommand::List { how }) => list(&how).await,
        Some(GroupsCommand::Show { group, how }) => {
            let client = how.hub.reach().await?;
            let group = client.describe_group(&group).await.map_err(|error| how.hub.failure(&error))?;
            let text = if how.json { json(&group)? } else { describe(&group) };
            let mut out = Output::new();
            out.line(text.as_bytes())?;
            out.flush()
        }
        Some(GroupsCommand::Put(args)) => put(*args).await,
        Some(GroupsCommand::Delete { group, how }) => {
            let client = how.hub.reach().await?;
            client.delete_group(&group).await.map_err(|error| how.hub.failure(&error))?;
            tell(&how, &json!({"group": group, "deleted": true}), &format!("{group} is deleted"))
        }
    }
}

/// Hands the dead letters of a group out again, until there are no more.
pub(crate) async fn redrive(args: RedriveArgs) -> Result<(), Failure> {
    end_when_interrupted();
    let RedriveArgs { group, how } = args;
    let client = how.hub.reach().await?;
    let (mut redelivered, mut republished, mut kept) = (0, 0, 0);
    loop {
        let redriven = client.redrive(&group).await.map_err(|error| how.hub.failure(&error))?;
        redelivered += redriven.redelivered;
        republished += redriven.republished;
        kept += redriven.kept;
        // A group that is full tries no more for now; asking on would be of no use.
        if !redriven.more || redriven.redelivered + redriven.republished + redriven.kept == 0 {
            let more = redriven.more;
            let object = json!({
                "group": group, "redelivered": redelivered, "republished": republished, "kept": kept, "more": more,
            });
            let mut text = format!("{redelivered} handed out again, {republished} published again");
            if kept > 0 {
                text.push_str(&format!(", {kept} stay, since their topics take them no more"));
            }
            if more {
                text.push_str("; there are more: run it again when the group has settled some");
            }
            return tell(&how, &object, &text);
        }
    }
}

async fn put(args: PutArgs) -> Result<(), Failure> {
    let new = NewGroup {
        filter: args.filter,
        start: args.start,
        durability: args.durability.map(Durability::name),
        ack_wait: args.ack_wait,
        max_deliver: args.max_deliver,
        dead_letter: args.dead_letter,
        backoff: args.backoff,
        max_in_flight: args.max_in_flight,
        max_in_flight_per_member: args.max_in_flight_per_member,
        key: args.key,
    };
    let (group, how) = (args.group, args.how);
    let client = how.hub.reach().await?;
    let (is_new, _) = client.put_group(&group, &new).await.map_err(|error| how.hub.failure(&error))?;
    let text = if is_new { format!("{group} is created") } else { format!("{group} was there, and is set up so now") };
    tell(&how, &json!({"group": group, "created": is_new}), &text)
}

async fn list(how: &How) -> Result<(), Failure> {
    let client = how.hub.reach().await?;
    let groups = client.groups().await.map_err(|error| how.hub.failure(&error))?;
    let mut out = Output::new();
    if how.json {
        for group in &groups {
            out.line(json(group)?.as_bytes())?;
        }
        return out.flush();
    }
    if groups.is_empty() {
        note("there is no group");
        return Ok(());
    }
    let heads = ["GROUP", "FILTER", "LAG", "IN FLIGHT", "WAITING", "REDELIVERED", "DEAD", "MEMBERS"];
    let rows = groups.into_iter().map(|group| {
        vec![
            lag(&group),
            group.in_flight.to_string(),
            group.waiting.to_string(),
            group.counts.redelivered.to_string(),
            group.counts.dead_lettered.to_string(),
            group.members.len().to_string(),
        ]
        .into_iter()
        .fold(vec![group.group, group.filter], |mut row, cell| {
            row.push(cell);
            row
        })
    });
    out.line(table(&heads, rows).as_bytes())?;
    out.flush()
}

fn lag(group: &Description) -> String {
    format!("{}{}", if group.lag_is_at_least { "≥" } else { "" }, group.lag)
}

fn describe(group: &Description) -> String {
    let counts = &group.counts;
    let mut rows = vec![
        ("group", group.group.clone()),
        ("filter", group.filter.clone()),
        ("durability", group.durability.clone()),
        ("ack_wait", group.ack_wait.to_string()),
        ("in flight", format!("{} of at most {}", group.in_flight, group.max_in_flight)),
        ("per member", format!("at most {}", group.max_in_flight_per_member)),
        ("waiting", group.waiting.to_string()),
        ("lag", lag(group)),
        ("cursor", group.cursor.to_string()),
        ("delivered", format!("{}, of which {} again", counts.delivered, counts.redelivered)),
        ("acknowledged", counts.acknowledged.to_string()),
        ("dead letters", counts.dead_lettered.to_string()),
        ("lost", counts.lost.to_string()),
    ];
    let max_deliver = group.max_deliver.map_or_else(|| "for ever".to_owned(), |max| format!("{max} times"));
    let dead_letter = group.dead_letter.as_ref().map_or_else(String::new, |topic| format!(", then to {topic}"));
    rows.insert(4, ("delivers", format!("{max_deliver}{dead_letter}")));
    if !group.backoff.is_empty() {
        let delays: Vec<String> = group.backoff.iter().map(Span::to_string).collect();
        rows.insert(5, ("backoff", delays.join(", ")));
    }
    if let Some(key) = &group.key {
        rows.insert(5, ("key", key.clone()));
    }
    if let Some(problem) = &group.problem {
        rows.push(("problem", problem.clone()));
    }
    let rows = rows.iter().map(|(name, value)| format!("{name:<14}{value}"));
    rows.chain(members(&group.members)).collect::<Vec<_>>().join("\n")
}

fn members(members: &[Member]) -> Option<String> {
    let rows = members.iter().map(|member| {
        let name = if member.name.is_empty() { "-" } else { &member.name };
        let how = if member.connected { "connected" } else { "claims" };
        vec![name.to_owned(), member.in_flight.to_string(), member.limit.to_string(), how.to_owned()]
    });
    (!members.is_empty()).then(|| format!("\n{}", table(&["MEMBER", "HOLDS", "AT MOST", "HOW"], rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_wire::groups::Counts;
    use quintet_wire::token::Token;
    use std::time::Duration;

    #[test]
    fn a_group_is_shown_with_its_members() {
        let member = |name: &str, connected| Member { name: name.to_owned(), in_flight: 1, limit: 10, connected };
        let group = Description {
            group: "g".into(),
            filter: "work/#".into(),
            durability: "disk".into(),
            ack_wait: Span(Duration::from_secs(30)),
            max_deliver: Some(5),
            dead_letter: Some("dead".into()),
            backoff: vec![Span(Duration::from_secs(1)), Span(Duration::from_secs(60))],
            max_in_flight: 10_000,
            max_in_flight_per_member: 1_000,
            key: None,
            cursor: Token { log: 1, offset: 7 },
            lag: 3,
            lag_is_at_least: true,
            in_flight: 2,
            waiting: 0,
            counts: Counts::default(),
            members: vec![member("anna", true), member("", false)],
            problem: None,
        };
        let text = describe(&group);
        for part in
            ["5 times, then to dead", "backoff       1s, 1m", "≥3", "anna    1", "-       1      10       claims"]
        {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
