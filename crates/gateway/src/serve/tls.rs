//! TLS in front of the accept loop: the certificate, which can be replaced while the hub serves, and the handshake.
//! Nothing above the socket knows of it, but for a connection's [`Guest`](crate::serve::Guest), which tells that it is
//! secure. Clients have no certificates: who they are, their tokens say.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// A connection behind TLS. Boxed, as it is moved more often than it is used.
pub(crate) type TlsSocket = Box<TlsStream<TcpStream>>;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// What a connection may hold of either what is to be encrypted or what is; as much as one TLS record.
const BUFFER_BYTES: usize = 16 * 1024;
/// The first byte of every TLS connection: a record of the handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// A certificate with its key, for [`ServeConfig::tls`](crate::serve::ServeConfig::tls). Clones share it.
#[derive(Clone)]
pub struct Tls {
    /// What new connections begin with.
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain is no PEM.
    #[error("the certificate is not PEM: {0}")]
    Chain(pem::Error),
    /// The chain has no certificate in it.
    #[error("there is no certificate in it (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// The key is no PEM, or none that is supported.
    #[error("the key is not a private key in PEM without a passphrase: {0}")]
    Key(pem::Error),
    /// Both can be read, but not used: they do not belong together, say.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl Tls {
    /// Reads a certificate with those that lead to its authority, and its key, both in PEM.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { config: Arc::new(RwLock::new(config(chain, key)?)) })
    }

    /// Serves new connections with these from now on. Those that are open keep what they began with.
    ///
    /// # Errors
    /// As [`Tls::from_pem`]; then the former ones go on to be used.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let config = config(chain, key)?;
        *self.config.write() = config;
        Ok(())
    }

    /// The handshake. Dropping the future ends the connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsSocket> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config.read()));
        let stream = acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(BUFFER_BYTES))).await?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Whether the client chose HTTP/2 (ALPN). One that chose nothing speaks HTTP/1.1.
pub(crate) fn is_http2(stream: &TlsSocket) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// Whether a client begins with TLS, without taking what it sends.
pub(crate) async fn is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0];
    let n = stream.peek(&mut start).await?;
    Ok(n == 0 || start[0] == HANDSHAKE_RECORD)
}

fn config(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    // What a client needs to come back cheaply, it keeps itself: a hub's readers all come back at once.
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Unusable)?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_used_is_told_apart() {
        let (chain, key) = pair();
        let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let check = |chain: &str, key: &str| tls.replace(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(check("", &key), TlsError::NoCertificate));
        assert!(matches!(check(&key, &key), TlsError::NoCertificate));
        assert!(matches!(check(&chain[..chain.len() / 2], &key), TlsError::Chain(_)));
        assert!(matches!(check(&chain, &chain), TlsError::Key(_)));
        assert!(matches!(check(&chain, &pair().1), TlsError::Unusable(_)));
        tls.replace(chain.as_bytes(), key.as_bytes()).unwrap();
    }
}
