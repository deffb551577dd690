//! What can be typed: the commands with their help. What they do is in their files.

use clap::{Parser, Subcommand};

use crate::cli::consume::ConsumeArgs;
use crate::cli::groups::{GroupsArgs, RedriveArgs};
use crate::cli::presence::PresenceArgs;
use crate::cli::publish::PubArgs;
use crate::cli::request::RequestArgs;
use crate::cli::respond::RespondArgs;
use crate::cli::store::StoreArgs;
use crate::cli::subscribe::SubArgs;
use crate::cli::token::TokenArgs;
use crate::cli::topics::TopicsArgs;
use crate::logging::LogFlags;
use crate::serve::ServeArgs;

/// One topic, five ways to talk: request-response, publish/subscribe, short polling, long polling and push.
#[derive(Debug, Parser)]
#[command(name = "quintet", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_ALL)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) logging: LogFlags,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a hub
    #[command(after_help = AFTER_SERVE)]
    Serve(ServeArgs),
    /// Publish messages: an argument, a file, or lines of standard input
    #[command(after_help = AFTER_PUB)]
    Pub(PubArgs),
    /// Follow a topic or a filter, and print its messages
    #[command(after_help = AFTER_SUB)]
    Sub(SubArgs),
    /// Send a request to a service, and print its reply
    #[command(after_help = AFTER_REQUEST)]
    Request(RequestArgs),
    /// Serve a service: run a command for each request
    #[command(after_help = AFTER_RESPOND)]
    Respond(RespondArgs),
    /// Work for a consumer group: print its messages, or run a command for each
    #[command(after_help = AFTER_CONSUME)]
    Consume(ConsumeArgs),
    /// List, show, create and delete consumer groups
    #[command(after_help = AFTER_GROUPS)]
    Groups(GroupsArgs),
    /// Hand the dead letters of a consumer group out again
    Redrive(RedriveArgs),
    /// List, show, create, close and delete topics
    #[command(after_help = AFTER_TOPICS)]
    Topics(TopicsArgs),
    /// Show who is on a topic
    #[command(after_help = AFTER_PRESENCE)]
    Presence(PresenceArgs),
    /// Draw a token, and print what the hub's configuration needs of it
    #[command(after_help = AFTER_TOKEN)]
    Token(TokenArgs),
    /// Check or repair the folder of a disk log
    Store(StoreArgs),
}

const AFTER_ALL: &str = "\
Try it, in three terminals:
  quintet serve
  quintet sub chat
  quintet pub chat 'hello'

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no hub reached, 4 refused by the hub, 5 no reply to a
request, 130 ended by Ctrl-C.";

const AFTER_SERVE: &str = "\
Examples:
  quintet serve                                  127.0.0.1:7070, topics in ./quintet-data
  quintet serve --memory --listen 8080           nothing is kept
  quintet serve --config hub.toml --listen 0.0.0.0:7070
  quintet serve --tls-cert hub.pem --tls-key hub.key

Every setting can stand in the file, in the environment as QUINTET_… (QUINTET_LIMITS_MESSAGE_BYTES for
limits.message_bytes), or behind --set; flags go before the environment, that goes before the file.
SIGTERM and Ctrl-C end it in order, a second one at once.";

const AFTER_PUB: &str = "\
Examples:
  quintet pub chat 'hello'
  seq 10000 | quintet pub numbers
  quintet pub orders --json '{\"id\": 7}' -H kind=new
  quintet pub pictures --file cat.jpg --type image/jpeg

It ends when everything is acknowledged. While the hub is away it waits, and nothing is lost or stored twice.";

const AFTER_SUB: &str = "\
Examples:
  quintet sub chat
  quintet sub chat --since start --count 10
  quintet sub 'sensors/+/temperature' --json
  quintet sub chat --via long-poll

The payload is printed, and a newline. It reconnects by itself and goes on where it was; it ends when the
topic is closed (0) or deleted (1).";

