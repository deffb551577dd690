//! `quintet request`: asks a service, and prints its reply.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quintet_client::client::Client;
use quintet_client::request_response::{Pending, Reply, Request, Step};
use quintet_wire::duration;
use tokio::time::timeout;

use crate::cli::connect::HubArgs;
use crate::cli::exit::{Exit, Failure, note};
use crate::cli::input;
use crate::cli::output::Output;
use crate::cli::runtime::end_when_interrupted;

/// `quintet request`
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The service
    service: String,
    /// What to send it
    body: Option<String>,
    /// A file to send; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    file: Option<PathBuf>,
    /// The method [default: POST with a body, GET without]
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// The path within the service
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// The query, encoded, e.g. a=1&b=2
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// A header for the responder; can be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = input::pair)]
    headers: Vec<(String, String)>,
    /// The body's content type [default: text/plain, or application/octet-stream for what is not UTF-8]
    #[arg(long = "type", value_name = "TYPE")]
    content_type: Option<String>,
    /// The body is JSON, and is checked to be
    #[arg(long)]
    json: bool,
    /// How long to wait for the reply, in whole seconds up to 300s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    wait: Duration,
    /// An idempotency key: with the same one again, the stored reply comes and nothing is run; with one, the command
    /// tries again by itself
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Do not wait: print the topic on which the reply will come
    #[arg(long = "async", conflicts_with = "progress")]
    respond_async: bool,
    /// Show on standard error how far the responder is, while waiting
    #[arg(long)]
    progress: bool,
    /// Print the reply's status and headers before its body
    #[arg(long, short = 'i')]
    include: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// Asks, and prints.
pub(crate) async fn run(args: RequestArgs) -> Result<(), Failure> {
    end_when_interrupted();
    let client = if args.key.is_some() { args.hub.client()? } else { args.hub.reach().await? };
    let request = request(&client, &args)?;
    if args.respond_async {
        let pending = request.send_async().await.map_err(|error| args.hub.failure(&error))?;
        let Some(topic) = pending.topic() else { return show(&finished(pending, &args).await?, &args) };
        let mut out = Output::new();
        out.line(topic.as_bytes())?;
        return out.flush();
    }
    let reply = if args.progress {
        let pending = request.send_async().await.map_err(|error| args.hub.failure(&error))?;
        let topic = pending.topic().unwrap_or_default().to_owned();
        timeout(args.wait, finished(pending, &args)).await.map_err(|_| {
            let detail =
                format!("no reply in time; it will still come on {topic}: quintet sub '{topic}' --since start");
            Failure::new(Exit::NoReply, detail)
        })??
    } else {
        request.send().await.map_err(|error| args.hub.failure(&error))?
    };
    show(&reply, &args)
}

fn request(client: &Client, args: &RequestArgs) -> Result<Request, Failure> {
    let bytes = match (&args.body, &args.file) {
        (Some(body), _) => Some(body.clone().into()),
        (None, Some(path)) => Some(input::file(path)?),
        (None, None) => None,
    };
    let name = args.method.as_deref().unwrap_or(if bytes.is_some() { "POST" } else { "GET" });
    let method = name.parse().map_err(|_| Failure::usage(format!("`{name}` is not a method")))?;
    let mut request = client.request(&args.service).method(method).path(&args.path).wait(args.wait);
    if let Some(bytes) = bytes {
        if args.json {
            input::check_json(&bytes, "the body")?;
        }
        let content_type = input::content_type(args.json, args.content_type.clone());
        request = request.body(input::body(bytes, content_type.as_deref()));
    }
    if let Some(query) = &args.query {
        request = request.query(query.trim_start_matches('?'));
    }
    if let Some(key) = &args.key {
        request = request.idempotency_key(key);
    }
    for (name, value) in &args.headers {
        request = request.header(name, value);
    }
    Ok(request)
}

async fn finished(mut pending: Pending, args: &RequestArgs) -> Result<Reply, Failure> {
    loop {
        match pending.next().await.map_err(|error| args.hub.failure(&error))? {
            Step::Progress(message) => note(message.text().unwrap_or("progress that is not text")),
            Step::Reply(reply) => return Ok(reply),
        }
    }
}

fn show(reply: &Reply, args: &RequestArgs) -> Result<(), Failure> {
    let mut out = Output::new();
    let reason = http::StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason());
    let status = format!("{} {}", reply.status, reason.unwrap_or_default());
    if args.include {
        out.line(status.trim_end().as_bytes())?;
        for (name, value) in &reply.headers {
            out.line(format!("{name}: {value}").as_bytes())?;
        }
        out.line(b"")?;
    }
    if let Some(body) = &reply.body {
        out.bytes(&body.bytes)?;
    }
    out.flush()?;
    if reply.status >= 400 {
        return Err(Failure::failed(format!("{} answered {}", args.service, status.trim_end())));
    }
    Ok(())
}
