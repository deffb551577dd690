//! Which web pages may reach the hub: the rules on `Origin` and `Host`, and CORS for those that may.
//!
//! A page on the internet can make its visitor's browser call a hub on the visitor's own machine, or let its own name
//! resolve to that machine (DNS rebinding). So a foreign `Origin` and a foreign `Host` are refused unless they are
//! allowed by name. Programs send no `Origin`, and are not concerned.

use std::net::{IpAddr, SocketAddrV4};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use quintet_wire::problem::kind::Kind;

use crate::error::{Problem, Result};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// What a page may read of an answer. The star stands for a responder's own headers; it does not count for requests
/// with credentials, so that ours are named.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Stream-Next-Offset, Stream-Up-To-Date, Stream-Closed, Stream-Cursor, Stream-TTL, Stream-Expires-At, \
     Stream-SSE-Data-Encoding, Producer-Epoch, Producer-Seq, Producer-Expected-Seq, Producer-Received-Seq, ETag, \
     Location, Preference-Applied, Quintet-Readers, Quintet-Groups, Idempotent-Replayed, Retry-After, *",
);
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// Which origins and hosts are not foreign, besides the hub's own.
#[derive(Debug, Clone, Default)]
pub struct OriginRules {
    /// Origins of pages, e.g. `https://app.example`; `*` allows all.
    origins: Allowed,
    /// Host names the hub is reached under, without port; `*` allows all. Addresses and `localhost` always are.
    hosts: Allowed,
}

#[derive(Debug, Clone, Default)]
struct Allowed {
    all: bool,
    names: Vec<String>,
}

impl OriginRules {
    /// Allows these origins and hosts. Case does not matter.
    pub fn new(
        origins: impl IntoIterator<Item = impl AsRef<str>>,
        hosts: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        Self { origins: Allowed::new(origins), hosts: Allowed::new(hosts) }
    }

    fn check_host(&self, authority: &Authority) -> Result<()> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.parse::<IpAddr>().is_ok() || is_localhost(host) || self.hosts.contains(host) {
            return Ok(());
        }
        let host = host.to_ascii_lowercase();
        let detail =
            format!("this hub is not known as {host}; add the name to its configured hosts, or use its address");
        Err(Problem::new(Kind::ForeignOrigin, detail))
    }

    /// What `Access-Control-Allow-Origin` says to a page of this origin; none if it is foreign.
    fn allow(&self, origin: &HeaderValue, authority: Option<&Authority>) -> Option<HeaderValue> {
        if self.origins.all {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        let authority_of_origin = text.split_once("://").map(|(_, authority)| authority);
        let same =
            authority.is_some_and(|own| authority_of_origin.is_some_and(|o| own.as_str().eq_ignore_ascii_case(o)));
        // Copied, as a clone would hold the connection's read buffer for as long as the answer takes.
        (same || self.origins.contains(&text)).then(|| HeaderValue::from_bytes(origin.as_bytes()).ok()).flatten()
    }
}

impl Allowed {
    fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let names: Vec<_> =
            names.into_iter().map(|name| name.as_ref().trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { all: names.iter().any(|name| name == "*"), names }
    }

    fn contains(&self, name: &str) -> bool {
        self.all || self.names.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

/// What becomes of a request.
pub(crate) enum Admission {
    /// It goes on; a page of a foreign origin may read the answer if this is what it is told.
    Admitted(Option<HeaderValue>),
    /// It is answered at once.
    Answered(Response, Option<HeaderValue>),
}

/// Refuses foreign pages and answers preflights.
pub(crate) fn admit(rules: &OriginRules, request: &Request) -> Admission {
    let mut allowed = None;
    match check(rules, request, &mut allowed) {
        Err(problem) => Admission::Answered(problem.into_response(), allowed),
        Ok(()) if is_preflight(request) => {
            Admission::Answered(preflight(request.headers(), allowed.is_some()), allowed)
        }
        Ok(()) => Admission::Admitted(allowed),
    }
}

/// Adds the headers that browsers need to any answer.
pub(crate) fn finish(rules: &OriginRules, headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CROSS_ORIGIN_RESOURCE_POLICY).or_insert(HeaderValue::from_static("cross-origin"));
    let allowed = if rules.origins.all {
        // Also for who is no page: a cache may hand the answer to one.
        Some(HeaderValue::from_static("*"))
    } else {
        // Also on answers without CORS: a cache must not hand those to a page that is allowed.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        allowed
    };
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// The host that a request is for: of an HTTP/2 or absolute target, or else the `Host` header.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>> {
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let Some(host) = headers.get(HOST) else { return Ok(None) };
    match Authority::try_from(host.as_bytes()) {
        Ok(authority) if is_host_and_port(&authority) => Ok(Some(authority)),
        _ => Err(Problem::new(Kind::BadHeader, "Host is not a host name with an optional port")),
    }
}

/// Whether it is nothing else, as `Host` has to be (RFC 9110 section 7.2): no user, and a port that is a number.
fn is_host_and_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        None => false,
        Some("" | ":") => true,
        Some(_) => authority.port_u16().is_some(),
    }
}

