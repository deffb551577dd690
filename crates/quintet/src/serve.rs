//! `quintet serve`: puts engines, hub and doors together, and ends them in order.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use quintet_core::engine::{Durability, Engine};
use quintet_core::hub::{Hub, HubConfig};
use quintet_gateway::http::router;
use quintet_gateway::serve::{ServeConfig, Shortcut, serve};
use quintet_gateway::state::Gateway;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cli::exit::{Exit, Failure};
use crate::config::layers::{Loaded, Sources, load};
use crate::config::settings::Settings;
use crate::engines;
use crate::entropy::Entropy;
use crate::files;
use crate::greeting::greeting;
use crate::listen::{addresses, bind, check_exposure};
use crate::logging::{self, LogFlags, Who};
use crate::shutdown::{Signals, outlive_hangups};
use crate::tls::Certificate;

/// `quintet serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// An address to listen on, or only a port of 127.0.0.1; can be given several times [default: 127.0.0.1:7070]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<String>,
    /// A configuration file (TOML; docs/operating/configuration.md lists the settings)
    #[arg(long, value_name = "FILE", env = "QUINTET_CONFIG")]
    config: Option<PathBuf>,
    /// The folder of the disk log, made if it is not there [default: ./quintet-data]
    #[arg(long, value_name = "DIR", conflicts_with = "memory")]
    data_dir: Option<String>,
    /// Keep everything in memory; nothing outlives the process
    #[arg(long)]
    memory: bool,
    /// Listen on addresses that others can reach although there are no tokens
    #[arg(long)]
    insecure: bool,
    /// The certificate with its chain, in PEM: the hub then speaks HTTPS only; SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// An origin of web pages that may use the hub, e.g. `https://app.example`, or `*`; can be given several times
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// A name under which the hub is reached; can be given several times
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// How long an orderly end may take [default: 10s]
    #[arg(long, value_name = "DURATION")]
    shutdown_timeout: Option<String>,
    /// Any other setting, e.g. --set limits.message_bytes=1MiB; can be given several times
    #[arg(long, value_name = "SETTING=VALUE")]
    set: Vec<String>,
}

/// Runs a hub until it is told to stop.
pub(crate) fn run(args: ServeArgs, logging: &LogFlags) -> Result<(), Failure> {
    let Loaded { settings, warnings } = settings(args, logging).map_err(Failure::usage)?;
    logging::begin(&settings.log, settings.log_format, Who::Hub).map_err(Failure::usage)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let addresses = addresses(&settings.listen).map_err(|error| Failure::usage(format!("{error:#}")))?;
    check_exposure(&settings, &addresses).map_err(Failure::usage)?;
    let certificate = Certificate::load(&settings).map_err(Failure::usage)?;
    files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads to run on: {error}")))?;
    let outcome = hub(&settings, &addresses, certificate, &runtime);
    // What is left is what would not end in time.
    runtime.shutdown_background();
    outcome.map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))
}

fn settings(args: ServeArgs, logging: &LogFlags) -> Result<Loaded, String> {
    let mut flags = Vec::new();
    let mut flag = |flag: &str, name: &str, value: String| flags.push((flag.to_owned(), name.to_owned(), value));
    for pair in &args.set {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("--set {pair}: write --set SETTING=VALUE, e.g. limits.topics=1000"))?;
        flag(&format!("--set {name}"), name, value.to_owned());
    }
    let lists = [
        ("--listen", "listen", args.listen),
        ("--allow-origin", "allowed_origins", args.allow_origin),
        ("--allow-host", "allowed_hosts", args.allow_host),
    ];
    for (name, key, values) in lists {
        if !values.is_empty() {
            flag(name, key, values.join(","));
        }
    }
    let texts = [
        ("--data-dir", "data_dir", args.data_dir),
        ("--memory", "memory", args.memory.then(|| "true".to_owned())),
        ("--insecure", "insecure", args.insecure.then(|| "true".to_owned())),
        ("--tls-cert", "tls_cert", args.tls_cert),
        ("--tls-key", "tls_key", args.tls_key),
        ("--shutdown-timeout", "shutdown_timeout", args.shutdown_timeout),
        ("--log", "log", logging.filter.clone()),
        ("--log-format", "log_format", logging.format.map(|format| format.name().to_owned())),
    ];
    for (name, key, value) in texts {
        if let Some(value) = value {
            flag(name, key, value);
        }
    }
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load(&Sources { file: args.config.as_deref(), environment: environment.collect(), flags })
}

