//! The query and preferences of a request. Unknown parameters are passed over; the same one twice is an error, as it
//! is not clear which is meant.

use std::borrow::Cow;
use std::iter;
use std::num::IntErrorKind;
use std::time::Duration;

use http::{HeaderMap, Uri};
use percent_encoding::percent_decode;
use quintet_core::name::Filter;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;

use crate::error::{Problem, Result};

/// A query's value: percent-decoded, with `+` as a space.
pub(crate) fn parameter<'a>(uri: &'a Uri, name: &str) -> Result<Option<Cow<'a, str>>> {
    parameter_as(uri, name, decode)
}

fn parameter_as<'a>(
    uri: &'a Uri,
    name: &str,
    decode: fn(&'a [u8]) -> Option<Cow<'a, str>>,
) -> Result<Option<Cow<'a, str>>> {
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

/// A query's value as a filter: a `+` that is a whole level is the wildcard, also as it stands.
pub(crate) fn filter(uri: &Uri, name: &str) -> Result<Option<Filter>> {
    let Some(text) = parameter_as(uri, name, decode_filter)? else { return Ok(None) };
    Ok(Some(Filter::parse(&text)?))
}

/// A query's value as a number; what is too large for one is the largest.
pub(crate) fn number(uri: &Uri, name: &str) -> Result<Option<u64>> {
    let Some(text) = parameter(uri, name)? else { return Ok(None) };
    match whole(&text) {
        Some(number) => Ok(Some(number)),
        None => Err(Problem::new(Kind::BadRequest, format!("{name} is a whole number, not {text:?}"))),
    }
}

fn whole(text: &str) -> Option<u64> {
    match text.parse() {
        Ok(number) => Some(number),
        Err(error) => (*error.kind() == IntErrorKind::PosOverflow).then_some(u64::MAX),
    }
}

/// The wait of `Prefer: wait=N` (RFC 7240 section 4.3), in whole seconds as it was given. A preference that is not
/// understood is passed over, as that standard wants it.
pub(crate) fn prefer_wait(headers: &HeaderMap) -> Option<u64> {
    let (_, value) = preferences(headers).find(|(name, _)| name.eq_ignore_ascii_case("wait"))?;
    whole(value.trim_matches('"'))
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
    values.flat_map(|value| unquoted(value, b',')).map(|preference| {
        let preference = unquoted(preference, b';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        (name.trim(), value.trim())
    })
}

/// The parts of a value between separators that are not in quotes (RFC 9110 section 5.6.4).
pub(crate) fn unquoted(value: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    iter::from_fn(move || {
        let text = rest.take()?;
        let (mut quoted, mut escaped) = (false, false);
        let at = text.bytes().position(|b| {
            let is_end = b == separator && !quoted;
            quoted ^= b == b'"' && !escaped;
            escaped = b == b'\\' && quoted && !escaped;
            is_end
        });
        let Some(at) = at else { return Some(text) };
        rest = Some(&text[at + 1..]);
        Some(&text[..at])
    })
}

fn decode_filter(value: &[u8]) -> Option<Cow<'_, str>> {
    let begins =
        |i: usize| i == 0 || value[i - 1] == b'/' || value[..i].ends_with(b"%2F") || value[..i].ends_with(b"%2f");
    let ends = |i: usize| matches!(value[i + 1..], [] | [b'/', ..] | [b'%', b'2', b'F' | b'f', ..]);
    let mut encoded = Vec::with_capacity(value.len() + 8);
    for (i, b) in value.iter().enumerate() {
        match b {
            b'+' if begins(i) && ends(i) => encoded.extend_from_slice(b"%2B"),
            b => encoded.push(*b),
        }
    }
    decode(&encoded).map(|text| text.into_owned().into())
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
        assert_eq!(number(&"/t?n=99999999999999999999".parse().unwrap(), "n").unwrap(), Some(u64::MAX));
        assert!(parameter(&"/t?a=1&a=2".parse().unwrap(), "a").is_err());
        assert!(parameter(&"/t?a=%ff".parse().unwrap(), "a").is_err());
    }

    #[test]
    fn a_plus_that_is_a_level_is_the_wildcard() {
        let check = |query: &str, wanted: &str| {
            let uri: Uri = format!("/t?filter={query}").parse().unwrap();
            assert_eq!(filter(&uri, "filter").unwrap().unwrap().as_str(), wanted, "{query}");
        };
        for query in ["w/+/x", "w/%2B/x", "w%2F+%2fx", "w%2f%2B/x"] {
            check(query, "w/+/x");
        }
        check("+", "+");
        check("+/+/%23", "+/+/#");
        check("my+topic/+", "my topic/+");
        assert!(filter(&"/t?filter=a%2Bb".parse().unwrap(), "filter").is_err());
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
        assert_eq!(prefer_wait(&headers(&["wait=soon, wait=1"])), None, "the first one counts");
        assert_eq!(prefer_wait(&headers(&["foo=\"a, wait=3, b\""])), None);
        assert_eq!(prefer_wait(&headers(&[r#"foo="a\", wait=3; \\";wait=4,wait=5"#])), Some(5));
        assert_eq!(prefer_wait(&headers(&["wait=99999999999999999999"])), Some(u64::MAX));
        assert!(prefers(&headers(&["wait=1, Respond-Async"]), "respond-async"));
        assert!(!prefers(&headers(&[]), "respond-async"));
    }
}
