//! `quintet respond`: serves a service by running a command for each request.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use quintet_client::request_response::Reply;
use quintet_wire::payload::Body;

use crate::cli::child::{Job, Outcome, run_job};
use crate::cli::connect::HubArgs;
use crate::cli::exit::{Failure, note};
use crate::cli::input;
use crate::shutdown::Signals;

/// `quintet respond`
#[derive(Debug, Args)]
pub(crate) struct RespondArgs {
    /// The service
    service: String,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// How many requests are served at once
    #[arg(long, value_name = "N", default_value = "1")]
    concurrency: NonZeroU32,
    /// The replies' content type [default: text/plain, or application/octet-stream for what is not UTF-8]
    #[arg(long = "type", value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    hub: HubArgs,
}

/// Serves until Ctrl-C or SIGTERM, then finishes what is begun; a second signal ends that too.
pub(crate) async fn run(args: RespondArgs) -> Result<(), Failure> {
    let RespondArgs { service, command, concurrency, content_type, hub } = args;
    check_command(&command)?;
    let mut signals =
        Signals::take().map_err(|error| Failure::failed(format!("signals cannot be taken over: {error}")))?;
    let client = tokio::select! {
        client = hub.reach() => client?,
        asked = signals.next() => asked.exit_now(),
    };
    note(&format!("serving {service} at {}; Ctrl-C ends it", client.url()));
    let program = command[0].to_string_lossy().into_owned();
    let command: Arc<[OsString]> = command.into();
    let handler = move |call: quintet_client::responder::Call| {
        let (command, content_type, program) = (Arc::clone(&command), content_type.clone(), program.clone());
        async move {
            let outcome = run_job(&Job { command: &command, request: call.request() }).await;
            reply(outcome, &program, content_type.as_deref())
        }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = client.respond(&service).concurrency(concurrency.get()).run_until(handler, async {
        // A sender that is gone is as good a reason to stop.
        stopped.await.unwrap_or_default();
    });
    let mut serving = std::pin::pin!(serving);
    let first = tokio::select! {
        served = serving.as_mut() => return served.map_err(|error| hub.failure(&error)),
        asked = signals.next() => asked,
    };
    note("finishing what is begun; once more ends it at once");
    drop(stop);
    tokio::select! {
        served = serving => served.map_err(|error| hub.failure(&error)),
        // Returning drops the handlers, and with them the commands that run.
        _ = signals.next() => Err(Failure::signalled(first)),
    }
}

fn reply(outcome: Result<Outcome, std::io::Error>, program: &str, content_type: Option<&str>) -> Reply {
    match outcome {
        Ok(Outcome::Done(bytes)) => Reply::ok(input::body(bytes.into(), content_type)),
        Ok(Outcome::Failed { how, stderr }) => {
            note(&format!("{program} {how}; the caller got 500"));
            let text = if stderr.is_empty() { format!("{program} {how}") } else { stderr };
            Reply::status(500, Body::text(text))
        }
        Err(error) => {
            note(&format!("{program} cannot be run: {error}; the caller got 500"));
            Reply::status(500, Body::text(format!("{program} cannot be run")))
        }
    }
}

/// Finds out before the first request whether there is such a command at all.
fn check_command(command: &[OsString]) -> Result<(), Failure> {
    let Some(program) = command.first() else {
        return Err(Failure::usage("say what to run: quintet respond SERVICE -- COMMAND"));
    };
    let found = if program.to_string_lossy().contains('/') {
        Path::new(program).is_file()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    };
    if found {
        return Ok(());
    }
    Err(Failure::usage(format!("there is no command {}", program.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_there_is_told_at_once() {
        assert!(check_command(&["sh".into()]).is_ok() && check_command(&["/bin/sh".into()]).is_ok());
        assert!(check_command(&["no-such-command".into()]).is_err() && check_command(&["/no/such".into()]).is_err());
    }

    #[test]
    fn what_a_command_said_last_is_the_reply() {
        let failed = Outcome::Failed { how: "ended with code 3".into(), stderr: "no such file\n".into() };
        let failed = reply(Ok(failed), "x", None);
        assert_eq!((failed.status, &failed.body.unwrap().bytes[..]), (500, &b"no such file\n"[..]));
        let done = reply(Ok(Outcome::Done(b"{}".to_vec())), "x", Some("application/json"));
        assert_eq!((done.status, done.body.unwrap().content_type.as_str()), (200, "application/json"));
    }
}
