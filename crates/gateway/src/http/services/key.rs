//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): a structured-field string, or the same
//! without its quotes, as most clients send it.

use http::HeaderMap;
use quintet_core::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;

use crate::error::{Problem, Result};

/// The key, if there is one.
pub(super) fn parse(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(header::IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let key = text.and_then(|text| if text.starts_with('"') { unquote(text) } else { bare(text) });
    match key.filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())) {
        Some(key) => Ok(Some(key)),
        None => {
            let detail = format!(
                "Idempotency-Key is sent once, as 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters, with or \
                 without quotes around them"
            );
            Err(Problem::new(Kind::BadHeader, detail))
        }
    }
}

fn bare(text: &str) -> Option<String> {
    text.bytes().all(|b| b.is_ascii_graphic()).then(|| text.to_owned())
}

/// A string of RFC 8941 section 3.3.3: between quotes, which are escaped inside, as is the backslash.
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut key = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            '"' => return None,
            ' '..='~' => key.push(c),
            _ => return None,
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(values: &[&str], key: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IDEMPOTENCY_KEY, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(parse(&headers).ok().flatten().as_deref(), key, "{values:?}");
    }

    #[test]
    fn keys_with_and_without_quotes() {
        check(&["8e03978e-40d5"], Some("8e03978e-40d5"));
        check(&["\"8e03978e-40d5\""], Some("8e03978e-40d5"));
        check(&[r#""a \"b\" \\""#], Some(r#"a "b" \"#));
        check(&[&"k".repeat(255)], Some(&"k".repeat(255)));
        let long = "k".repeat(256);
        for bad in ["", "\"\"", "\"", "\"a", "\"a\"b\"", "\"\\x\"", "a b", "\"a\";p=1", long.as_str()] {
            check(&[bad], None);
            let mut headers = HeaderMap::new();
            headers.insert(header::IDEMPOTENCY_KEY, HeaderValue::from_str(bad).unwrap());
            assert!(parse(&headers).is_err(), "{bad}");
        }
        check(&["a", "a"], None);
        check(&[], None);
    }
}
