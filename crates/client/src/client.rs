//! The client: where the hub is, and who asks. What one can ask is in the files of the patterns, and in `topics`.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quintet_wire::session::command::Presence;
use tokio_rustls::rustls::ClientConfig;

use crate::error::{Error, ErrorKind};
use crate::limits::CONNECT_MAX;
use crate::tls::{self, Roots};

/// A hub, as one client sees it. Cloning is cheap, and clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    // Without a slash at the end.
    base: String,
    session: String,
    // Marked as sensitive, so that it is never shown.
    authorization: Option<HeaderValue>,
    // What it is called on the topics that it reads.
    member: Option<Presence>,
    http: reqwest::Client,
    // Trusts nobody when the hub has no TLS.
    tls: Arc<ClientConfig>,
}

/// What a name may hold within a URL's path besides letters and digits; the slash parts a topic's levels.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'$');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

impl Client {
    /// A client of the hub at this URL, e.g. `http://127.0.0.1:7070`; a path in front of the hub's own is kept.
    /// With `https`, the hub's certificate has to be from an authority that the system trusts.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is no `http` or `https` URL.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::trusting(url, Roots::System)
    }

    /// The same, where a hub with `https` has to have its certificate from one of these authorities, in PEM, and from
    /// no other. A certificate that is signed by itself is its own authority.
    ///
    /// # Errors
    /// As [`Client::new`], and when they cannot be read.
    pub fn with_authorities(url: &str, pem: &[u8]) -> Result<Self, Error> {
        Self::trusting(url, Roots::Pem(pem))
    }

    fn trusting(url: &str, roots: Roots<'_>) -> Result<Self, Error> {
        let parsed = reqwest::Url::parse(url)
            .map_err(|error| Error::caused(ErrorKind::Invalid, format!("`{url}` is not a URL"), error))?;
        let secure = parsed.scheme() == "https";
        if !(secure || parsed.scheme() == "http") || !parsed.has_host() {
            let detail = format!("`{url}` is not an http or https URL");
            return Err(Error::new(ErrorKind::Invalid, detail));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() || !parsed.username().is_empty() {
            let detail = "the hub's URL has no query, fragment or user; give a token with `with_token`";
            return Err(Error::new(ErrorKind::Invalid, detail));
        }
        let base = parsed.as_str().trim_end_matches('/').to_owned();
        let session = format!("ws{}/ws", &base["http".len()..]);
        let tls = tls::config(if secure { roots } else { Roots::None })?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Client {
            inner: Arc::new(Inner { base, session, authorization: None, member: None, http, tls: Arc::new(tls) }),
        })
    }

    /// The same client with a bearer token.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the token holds characters that no header can carry.
    pub fn with_token(self, token: &str) -> Result<Self, Error> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|error| Error::caused(ErrorKind::Invalid, "the token cannot be sent in a header", error))?;
        authorization.set_sensitive(true);
        let mut inner = Arc::unwrap_or_clone(self.inner);
        inner.authorization = Some(authorization);
        Ok(Client { inner: Arc::new(inner) })
    }

    /// The same client as a member of every topic that it reads, in whatever way: with this id (1 to 128 bytes, no
    /// control characters) and these data (at most 1 KiB) it is shown in [`presence`](Client::presence).
    #[must_use]
    pub fn with_member(self, id: &str, data: Option<&str>) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.inner);
        inner.member = Some(Presence { id: Some(id.to_owned()), data: data.map(str::to_owned) });
        Client { inner: Arc::new(inner) }
    }

    /// The hub's URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.base
    }

    /// Asks whether the hub is there and well.
    ///
    /// Dropping the future abandons the question.
    ///
    /// # Errors
    /// When it is not.
    pub async fn health(&self) -> Result<(), Error> {
        self.send(self.get("/health")).await.map(drop)
    }

    pub(crate) fn session_url(&self) -> &str {
        &self.inner.session
    }

    pub(crate) fn tls(&self) -> &Arc<ClientConfig> {
        &self.inner.tls
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.inner.authorization.as_ref()
    }

    pub(crate) fn member(&self) -> Option<&Presence> {
        self.inner.member.as_ref()
    }

    pub(crate) fn get(&self, path_and_query: &str) -> reqwest::RequestBuilder {
        self.at(http::Method::GET, path_and_query)
    }

    pub(crate) fn at(&self, method: http::Method, path_and_query: &str) -> reqwest::RequestBuilder {
        let request = self.inner.http.request(method, format!("{}{path_and_query}", self.inner.base));
        match &self.inner.authorization {
            Some(authorization) => request.header(http::header::AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.inner.base).finish_non_exhaustive()
    }
}

/// The path of a name below a prefix: `/topics/chat/room%201`.
pub(crate) fn path(prefix: &str, name: &str) -> Result<String, Error> {
    if name.split('/').any(|level| matches!(level, "." | "..")) {
        // Every URL parser removes such levels, encoded or not, so that another name would arrive.
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("`{name}` cannot be part of a URL: it has a level of dots"),
        ));
    }
    Ok(format!("{prefix}{}", utf8_percent_encode(name, NAME)))
}

/// A value within a URL's query.
pub(crate) fn query(value: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(value, QUERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let client = Client::new("http://localhost:7070/").unwrap();
        assert_eq!((client.url(), client.session_url()), ("http://localhost:7070", "ws://localhost:7070/ws"));
        let secure = Client::with_authorities("https://h", b"");
        assert_eq!(secure.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(Client::new("http://h/a/b/").unwrap().session_url(), "ws://h/a/b/ws");
        for bad in ["", "localhost:7070", "wss://h", "http://h?x", "http://u@h", "ftp://h"] {
            assert_eq!(Client::new(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn tokens_are_not_shown() {
        let client = Client::new("http://h").unwrap().with_token("secret").unwrap();
        assert!(!format!("{client:?} {:?}", client.authorization()).contains("secret"));
        assert!(client.with_token("a\nb").is_err());
    }

    #[test]
    fn names_in_paths() {
        assert_eq!(path("/topics/", "chat/room 1?é").unwrap(), "/topics/chat/room%201%3F%C3%A9");
        assert_eq!(path("/topics/", "$replies/x").unwrap(), "/topics/$replies/x");
        assert!(path("/topics/", "a/../b").is_err());
        assert_eq!(query("chat/#&+").to_string(), "chat/%23%26%2B");
    }
}
