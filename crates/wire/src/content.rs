//! Media types: which payloads are JSON, which are text, and what an `Accept` header names. Not a full negotiation.

/// The type of a JSON payload.
pub const JSON: &str = "application/json";
/// The type of a text payload.
pub const TEXT: &str = "text/plain";
/// The type of a payload about which nothing is known.
pub const OCTETS: &str = "application/octet-stream";
/// The type of an array of message envelopes; see [`crate::envelope`].
pub const ENVELOPES: &str = "application/vnd.quintet.messages+json";
/// The type of a server-sent event stream; see [`crate::sse`].
pub const EVENTS: &str = "text/event-stream";
/// The type of a problem object; see [`crate::problem`].
pub const PROBLEM: &str = "application/problem+json";
/// The type an HTML form (and `curl -d`) sends.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The type without its parameters and the space around it: `text/plain` of `text/plain; charset=utf-8`.
#[must_use]
pub fn essence(content_type: &str) -> &str {
    content_type.split_once(';').map_or(content_type, |(essence, _)| essence).trim_ascii()
}

/// Whether two types are the same but for parameters and case.
#[must_use]
pub fn same_essence(a: &str, b: &str) -> bool {
    essence(a).eq_ignore_ascii_case(essence(b))
}

/// Whether the payload is meant to be JSON: `application/json` or `…+json`.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.eq_ignore_ascii_case(JSON) || ends_with_ignore_case(essence, "+json")
}

/// Whether this is `application/json` itself, the only type whose arrays the Durable Streams protocol takes apart.
#[must_use]
pub fn is_application_json(content_type: &str) -> bool {
    same_essence(content_type, JSON)
}

/// Whether the payload is meant to be text: `text/…`.
#[must_use]
pub fn is_text(content_type: &str) -> bool {
    essence(content_type).get(..5).is_some_and(|head| head.eq_ignore_ascii_case("text/"))
}

/// Whether the text is a media type: two tokens around a slash, then parameters in visible ASCII.
#[must_use]
pub fn is_valid(content_type: &str) -> bool {
    let visible = content_type.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'));
    visible && essence(content_type).split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Whether an `Accept` header names this type itself, with a weight above zero. Wildcards do not count: they are
/// what every client sends and say nothing about wanting it.
#[must_use]
pub fn accept_names(accept: &str, media_type: &str) -> bool {
    accept.split(',').any(|range| same_essence(range, media_type) && weight(range) > 0.0)
}

/// Whether an `Accept` header lets a response have this type, by name or by wildcard. An empty header allows all.
#[must_use]
pub fn accept_allows(accept: &str, media_type: &str) -> bool {
    if accept.trim_ascii().is_empty() {
        return true;
    }
    // The most specific range decides (RFC 9110 section 12.5.1), so `text/*;q=0, text/plain` allows text/plain.
    let mut best = (0, 0.0);
    for range in accept.split(',') {
        let specificity = match essence(range) {
            name if name.eq_ignore_ascii_case(essence(media_type)) => 3,
            "*/*" => 1,
            name => match (name.strip_suffix("/*"), essence(media_type).split_once('/')) {
                (Some(wanted), Some((kind, _))) if wanted.eq_ignore_ascii_case(kind) => 2,
                _ => continue,
            },
        };
        if specificity > best.0 {
            best = (specificity, weight(range));
        }
    }
    best.1 > 0.0
}

fn weight(range: &str) -> f32 {
    let parameters = range.split(';').skip(1);
    let mut weights = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim_ascii().eq_ignore_ascii_case("q").then(|| value.trim_ascii().parse().unwrap_or(0.0))
    });
    weights.next().unwrap_or(1.0)
}

fn ends_with_ignore_case(text: &str, suffix: &str) -> bool {
    let start = text.len().checked_sub(suffix.len());
    start.and_then(|start| text.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/geo+json", ENVELOPES] {
            assert!(is_json(json) && !is_text(json), "{json}");
        }
        for text in ["text/plain", "TEXT/html;charset=utf-8", " text/csv"] {
            assert!(is_text(text) && !is_json(text), "{text}");
        }
        for other in ["application/octet-stream", "", "text", "é", "image/png", "json"] {
            assert!(!is_text(other) && !is_json(other), "{other}");
        }
        assert!(same_essence("text/plain", "Text/Plain ; charset=latin1"));
        assert!(!same_essence("text/plain", "text/html"));
    }

    #[test]
    fn validity() {
        for good in ["a/b", "application/vnd.api+json", "text/plain; charset=\"utf-8\""] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "text", "/", "text/", "a/b/c", "te xt/plain", "text/plain\n", "text/plain; x=é"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn accept() {
        assert!(accept_names("text/html, application/vnd.quintet.messages+json;q=0.5", ENVELOPES));
        assert!(!accept_names("*/*", ENVELOPES));
        assert!(!accept_names("text/event-stream;q=0", EVENTS));
        assert!(accept_allows("", TEXT) && accept_allows("*/*", TEXT) && accept_allows("text/*", TEXT));
        assert!(!accept_allows("application/*", TEXT) && !accept_allows("*/*, text/plain;q=0", TEXT));
        assert!(accept_allows("text/*;q=0, text/plain", TEXT));
    }
}
