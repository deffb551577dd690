//! Who is calling: tokens, kept as SHA-256, as bearer or as the query parameter `access_token`.
//!
//! What a caller may do is decided by `quintet_core::access`; here a token is only turned into an [`Access`].

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, Uri};
use quintet_core::access::Access;
use quintet_wire::problem::kind::Kind;
use sha2::{Digest, Sha256};

use crate::error::{Problem, Result};
use crate::refused::{Asked, Known};
use crate::state::Gateway;

/// The query parameter for those who cannot set headers (`EventSource`, `WebSocket`). It is cut out of the request
/// before anything else sees it, so that it reaches no log and no responder.
const PARAMETER: &str = "access_token";

/// The tokens that are known. None at all means that everybody may do everything.
#[derive(Clone, Default)]
pub struct Tokens(Arc<[(Digested, Access)]>);

type Digested = [u8; 32];

/// Why a token in a configuration is not taken.
#[derive(Debug, thiserror::Error)]
#[error("a token is configured as the 64 hexadecimal digits of its SHA-256")]
pub struct BadToken;

impl Tokens {
    /// Takes tokens as the hexadecimal SHA-256 of their bytes, each with what it allows.
    pub fn new(tokens: impl IntoIterator<Item = (impl AsRef<str>, Access)>) -> Result<Self, BadToken> {
        let tokens = tokens.into_iter().map(|(hex, access)| Ok((parse_hex(hex.as_ref()).ok_or(BadToken)?, access)));
        Ok(Self(tokens.collect::<Result<Vec<_>, _>>()?.into()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a token allows. Every known token is compared in full, so that time tells nothing.
    fn find(&self, presented: &[u8]) -> Option<&Access> {
        let digest: Digested = Sha256::digest(presented).into();
        let mut found = None;
        for (known, access) in self.0.iter() {
            let difference = known.iter().zip(&digest).fold(0, |all, (a, b)| all | (a ^ b));
            if std::hint::black_box(difference) == 0 {
                found = Some(access);
            }
        }
        found
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// The extractor: what the caller may do. Every handler behind which there is something to guard takes it.
#[derive(Debug, Clone)]
pub struct Caller(pub Access);

impl Caller {
    /// Finds out who calls.
    pub(crate) fn of_request(gateway: &Gateway, request: &Request) -> Result<Self> {
        if gateway.config().tokens.is_empty() {
            return Ok(Self(Access::unrestricted()));
        }
        let asked = Asked::of(request.method(), request.uri(), request.extensions());
        Self::of(gateway, request.headers(), request.extensions(), asked)
    }

    fn of(gateway: &Gateway, headers: &HeaderMap, extensions: &Extensions, asked: Asked) -> Result<Self> {
        let in_query = extensions.get::<InQuery>().map(|token| token.0.as_str());
        let presented = bearer(headers).or(in_query);
        match authenticate(gateway, presented) {
            Ok(access) => Ok(Self(access.with_credential(Known::new(asked, Arc::clone(gateway.refusals()))))),
            Err(problem) => {
                gateway.refusals().unauthenticated(&asked, presented.is_some());
                Err(problem)
            }
        }
    }
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self> {
        if gateway.config().tokens.is_empty() {
            return Ok(Self(Access::unrestricted()));
        }
        let asked = Asked::of(&parts.method, &parts.uri, &parts.extensions);
        Self::of(gateway, &parts.headers, &parts.extensions, asked)
    }
}

/// The token that was in the query.
#[derive(Clone)]
struct InQuery(String);

/// Cuts the token out of the query, and keeps it for [`Caller`].
pub(crate) fn cut_from_query(request: &mut Request) {
    let (token, uri) = take_parameter(request.uri());
    if let Some(uri) = uri {
        *request.uri_mut() = uri;
    }
    if let Some(token) = token {
        request.extensions_mut().insert(InQuery(token));
    }
}

fn authenticate(gateway: &Gateway, presented: Option<&str>) -> Result<Access> {
    let Some(presented) = presented else {
        let detail = "this hub wants a token: Authorization: Bearer <token>, or ?access_token=<token>";
        return Err(Problem::new(Kind::Unauthenticated, detail));
    };
    gateway.config().tokens.find(presented.as_bytes()).cloned().ok_or_else(|| {
        // RFC 6750 section 3.1.
        Problem::new(Kind::Unauthenticated, "the token is not one of this hub's; check its spelling")
            .header("www-authenticate", "Bearer realm=\"quintet\", error=\"invalid_token\"")
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token in the query, decoded, and the URI without it.
fn take_parameter(uri: &Uri) -> (Option<String>, Option<Uri>) {
    let Some(query) = uri.query().filter(|query| query.contains(PARAMETER)) else { return (None, None) };
    let mut token = None;
    let mut rest = String::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((PARAMETER, value)) => {
                let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
                token = Some(decoded.into_owned());
            }
            _ => {
                if !rest.is_empty() {
                    rest.push('&');
                }
                rest.push_str(pair);
            }
        }
    }
    let path = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{rest}", uri.path()) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    (token, Uri::from_parts(parts).ok())
}

fn parse_hex(text: &str) -> Option<Digested> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_digest() {
        let sha = "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B"; // of "secret"
        let tokens = Tokens::new([(sha, Access::new("anna", Vec::new()))]).unwrap();
        assert_eq!(tokens.find(b"secret").unwrap().subject(), Some("anna"));
        assert!(tokens.find(b"Secret").is_none() && tokens.find(b"").is_none());
        assert!(Tokens::new([("secret", Access::unrestricted())]).is_err());
        assert!(Tokens::default().is_empty());
        assert_eq!(format!("{tokens:?}"), "Tokens(1)");
    }

    #[test]
    fn the_parameter_is_cut_out() {
        let check = |uri: &str, token: Option<&str>, rest: &str| {
            let uri: Uri = uri.parse().unwrap();
            let (found, cut) = take_parameter(&uri);
            assert_eq!(found.as_deref(), token);
            assert_eq!(cut.unwrap_or(uri).to_string(), rest);
        };
        check("/topics/a?offset=-1&access_token=a%2Bb&live=sse", Some("a+b"), "/topics/a?offset=-1&live=sse");
        check("/topics/a?access_token=x", Some("x"), "/topics/a");
        check("/topics/a?x_access_token=x", None, "/topics/a?x_access_token=x");
        check("/topics/a", None, "/topics/a");
    }
}
