//! What a request that changes something may ask for and nothing here heeds. To pass it over would be to do what it
//! wants prevented, or to store what nobody can read; so it is refused.

use http::{HeaderMap, Method};
use quintet_wire::problem::kind::Kind;

use crate::error::{Problem, Result};

/// Refuses conditions, parts and codings, with one look at the headers' names.
///
/// Conditions by date are passed over, as nothing here has a date of modification (RFC 9110 section 13.1.4).
pub(crate) fn refuse(method: &Method, headers: &HeaderMap) -> Result<()> {
    if method.is_safe() {
        return Ok(());
    }
    for (name, value) in headers {
        match name.as_str() {
            // A server must not do what is not to be done under a condition that is false (RFC 9110 section 13.1.1).
            name @ ("if-match" | "if-none-match") => {
                let detail = format!("{method} is not done under conditions here; send it without {name}");
                return Err(Problem::new(Kind::BadHeader, detail));
            }
            // RFC 9110 section 14.5.
            "content-range" if *method == Method::PUT => {
                let detail = "nothing here is put in parts; send all of it, without Content-Range";
                return Err(Problem::new(Kind::BadHeader, detail));
            }
            // RFC 9110 section 15.5.16.
            "content-encoding" if !value.as_bytes().eq_ignore_ascii_case(b"identity") => {
                let detail = "bodies are kept as they come, and their coding is not; send the body as it is, without \
                              Content-Encoding, or name the coding in its Content-Type";
                return Err(Problem::new(Kind::UnsupportedMediaType, detail).header("accept-encoding", "identity"));
            }
            _ => {}
        }
    }
    Ok(())
}