/// Refuses a request whose `Host` is not there exactly once, as HTTP/1.1 has it (RFC 9112 section 3.2): who is between
/// the client and the hub may go by another one than the hub.
fn check_one_host(request: &Request) -> Result<()> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let detail = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_11 => "the request has no Host; HTTP/1.1 wants one",
        (_, Some(_)) => "the request has several lines of Host; send one",
        _ => return Ok(()),
    };
    Err(Problem::new(Kind::BadHeader, detail))
}

/// `localhost` and the names below it, which never leave the machine.
fn is_localhost(host: &str) -> bool {
    let (below, name) = host.split_at_checked(host.len().saturating_sub("localhost".len())).unwrap_or((host, ""));
    name.eq_ignore_ascii_case("localhost") && (below.is_empty() || below.ends_with('.'))
}

/// Whether a program calls the hub by its address, as most do: there is nothing about it that could be foreign.
fn is_plain(uri: &Uri, headers: &HeaderMap) -> bool {
    let by_address = || {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().filter(|_| hosts.next().is_none())?;
        host.to_str().ok()?.parse::<SocketAddrV4>().ok()
    };
    uri.authority().is_none()
        && !headers.contains_key(ORIGIN)
        && !headers.contains_key(SEC_FETCH_SITE)
        && by_address().is_some()
}

fn check(rules: &OriginRules, request: &Request, allowed: &mut Option<HeaderValue>) -> Result<()> {
    if is_plain(request.uri(), request.headers()) {
        return Ok(());
    }
    check_one_host(request)?;
    let authority = authority(request.uri(), request.headers())?;
    if let Some(authority) = &authority {
        rules.check_host(authority)?;
    }
    match request.headers().get(ORIGIN) {
        Some(origin) => {
            *allowed = rules.allow(origin, authority.as_ref());
            // A preflight is answered without permission, which is what makes the browser stop.
            if allowed.is_some() || is_preflight(request) {
                return Ok(());
            }
            let shown = origin.to_str().unwrap_or("unreadable");
            let detail = format!("pages of the origin {shown} may not use this hub; add it to its configured origins");
            Err(Problem::new(Kind::ForeignOrigin, detail))
        }
        // Images, scripts and forms of a foreign page come without an Origin, but browsers say where they are from.
        None if is_embedded(request.headers()) && !rules.origins.all => {
            let detail = "pages of other sites may not embed this hub's answers; add their origin to its configured \
                          origins and fetch with CORS";
            Err(Problem::new(Kind::ForeignOrigin, detail))
        }
        None => Ok(()),
    }
}

/// Whether a browser says that the request comes from another site's page, other than by the user following a link.
fn is_embedded(headers: &HeaderMap) -> bool {
    let is = |name: HeaderName, value: &str| headers.get(name).is_some_and(|v| v == value);
    is(SEC_FETCH_SITE, "cross-site") && !is(SEC_FETCH_MODE, "navigate")
}

fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Tells what could be sent. Whether the page may is what `Access-Control-Allow-Origin` says or leaves out.
fn preflight(request: &HeaderMap, allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    if allowed {
        headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        if request.contains_key(REQUEST_PRIVATE_NETWORK) {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let rules = OriginRules::new([""; 0], ["Hub.Example"]);
        for good in ["127.0.0.1:7070", "[::1]:7070", "localhost", "LOCALHOST:1", "a.localhost", "hub.example:80"] {
            assert!(rules.check_host(&good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "hub.example.evil", "evillocalhost"] {
            assert!(rules.check_host(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins() {
        let rules = OriginRules::new(["https://app.example/"], [""; 0]);
        let own: Authority = "127.0.0.1:7070".parse().unwrap();
        let allow = |origin: &'static str| rules.allow(&HeaderValue::from_static(origin), Some(&own));
        assert_eq!(allow("https://app.example").unwrap(), "https://app.example");
        assert!(allow("http://127.0.0.1:7070").is_some());
        for foreign in ["http://app.example", "https://evil.example", "http://127.0.0.1:8080", "null"] {
            assert!(allow(foreign).is_none(), "{foreign}");
        }
        for (good, text) in
            [(true, "a"), (true, "a:"), (true, "[::1]:80"), (false, "u@a"), (false, "a:b"), (false, "a:65536")]
        {
            assert_eq!(is_host_and_port(&text.parse().unwrap()), good, "{text}");
        }
        let all = OriginRules::new(["*"], [""; 0]);
        assert_eq!(all.allow(&HeaderValue::from_static("null"), None).unwrap(), "*");
    }
}
