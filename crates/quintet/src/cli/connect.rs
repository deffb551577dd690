//! Which hub a command talks to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quintet_client::client::Client;
use quintet_client::error::{Error, ErrorKind};
use quintet_wire::duration;
use quintet_wire::problem::kind::Kind;
use tokio::time::{Instant, sleep};

use crate::cli::exit::Failure;

/// How long to wait between two attempts at the first connection.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// The flags of every command that talks to a hub.
#[derive(Clone, Args)]
#[command(next_help_heading = "Hub")]
pub(crate) struct HubArgs {
    /// Where the hub is
    #[arg(long, value_name = "URL", env = "QUINTET_URL", default_value = "http://127.0.0.1:7070")]
    pub(crate) url: String,
    /// The token to show; better in QUINTET_TOKEN, as others can see a command line
    #[arg(long, value_name = "TOKEN", env = "QUINTET_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The authority of a hub's own making, in PEM, that its https certificate has to be from
    #[arg(long, value_name = "FILE", env = "QUINTET_CA_CERT")]
    ca_cert: Option<PathBuf>,
    /// How long to try for a first connection; once there was one, it is tried for ever
    #[arg(long, value_name = "DURATION", env = "QUINTET_CONNECT_TIMEOUT", default_value = "0s", value_parser = duration::parse)]
    connect_timeout: Duration,
}

impl fmt::Debug for HubArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubArgs").field("url", &self.url).finish_non_exhaustive()
    }
}

impl HubArgs {
    /// A client of the hub, which need not be there.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = match self.ca_cert.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => {
                let pem = std::fs::read(path)
                    .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
                Client::with_authorities(&self.url, &pem)
            }
            None => Client::new(&self.url),
        };
        let client = client.map_err(|error| self.failure(&error))?;
        match self.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            Some(token) => client.with_token(token).map_err(|error| self.failure(&error)),
            None => Ok(client),
        }
    }

    /// A client of a hub that is there. Commands that reconnect for ever begin with this, so that a wrong URL is told
    /// at once.
    pub(crate) async fn reach(&self) -> Result<Client, Failure> {
        let client = self.client()?;
        let deadline = Instant::now() + self.connect_timeout;
        loop {
            match client.health().await {
                Ok(()) => return Ok(client),
                Err(error) if is_away(&error) && Instant::now() < deadline => sleep(ATTEMPT_PAUSE).await,
                // The hub is there; what it thinks of the caller, the command itself will learn.
                Err(error)
                    if error.problem().is_some_and(|problem| problem.kind != Kind::Unknown) && !is_away(&error) =>
                {
                    return Ok(client);
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
    }

    /// What came of talking to this hub.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        Failure::of(error, &self.url)
    }
}

fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Connect | ErrorKind::Transport | ErrorKind::Timeout)
        || error.is_problem(Kind::ShuttingDown)
}
