//! The query and preferences of a request. Unknown parameters are passed over; the same one twice is an error, as it
//! is not clear which is meant.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, Uri};
use percent_encoding::percent_decode;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;

use crate::error::{Problem, Result};

/// A query's value: percent-decoded, with `+` as a space.
pub(crate) fn parameter<'a>(uri: &'a Uri, name: &str) -> Result<Option<Cow<'a, str>>> {
    let mut found = None;
    for pair in uri.query().unwrap_or_default().as_bytes().split(|b| *b == b'&') {
        let value = match pair.strip_prefix(name.as_bytes()) {
            Some([]) => &[],
            Some([b'=', value @ ..]) => value,
            _ => continue,
        };
        if found.is_some() {
            return Err(Problem::new(Kind::BadRequest, format!("the parameter {name} comes twice; send it once")));
        }
        found = Some(
            decode(value)
                .ok_or_else(|| Problem::new(Kind::BadRequest, format!("the parameter {name} is not UTF-8")))?,
        );
    }
    Ok(found)
}

/// A query's value as a number.
pub(crate) fn number(uri: &Uri, name: &str) -> Result<Option<u64>> {
    let Some(text) = parameter(uri, name)? else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Problem::new(Kind::BadRequest, format!("{name} is a whole number, not {text:?}"))),
    }
}

/// The wait of `Prefer: wait=N` (RFC 7240 section 4.3), in whole seconds as it was given. A preference that is not
/// understood is passed over, as that standard wants it.
pub(crate) fn prefer_wait(headers: &HeaderMap) -> Option<u64> {
    preferences(headers).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("wait").then(|| value.trim_matches('"').parse().ok()).flatten()
    })
}

/// Whether a preference without value is given, e.g. `respond-async`.
pub(crate) fn prefers(headers: &HeaderMap, wanted: &str) -> bool {
    preferences(headers).any(|(name, _)| name.eq_ignore_ascii_case(wanted))
}

/// Seconds as a wait within a bound.
pub(crate) fn seconds(n: u64, max: Duration) -> Duration {
    Duration::from_secs(n).min(max)
}

fn preferences(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        (name.trim(), value.trim())
    })
}

fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    if value.contains(&b'+') {
        let spaced: Vec<u8> = value.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        let decoded = percent_decode(&spaced).decode_utf8().ok()?;
        return Some(Cow::Owned(decoded.into_owned()));
    }
    percent_decode(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn parameters() {
        let uri: Uri = "/t?offset=a%2Fb&x=1+2&live=&n=7&offsets=9&bare".parse().unwrap();
        assert_eq!(parameter(&uri, "offset").unwrap().unwrap(), "a/b");
        assert_eq!(parameter(&uri, "x").unwrap().unwrap(), "1 2");
        assert_eq!(parameter(&uri, "live").unwrap().unwrap(), "");
        assert_eq!(parameter(&uri, "bare").unwrap().unwrap(), "");
        assert!(parameter(&uri, "y").unwrap().is_none());
        assert!(parameter(&"/t".parse().unwrap(), "y").unwrap().is_none());
        assert_eq!(number(&uri, "n").unwrap(), Some(7));
        assert!(number(&uri, "x").is_err());
        assert!(parameter(&"/t?a=1&a=2".parse().unwrap(), "a").is_err());
        assert!(parameter(&"/t?a=%ff".parse().unwrap(), "a").is_err());
    }

    #[test]
    fn preferences_follow_rfc_7240() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::PREFER, HeaderValue::from_static(value));
            }
            headers
        };
        assert_eq!(prefer_wait(&headers(&["respond-async, Wait=10;foo"])), Some(10));
        assert_eq!(prefer_wait(&headers(&["handling=lenient", "wait=\"7\""])), Some(7));
        assert_eq!(prefer_wait(&headers(&["wait=soon"])), None);
        assert!(prefers(&headers(&["wait=1, Respond-Async"]), "respond-async"));
        assert!(!prefers(&headers(&[]), "respond-async"));
    }
}