fn hub(
    settings: &Settings,
    addresses: &[SocketAddr],
    certificate: Option<Certificate>,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<()> {
    let gateway_config = settings.gateway().map_err(|error| anyhow!(error))?;
    // Sockets first: a hub whose address is taken should not have touched the data.
    let listeners = {
        let _context = runtime.enter();
        bind(addresses)?
    };
    let engines = engines::open(settings)?;
    runtime.block_on(async {
        let signals = Signals::take().context("signals cannot be taken over")?;
        let hub = start(engines.clone(), settings)?;
        let gateway = Gateway::new(hub, gateway_config);
        let disk = engines.iter().any(|engine| engine.durability() == Durability::Disk);
        say_hello(settings, disk, &listeners)?;
        let tls = certificate.as_ref().map(|certificate| certificate.tls().clone());
        match certificate {
            Some(certificate) => drop(tokio::spawn(certificate.keep_fresh())),
            None => drop(tokio::spawn(outlive_hangups())),
        }
        // The router is served as it is, so that nothing is left out.
        let shortcut = Shortcut::Handlers(gateway.clone());
        let allowed = files::connections(settings.http.connections, listeners.len());
        let connections =
            ServeConfig { tls, shortcut, connections: allowed, ..settings.connections(settings.shutdown_timeout) };
        run_until_told(settings, &gateway, listeners, connections, signals).await
    })
}

fn start(engines: Vec<Arc<dyn Engine>>, settings: &Settings) -> anyhow::Result<Arc<Hub>> {
    let first = engines.first().context("there is no log")?;
    let config = HubConfig {
        limits: settings.limits.clone(),
        randomness: Arc::new(Entropy),
        ..HubConfig::new(Arc::clone(first))
    };
    Ok(Hub::start(HubConfig { engines, ..config })?)
}

fn say_hello(settings: &Settings, disk: bool, listeners: &[TcpListener]) -> anyhow::Result<()> {
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let mut out = std::io::stdout().lock();
    // Nobody has to read it.
    if let Err(error) = out.write_all(greeting(settings, disk, &addresses).as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
    for address in addresses {
        tracing::info!(%address, "listening");
    }
    Ok(())
}

/// Serves until a signal, then ends in this order: no new connections, long polls and streams and WebSockets are told
/// to come again, requests under way are finished, the engines are closed.
async fn run_until_told(
    settings: &Settings,
    gateway: &Gateway,
    listeners: Vec<TcpListener>,
    connections: ServeConfig,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let router = router(gateway.clone());
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(serve(listener, router.clone(), gateway.shutdown().clone(), connections.clone()));
    }
    let asked = signals.next().await;
    tracing::info!(signal = asked.name(), "stopping; the same signal again ends it at once");
    let deadline = Instant::now() + settings.shutdown_timeout;
    gateway.hub().hold_groups();
    gateway.shutdown().begin();
    tokio::select! {
        ended = end(gateway, &mut doors, deadline, settings.grace()) => ended,
        again = signals.next() => {
            tracing::warn!(signal = again.name(), "stopped at once; what was not acknowledged may be lost");
            again.exit_now()
        }
    }
}

async fn end(
    gateway: &Gateway,
    doors: &mut JoinSet<std::io::Result<()>>,
    deadline: Instant,
    grace: Duration,
) -> anyhow::Result<()> {
    let drained = async { while doors.join_next().await.is_some() {} };
    // Half of the time is for requests to end by themselves. What waits then (for a reply, say) is ended by the hub.
    if timeout(grace, drained).await.is_err() {
        tracing::info!("requests are still under way; they are ended");
    }
    match timeout_at(deadline, gateway.hub().shutdown()).await {
        Ok(closed) => closed.context("the logs could not be closed in order; what was acknowledged is safe")?,
        Err(_) => {
            return Err(anyhow!("the logs were not closed in time (shutdown_timeout); what was acknowledged is safe"));
        }
    }
    if timeout_at(deadline, async { while doors.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("connections were still open when the time was up; they are cut off");
    }
    tracing::info!("stopped");
    Ok(())
}
