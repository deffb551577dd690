//! The kinds of problems: slug, status, title, whether to try again, and what to do.
//!
//! Slugs are stable: clients match on them, so that none changes its meaning or is used for something else later.

use crate::problem::table::{Row, TABLE, UNKNOWN};

/// Which problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `bad-request`, 400: the request was not understood.
    BadRequest,
    /// `bad-cursor`, 400: not a cursor.
    BadCursor,
    /// `bad-name`, 400: not a name.
    BadName,
    /// `bad-json`, 400: not valid JSON.
    BadJson,
    /// `empty-body`, 400: the body is empty.
    EmptyBody,
    /// `bad-header`, 400: a header was not understood.
    BadHeader,
    /// `bad-producer-sequence`, 400: a new epoch begins at sequence 0.
    BadProducerSequence,
    /// `unauthenticated`, 401: a token is needed.
    Unauthenticated,
    /// `forbidden`, 403: not allowed.
    Forbidden,
    /// `foreign-origin`, 403: the origin is not allowed.
    ForeignOrigin,
    /// `stale-producer-epoch`, 403: another producer took over.
    StaleProducerEpoch,
    /// `not-found`, 404: no such resource.
    NotFound,
    /// `topic-not-found`, 404: no such topic.
    TopicNotFound,
    /// `group-not-found`, 404: no such group.
    GroupNotFound,
    /// `request-not-found`, 404: nobody waits for this request.
    RequestNotFound,
    /// `method-not-allowed`, 405: the method is not allowed here.
    MethodNotAllowed,
    /// `not-acceptable`, 406: the messages have several types.
    NotAcceptable,
    /// `request-timeout`, 408: the request came too slowly.
    RequestTimeout,
    /// `topic-closed`, 409: the topic is closed.
    TopicClosed,
    /// `topic-exists`, 409: the topic exists with other properties.
    TopicExists,
    /// `group-exists`, 409: the group exists with other properties.
    GroupExists,
    /// `content-type-mismatch`, 409: the topic has another content type.
    ContentTypeMismatch,
    /// `sequence-regression`, 409: the sequence went back.
    SequenceRegression,
    /// `producer-gap`, 409: batches before this one are missing.
    ProducerGap,
    /// `gap`, 410: messages were lost to retention.
    Gap,
    /// `stale-cursor`, 410: the cursor is from before the topic's time.
    StaleCursor,
    /// `topic-deleted`, 410: the topic was deleted.
    TopicDeleted,
    /// `too-large`, 413: too large.
    TooLarge,
    /// `uri-too-long`, 414: the URL is too long.
    UriTooLong,
    /// `unsupported-media-type`, 415: the content type is not supported here.
    UnsupportedMediaType,
    /// `idempotency-key-reused`, 422: the key was used for another request.
    IdempotencyKeyReused,
    /// `headers-too-large`, 431: the headers are too large.
    HeadersTooLarge,
    /// `too-many`, 429: too many.
    TooMany,
    /// `internal`, 500: something in the hub failed.
    Internal,
    /// `not-implemented`, 501: not implemented.
    NotImplemented,
    /// `responder-lost`, 502: the responder was lost.
    ResponderLost,
    /// `no-responder`, 503: no responder serves this service.
    NoResponder,
    /// `overloaded`, 503: too much to do.
    Overloaded,
    /// `shutting-down`, 503: the hub is shutting down.
    ShuttingDown,
    /// `storage-unavailable`, 503: the storage does not answer.
    StorageUnavailable,
    /// `deadline`, 504: no reply in time.
    Deadline,
    /// `storage-full`, 507: the storage is full.
    StorageFull,
    /// `storage-damaged`, 500: stored data is damaged.
    StorageDamaged,
    /// Sent by a newer hub, or by something in between; the hub itself never uses it.
    Unknown,
}

impl Kind {
    /// Every kind but [`Kind::Unknown`], by status.
    pub fn all() -> impl Iterator<Item = Kind> {
        TABLE.iter().map(|row| row.kind)
    }

    /// The kind with this slug.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Kind> {
        TABLE.iter().find(|row| row.slug == slug).map(|row| row.kind)
    }

    /// The kind of a problem's `type`, which is a path or a URL that ends in it.
    #[must_use]
    pub fn from_path(path: &str) -> Kind {
        path.rsplit_once("/problems/").and_then(|(_, slug)| Kind::from_slug(slug)).unwrap_or(Kind::Unknown)
    }

    /// The stable name in URLs.
    #[must_use]
    pub fn slug(self) -> &'static str {
        self.row().slug
    }

    /// The problem's `type`: `/problems/<slug>`, where the hub explains it.
    #[must_use]
    pub fn path(self) -> String {
        format!("/problems/{}", self.slug())
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// A short summary, the same for every occurrence.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// Whether the same request may well succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.row().retryable
    }

    /// What to do about it, in a paragraph.
    #[must_use]
    pub fn advice(self) -> &'static str {
        self.row().advice
    }

    /// The page at `GET /problems/{slug}`, plain text.
    #[must_use]
    pub fn page(self) -> String {
        let Row { slug, status, title, advice, retryable, .. } = self.row();
        let again =
            if *retryable { "The same request may succeed later." } else { "The same request will fail again." };
        format!("{slug}: {title}\nHTTP status {status}. {again}\n\n{advice}\n")
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.kind == self).unwrap_or(&UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_names() {
        for kind in Kind::all() {
            assert_eq!(Kind::from_slug(kind.slug()), Some(kind));
            assert_eq!(Kind::from_path(&kind.path()), kind);
            assert_eq!(Kind::from_path(&format!("http://hub:7070{}", kind.path())), kind);
            assert!((400..600).contains(&kind.status()) && kind.page().contains(kind.advice()));
            assert!(kind.advice().ends_with('.') && !kind.title().ends_with('.'), "{kind:?}");
        }
        assert_eq!(Kind::from_path("about:blank"), Kind::Unknown);
        assert_eq!(Kind::Unknown.slug(), "unknown");
    }
}
