//! `quintet respond`: serves a service by running a command for each request.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::sync::Arc;

use clap::Args;
use quintet_client::request_response::Reply;
use quintet_wire::payload::Body;
use quintet_wire::session::hub::Request;

use crate::cli::child::{Job, Outcome, check_command, header_variables, run_job};
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
            let outcome = run_request(&command, call.request()).await;
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

async fn run_request(command: &[OsString], request: &Request) -> std::io::Result<Outcome> {
    let input = request.body.as_ref().map_or(&[][..], |body| &body.bytes);
    run_job(&Job { command, variables: environment(request), input, captured: true }).await
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

/// The request as variables.
fn environment(request: &Request) -> Vec<(String, String)> {
    let mut variables = vec![
        ("QUINTET_SERVICE".to_owned(), request.service.clone()),
        ("QUINTET_REQUEST".to_owned(), request.id.clone()),
        ("QUINTET_METHOD".to_owned(), request.method.clone()),
        ("QUINTET_PATH".to_owned(), request.path.clone()),
        ("QUINTET_QUERY".to_owned(), request.query.clone()),
        ("QUINTET_ATTEMPT".to_owned(), request.attempt.to_string()),
        ("QUINTET_WAIT".to_owned(), format!("{:.3}", request.wait)),
    ];
    if let Some(body) = &request.body {
        variables.push(("QUINTET_TYPE".to_owned(), body.content_type.clone()));
    }
    variables.extend(header_variables(&request.headers));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_sees_the_request() {
        let request = Request {
            id: "r".into(),
            responder: 1,
            service: "s".into(),
            method: "POST".into(),
            path: "/x".into(),
            query: "a=1".into(),
            headers: [("x-a.b".to_owned(), "c".to_owned())].into(),
            body: Some(Body::text("in ")),
            attempt: 2,
            wait: 1.5,
        };
        let script = "cat; echo $QUINTET_METHOD $QUINTET_PATH $QUINTET_QUERY $QUINTET_ATTEMPT $QUINTET_HEADER_X_A_B $QUINTET_TYPE";
        let command = ["sh", "-c", script].map(OsString::from);
        let done = run_request(&command, &request).await.unwrap();
        assert_eq!(done, Outcome::Done(b"in POST /x a=1 2 c text/plain\n".to_vec()));
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