const AFTER_REQUEST: &str = "\
Examples:
  quintet request echo 'hello'
  quintet request orders --json '{\"id\": 7}' --path /new --key order-7
  quintet request report --wait 300s --progress
  topic=$(quintet request report --async) && quintet sub \"$topic\" --since start

A reply with a status of 400 or more is printed as well, and ends with exit code 1.";

const AFTER_RESPOND: &str = "\
Examples:
  quintet respond echo -- cat
  quintet respond upper --concurrency 8 -- tr a-z A-Z
  quintet respond hello -- sh -c 'echo \"$QUINTET_METHOD $QUINTET_PATH\"'

The body is the command's standard input, what it prints is the reply. The request is in QUINTET_SERVICE,
QUINTET_REQUEST, QUINTET_METHOD, QUINTET_PATH, QUINTET_QUERY, QUINTET_TYPE, QUINTET_ATTEMPT, QUINTET_WAIT and
QUINTET_HEADER_…. A command that fails makes a reply with status 500 that holds the end of its standard error. When
the caller gives up, the command is killed.";

const AFTER_CONSUME: &str = "\
Examples:
  quintet consume orders
  quintet consume orders --credit 8 -- ./handle-order
  quintet consume orders --count 1 --json

The payload is the command's standard input. The message is in QUINTET_GROUP, QUINTET_TOPIC, QUINTET_OFFSET,
QUINTET_TIME, QUINTET_TYPE and QUINTET_HEADER_…, and how it was handed out in QUINTET_DELIVERY, QUINTET_COUNT and
QUINTET_REASON. A command that ends with 0 acknowledges the message, any other end gives it back. While it runs, the
message is kept.";

const AFTER_GROUPS: &str = "\
Examples:
  quintet groups put orders 'orders/#' --ack-wait 1m --dead-letter orders-dead --backoff 1s,10s
  quintet groups put mails mails --key customer
  quintet groups
  quintet groups show orders";

const AFTER_TOPICS: &str = "\
Examples:
  quintet topics list 'chat/#'
  quintet topics create jobs --type application/json --retain-age 7d
  quintet topics list --json | jq -r .topic";

const AFTER_PRESENCE: &str = "\
Examples:
  quintet sub chat --presence-id anna --presence-data '{\"name\": \"Anna\"}'
  quintet presence chat
  quintet presence chat --follow --json

Readers are shown that have an id or a token. One whose connection is lost is shown for a grace period more.";

const AFTER_TOKEN: &str = "\
Example:
  quintet token anna --allow subscribe,publish --topics 'chat/#' >> hub.toml

The token goes to standard error and is not kept anywhere; the stanza goes to standard output.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_can_be_typed() {
        let check = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(check("quintet sub chat --since -1 --via long-poll --count 3"));
        assert!(check("quintet respond echo --concurrency 2 -- cat -n"));
        assert!(check("quintet --log debug serve --listen 7070 --listen [::1]:7070"));
        assert!(check("quintet topics list --json --url http://h"));
        assert!(check("quintet sub chat --presence-id anna --presence-data x"));
        assert!(check("quintet presence chat --follow --json"));
        // A default of one command must not pass for a flag of all of them.
        let listing = Cli::try_parse_from(["quintet", "topics", "list"]).unwrap();
        assert!(listing.logging.filter.is_none() && listing.logging.format.is_none());
        assert!(!check("quintet serve --memory --data-dir x"));
        assert!(!check("quintet sub chat --count 0"));
        assert!(!check("quintet sub chat --since yesterday"));
        assert!(!check("quintet respond echo"));
        assert!(!check("quintet sub chat --presence-data x"));
        assert!(check("quintet groups") && check("quintet groups --json") && check("quintet groups list --json"));
        assert!(check("quintet groups put g work/# --start -1 --backoff 1s,5s --ack-wait 30 --durability disk"));
        assert!(!check("quintet groups put g") && !check("quintet groups put g f --max-deliver 3"));
        assert!(check("quintet consume g --count 3 --json") && check("quintet consume g --credit 2 -- cat -n"));
        assert!(!check("quintet consume g --json -- cat") && !check("quintet consume g --credit 0"));
    }
}
