//! TLS towards the hub: whose certificates are trusted, for requests and sessions alike. Checking them is rustls's.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::error::{Error, ErrorKind};

/// Which authorities may vouch for a hub.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Roots<'a> {
    /// None: for a hub without TLS, which has no certificate.
    None,
    /// Those that the system trusts.
    System,
    /// Those in this PEM, and no others.
    Pem(&'a [u8]),
}

/// What connections begin with.
pub(crate) fn config(roots: Roots<'_>) -> Result<ClientConfig, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::None => {}
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let detail = "this system has no certificates of authorities; give the hub's own";
                return Err(match found.errors.into_iter().next() {
                    Some(error) => Error::caused(ErrorKind::Invalid, detail, error),
                    None => Error::new(ErrorKind::Invalid, detail),
                });
            }
        }
        Roots::Pem(pem) => {
            let unusable = "the authority's certificate is not PEM";
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| Error::caused(ErrorKind::Invalid, unusable, error))?;
                store.add(certificate).map_err(|error| Error::caused(ErrorKind::Invalid, unusable, error))?;
            }
            if store.is_empty() {
                let detail = "there is no authority's certificate in it (-----BEGIN CERTIFICATE-----)";
                return Err(Error::new(ErrorKind::Invalid, detail));
            }
        }
    }
    // Said here, as an application may have another library for its own.
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::caused(ErrorKind::Invalid, "TLS cannot be set up", error))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether a connection failed because the hub's certificate is not to be trusted. Trying again does not change that.
pub(crate) fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        // An I/O error passes over what it holds when it is asked for its source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_read_from_pem() {
        assert_eq!(config(Roots::Pem(b"nothing")).unwrap_err().kind(), ErrorKind::Invalid);
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(config(Roots::Pem(broken)).unwrap_err().kind(), ErrorKind::Invalid);
        config(Roots::None).unwrap();
    }

    #[test]
    fn what_is_not_trusted_is_found_within() {
        let invalid = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, invalid));
        assert!(is_untrusted(&wrapped));
        assert!(!is_untrusted(&io::Error::other(rustls::Error::DecryptError)));
    }
}
