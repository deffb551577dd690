//! What can be set, with its defaults; how it is set is in [`crate::config::keys`].

use std::path::PathBuf;
use std::time::Duration;

use quintet_core::limits::Limits;
use quintet_gateway::config::GatewayConfig;
use quintet_gateway::origin::OriginRules;
use quintet_gateway::serve::ServeConfig;
use quintet_store::StoreConfig;

use crate::config::tokens::{TokenEntry, tokens};
use crate::logging::LogFormat;

/// Every setting of `quintet serve`.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Addresses as `host:port`.
    pub(crate) listen: Vec<String>,
    /// Where the disk log is.
    pub(crate) data_dir: PathBuf,
    /// Whether there is no disk log.
    pub(crate) memory: bool,
    /// Whether everybody who reaches it may use a hub without tokens.
    pub(crate) insecure: bool,
    /// The file with the certificate, if the hub has one.
    pub(crate) tls_cert: Option<PathBuf>,
    /// The file with its key.
    pub(crate) tls_key: Option<PathBuf>,
    /// How long an orderly end may take.
    pub(crate) shutdown_timeout: Duration,
    /// What is logged.
    pub(crate) log: String,
    /// How it is logged.
    pub(crate) log_format: LogFormat,
    /// Origins of web pages that may use the hub.
    pub(crate) allowed_origins: Vec<String>,
    /// Names under which the hub is reached.
    pub(crate) allowed_hosts: Vec<String>,
    /// Who may come in.
    pub(crate) tokens: Vec<TokenEntry>,
    /// The hub's bounds.
    pub(crate) limits: Limits,
    /// The doors; its tokens, origins and time to say goodbye are put in by [`Settings::gateway`].
    pub(crate) doors: GatewayConfig,
    /// The accept loop; its time to drain is put in by [`Settings::connections`], the certificate by `crate::serve`.
    pub(crate) http: ServeConfig,
    /// The disk log; its folder and limits are put in by [`Settings::store`].
    pub(crate) store: StoreConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:7070".to_owned()],
            data_dir: PathBuf::from("./quintet-data"),
            memory: false,
            insecure: false,
            tls_cert: None,
            tls_key: None,
            shutdown_timeout: Duration::from_secs(10),
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            tokens: Vec::new(),
            limits: Limits::default(),
            doors: GatewayConfig::default(),
            http: ServeConfig::default(),
            store: StoreConfig::new(""),
        }
    }
}

impl Settings {
    /// The gateway's part.
    pub(crate) fn gateway(&self) -> Result<GatewayConfig, String> {
        let origins = OriginRules::new(&self.allowed_origins, &self.allowed_hosts);
        let mut config = GatewayConfig { tokens: tokens(&self.tokens)?, origins, ..self.doors.clone() };
        config.websocket.goodbye = self.grace();
        Ok(config)
    }

    /// How long what is under way may take to end by itself when the hub is stopping.
    pub(crate) fn grace(&self) -> Duration {
        self.shutdown_timeout / 2
    }

    /// The accept loop's part, with this long to finish what is under way.
    pub(crate) fn connections(&self, drain: Duration) -> ServeConfig {
        ServeConfig { drain, ..self.http.clone() }
    }

    /// The disk log's part.
    pub(crate) fn store(&self) -> StoreConfig {
        StoreConfig { dir: self.data_dir.clone(), limits: self.limits.clone(), ..self.store.clone() }
    }
}
