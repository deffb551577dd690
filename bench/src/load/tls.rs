//! TLS between a socket and its client: bytes in, bytes out, as everything in the load generator.
//!
//! What is negotiated is the same with every server, since no more is offered than one version, one cipher suite and one
//! key exchange, which are those that browsers offer first, and no session is resumed.

use std::fmt;
use std::io::{BufRead, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, version};

use crate::load::client::{Client, Tally};
use crate::peers::{Peer, Security};

/// What is negotiated, for people.
pub(crate) const NEGOTIATED: &str = "TLS 1.3 (TLS_AES_128_GCM_SHA256, X25519, ECDSA P-256)";

const NAME: &str = "localhost";

/// A certificate that is its own authority, for a server to use, and what a client trusts it by.
pub(crate) struct Identity {
    chain: String,
    key: String,
    pub(crate) client: Arc<ClientConfig>,
}

impl Identity {
    /// A new one, with a key on P-256.
    pub(crate) fn new() -> Result<Identity> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        };
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let key = made.signing_key.serialize_pem();
        Ok(Identity { chain: made.cert.pem(), key, client: Arc::new(client) })
    }

    /// One for these peers, if it is wanted; an error if one of them has no TLS here.
    pub(crate) fn wanted(is_wanted: bool, peers: &[Box<dyn Peer>]) -> Result<Option<Identity>> {
        if !is_wanted {
            return Ok(None);
        }
        for peer in peers {
            let is_able = peer.security() != Security::Missing;
            ensure!(is_able, "{} is not measured over TLS; quintet and nchan are", peer.name());
        }
        Ok(Some(Identity::new()?))
    }

    /// Writes the certificate and its key as PEM files in `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let (chain, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&chain, &self.chain)?;
        std::fs::write(&key, &self.key)?;
        Ok((chain, key))
    }
}

/// The TLS of one connection.
pub(crate) struct Session {
    tls: ClientConnection,
    /// What the client has said and is not sealed yet.
    pub(crate) said: Vec<u8>,
}

impl Session {
    pub(crate) fn new(config: &Arc<ClientConfig>) -> Result<Session> {
        let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME)?)?;
        tls.set_buffer_limit(None);
        Ok(Session { tls, said: Vec::new() })
    }

    /// Takes what has arrived, and gives the client what it holds.
    pub(crate) fn receive(&mut self, mut bytes: &[u8], client: &mut dyn Client, tally: &mut Tally) -> Result<()> {
        while !bytes.is_empty() {
            let was_handshaking = self.tls.is_handshaking();
            self.tls.read_tls(&mut bytes)?;
            self.tls.process_new_packets()?;
            if was_handshaking && !self.tls.is_handshaking() {
                tally.connected += 1;
            }
            let mut reader = self.tls.reader();
            loop {
                let plain = match reader.fill_buf() {
                    Ok([]) => bail!("the server closed it"),
                    Ok(plain) => plain,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                };
                client.receive(plain, &mut self.said, tally)?;
                let taken = plain.len();
                reader.consume(taken);
            }
        }
        Ok(())
    }

    /// Seals what has been said; it is kept until the handshake is done.
    pub(crate) fn seal(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if !self.said.is_empty() {
            self.tls.writer().write_all(&self.said)?;
            self.said.clear();
        }
        while self.tls.wants_write() {
            self.tls.write_tls(out)?;
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub(crate) fn close(&mut self) {
        self.tls.send_close_notify();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::rc::Rc;
    use std::sync::Arc;

    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{CipherSuite, ProtocolVersion, ServerConfig, ServerConnection};

    use crate::load::client::{Client, Tally};
    use crate::load::scripted::{Scripted, Step};
    use crate::load::tls::{Identity, Session};

    fn server(identity: &Identity) -> ServerConnection {
        let chain = CertificateDer::from_pem_slice(identity.chain.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![chain], key))
            .expect("a pair");
        ServerConnection::new(Arc::new(config)).expect("a server")
    }

    #[test]
    fn a_client_speaks_and_hears_through_a_session() {
        let identity = Identity::new().expect("an identity");
        let (mut server, mut session) = (server(&identity), Session::new(&identity.client).expect("a session"));
        let mut client = Scripted::follower(Rc::new([Step { say: b"hello".to_vec(), starts: b"hi", ends: b"\n" }]));
        let (mut out, mut heard, mut tally) = (Vec::new(), Vec::new(), Tally::default());
        client.open(&mut session.said, &mut tally);
        for _ in 0..4 {
            session.seal(&mut out).expect("sealed");
            let mut sent = out.as_slice();
            while !sent.is_empty() {
                server.read_tls(&mut sent).expect("bytes");
                server.process_new_packets().expect("records");
            }
            out.clear();
            let mut piece = [0; 16];
            if let Ok(read) = server.reader().read(&mut piece) {
                heard.extend_from_slice(&piece[..read]);
                server.writer().write_all(b"hi\na^b^").expect("an answer");
            }
            let mut answer = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answer).expect("records");
            }
            session.receive(&answer, &mut client, &mut tally).expect("an answer");
        }
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(
            server.negotiated_cipher_suite().map(|suite| suite.suite()),
            Some(CipherSuite::TLS13_AES_128_GCM_SHA256)
        );
        assert_eq!((heard.as_slice(), tally.connected, tally.ready, tally.delivered), (b"hello".as_slice(), 1, 1, 2));
    }
}
