//! What commands read: standard input, files, `k=v` pairs; and what type it is when nobody says.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use bytes::Bytes;
use quintet_wire::content;
use quintet_wire::payload::Body;
use tokio::sync::mpsc;

use crate::cli::exit::Failure;

/// Lines that wait to be taken.
const LINES_MAX: usize = 4_096;
const BUFFER_BYTES: usize = 64 * 1024;

/// The lines of standard input, without their ends.
///
/// They are read by a thread of their own: reading from a terminal cannot be broken off, and must not hold up the end
/// of the process.
pub(crate) fn lines() -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, std::io::stdin().lock());
        loop {
            let mut line = Vec::new();
            let read = match input.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(without_end(line))),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let ends = read.is_err();
            if sender.blocking_send(read).is_err() || ends {
                return;
            }
        }
    });
    receiver
}

/// A whole file; `-` is standard input.
pub(crate) fn file(path: &Path) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|read| bytes = read)
    };
    read.map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    Ok(Bytes::from(bytes))
}

/// What is to be sent is JSON, as somebody said.
pub(crate) fn check_json(bytes: &[u8], what: &str) -> Result<(), Failure> {
    match serde_json::from_slice::<&serde_json::value::RawValue>(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(format!("{what} is not JSON: {error}\nleave --json out to send it as text"))),
    }
}

/// A body of this type, or of the one that its bytes suggest.
pub(crate) fn body(bytes: Bytes, content_type: Option<&str>) -> Body {
    let guessed = || if std::str::from_utf8(&bytes).is_ok() { content::TEXT } else { content::OCTETS };
    Body { content_type: content_type.unwrap_or_else(guessed).to_owned(), bytes }
}

/// The type that `--json` and `--type` come to.
pub(crate) fn content_type(json: bool, named: Option<String>) -> Option<String> {
    named.or_else(|| json.then(|| content::JSON.to_owned()))
}

/// Reads `name=value`, for clap.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_ascii_lowercase(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_lines() {
        assert_eq!(pair("A-b=c=d"), Ok(("a-b".into(), "c=d".into())));
        assert!(pair("a").is_err() && pair("=x").is_err());
        for (line, text) in [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("\n", ""), ("a\r", "a\r")] {
            assert_eq!(without_end(line.into()), text.as_bytes());
        }
    }

    #[test]
    fn types() {
        assert_eq!(body(Bytes::from("é"), None).content_type, "text/plain");
        assert_eq!(body(Bytes::from(vec![0xff]), None).content_type, "application/octet-stream");
        assert_eq!(body(Bytes::new(), Some("a/b")).content_type, "a/b");
        assert_eq!(content_type(true, None).as_deref(), Some("application/json"));
        assert!(check_json(b"{\"a\":1}", "x").is_ok() && check_json(b"{", "x").is_err());
    }
}
