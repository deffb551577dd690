//! The first lines of `quintet serve`: what it keeps, where it listens, and how to try it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::settings::Settings;

/// The lines for a hub on these addresses.
pub(crate) fn greeting(settings: &Settings, disk: bool, addresses: &[SocketAddr]) -> String {
    let mut text = format!("quintet {} ", env!("CARGO_PKG_VERSION"));
    // Writing into a string cannot fail.
    let mut line =
        |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").expect("a string takes every text");
    if disk {
        let dir = settings.data_dir.display();
        line(format_args!("keeps its topics in {dir}: what is acknowledged is on disk"));
    } else if settings.memory {
        line(format_args!(
            "keeps its topics in memory: nothing outlives this process (leave --memory out to keep them)"
        ));
    } else {
        line(format_args!("keeps its topics in memory: nothing outlives this process"));
    }
    let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
    for address in addresses {
        line(format_args!("listening on {scheme}://{address}"));
    }
    let Some(address) = addresses.first() else { return text };
    let url = format!("{scheme}://{}/topics/chat", reachable(*address));
    let token = if settings.tokens.is_empty() { "" } else { " -H \"Authorization: Bearer $QUINTET_TOKEN\"" };
    line(format_args!("\ntry it (the last one goes on until Ctrl-C):"));
    line(format_args!("  curl{token} -d 'hello' {url}"));
    line(format_args!("  curl{token} '{url}?offset=-1'"));
    line(format_args!("  curl{token} -N -H 'Accept: text/event-stream' '{url}?offset=-1'"));
    text
}

/// An address to connect to, for one that stands for all of the machine's.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_what_outlives_the_process() {
        let first = |disk, memory| {
            let settings = Settings { memory, ..Settings::default() };
            let text = greeting(&settings, disk, &["0.0.0.0:7".parse().unwrap()]);
            assert!(
                text.contains("listening on http://0.0.0.0:7\n") && text.contains("http://127.0.0.1:7/topics/chat")
            );
            text.lines().next().unwrap().to_owned()
        };
        assert!(first(false, true).contains("nothing outlives this process"));
        assert!(first(true, false).contains("./quintet-data"));
    }
}
