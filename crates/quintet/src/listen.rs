//! The addresses to listen on: what they mean, whether strangers reach them, and the sockets.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpSocket};

use crate::config::settings::Settings;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;

/// Turns the settings into addresses. `7070` alone is a port of the loopback address.
pub(crate) fn addresses(listen: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for text in listen {
        let target = if text.parse::<u16>().is_ok() { format!("127.0.0.1:{text}") } else { text.clone() };
        let found = target
            .to_socket_addrs()
            .with_context(|| format!("`{text}` is no address to listen on; write e.g. 127.0.0.1:7070 or [::1]:7070"))?;
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    if addresses.is_empty() {
        bail!("there is no address to listen on; give one with --listen 127.0.0.1:7070");
    }
    Ok(addresses)
}

/// Refuses to serve strangers without tokens, unless told to.
pub(crate) fn check_exposure(settings: &Settings, addresses: &[SocketAddr]) -> Result<(), String> {
    let Some(exposed) = addresses.iter().find(|address| !is_loopback(address)) else { return Ok(()) };
    if settings.insecure || !settings.tokens.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{exposed} can be reached by other machines, and there are no tokens: whoever reaches it could read and delete \
         everything\n\
         do one of these:\n  \
         - draw a token with `quintet token`, put its stanza into a file, and add --config FILE\n  \
         - listen on this machine only: --listen 127.0.0.1:{}\n  \
         - if the network itself keeps strangers out, add --insecure",
        exposed.port()
    ))
}

/// Opens the sockets. An address that the system does not have is passed over if it came with others of the same name.
pub(crate) fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        match bind_one(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                bail!(
                    "{address} is taken: a hub or another program listens there; end it, or choose another with --listen"
                )
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && addresses.len() > 1 => {
                tracing::warn!(%address, "this machine has no such address; listening on the others");
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
        }
    }
    if listeners.is_empty() {
        bail!("this machine has none of the addresses to listen on");
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a hub that is started again does not wait for the old one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<SocketAddr> {
        addresses(&[text.to_owned()]).unwrap()
    }

    #[test]
    fn what_addresses_mean() {
        assert_eq!(parse("8080"), parse("127.0.0.1:8080"));
        assert_eq!(parse("[::1]:1")[0].port(), 1);
        assert!(addresses(&["127.0.0.1".into()]).is_err() && addresses(&["nonsense".into()]).is_err());
        assert!(addresses(&[]).is_err());
        assert_eq!(addresses(&["7070".into(), "127.0.0.1:7070".into()]).unwrap().len(), 1);
    }

    #[test]
    fn strangers_need_tokens() {
        let check =
            |text: &str, insecure: bool| check_exposure(&Settings { insecure, ..Settings::default() }, &parse(text));
        assert!(check("127.0.0.2:1", false).is_ok() && check("[::1]:1", false).is_ok());
        assert!(check("[::ffff:127.0.0.1]:1", false).is_ok());
        assert!(check("0.0.0.0:1", true).is_ok());
        for text in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1"] {
            assert!(check(text, false).unwrap_err().contains("--insecure"), "{text}");
        }
    }
}
