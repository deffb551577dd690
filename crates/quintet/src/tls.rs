//! The hub's certificate: read from its files at the start, and again at every SIGHUP.

use std::fs;
use std::path::{Path, PathBuf};

use quintet_gateway::serve::Tls;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::settings::Settings;

/// A certificate in use, and where it comes from.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    tls: Tls,
}

impl Certificate {
    /// The one of the settings, if they name one.
    pub(crate) fn load(settings: &Settings) -> Result<Option<Self>, String> {
        let (chain, key) = match (&settings.tls_cert, &settings.tls_key) {
            (None, None) => return Ok(None),
            (Some(chain), Some(key)) => (chain.clone(), key.clone()),
            (Some(_), None) => return Err("--tls-cert needs --tls-key: the file with the certificate's key".to_owned()),
            (None, Some(_)) => return Err("--tls-key needs --tls-cert: the file with the certificate".to_owned()),
        };
        let tls = Tls::from_pem(&read(&chain)?, &read(&key)?).map_err(|error| unusable(&chain, &key, &error))?;
        Ok(Some(Self { chain, key, tls }))
    }

    /// For the accept loop.
    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Reads the files again whenever the process is told to. What cannot be used changes nothing.
    ///
    /// Dropping the future ends that.
    pub(crate) async fn keep_fresh(self) {
        let mut told = match signal(SignalKind::hangup()) {
            Ok(told) => told,
            Err(error) => {
                return tracing::warn!(%error, "SIGHUP cannot be taken over; a new certificate needs a restart");
            }
        };
        while told.recv().await.is_some() {
            match self.read_again() {
                Ok(()) => tracing::info!(file = %self.chain.display(), "the certificate was read again"),
                Err(error) => tracing::error!("the former certificate goes on to be used: {error}"),
            }
        }
    }

    fn read_again(&self) -> Result<(), String> {
        let (chain, key) = (read(&self.chain)?, read(&self.key)?);
        self.tls.replace(&chain, &key).map_err(|error| unusable(&self.chain, &self.key, &error))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn unusable(chain: &Path, key: &Path, error: &quintet_gateway::serve::TlsError) -> String {
    format!("{} with {}: {error}", chain.display(), key.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_needed() {
        let load = |cert: Option<&str>, key: Option<&str>| {
            let (tls_cert, tls_key) = (cert.map(PathBuf::from), key.map(PathBuf::from));
            Certificate::load(&Settings { tls_cert, tls_key, ..Settings::default() })
        };
        assert!(load(None, None).unwrap().is_none());
        assert!(load(Some("/absent"), None).unwrap_err().contains("--tls-key"));
        assert!(load(None, Some("/absent")).unwrap_err().contains("--tls-cert"));
        assert!(load(Some("/absent"), Some("/absent")).unwrap_err().contains("/absent cannot be read"));
        assert!(load(Some("/dev/null"), Some("/dev/null")).unwrap_err().contains("no certificate"));
    }
}
