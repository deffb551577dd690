//! A hub with a certificate of its own making, and the commands over TLS.

use std::path::Path;

use crate::harness::cli::{Output, spawn_at};
use crate::harness::deadline::{SOON, until};
use crate::harness::hub::{Hub, Options, signal};
use tempfile::TempDir;

/// Writes a certificate that is its own authority, and its key.
fn make_certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join("hub.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("hub.pem"), made.cert.pem()).unwrap();
}

#[tokio::test]
async fn the_commands_over_tls() {
    let dir = TempDir::new().unwrap();
    make_certificate(dir.path());
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let arguments = vec!["--tls-cert".to_owned(), file("hub.pem"), "--tls-key".to_owned(), file("hub.key")];
    let hub = Hub::start_with(Options { memory: true, arguments, ..Options::default() }).await;
    let url = format!("https://127.0.0.1:{}", hub.port);
    std::fs::copy(file("hub.pem"), file("ca.pem")).unwrap();
    let authority = file("ca.pem");
    let run = async |line: &str, input: &str| -> Output {
        let arguments: Vec<&str> = line.split(' ').chain(["--ca-cert", &authority]).collect();
        spawn_at(&url, &arguments, input.as_bytes()).output(SOON).await
    };
    let numbers: String = (0..1_000).map(|i| format!("{i}\n")).collect();
    run("pub numbers", &numbers).await.expect_success();
    for via in ["ws", "sse", "long-poll", "short-poll"] {
        let line = format!("sub numbers --since start --count 1000 --via {via}");
        assert_eq!(run(&line, "").await.expect_success(), numbers, "{via}");
    }
    let refused = spawn_at(&url, &["pub", "numbers", "x", "--ca-cert", "/dev/null"], b"").output(SOON).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    // A new certificate, which the old one does not vouch for.
    make_certificate(dir.path());
    signal(hub.pid(), "HUP");
    until(SOON, "the new certificate", || hub.log().contains("read again").then_some(())).await;
    let untrusted = run("pub numbers x", "").await;
    assert_eq!(untrusted.code, Some(3), "{untrusted:?}");
    assert!(untrusted.stderr.contains("--ca-cert"), "{untrusted:?}");
}
