//! The table behind [`Kind`]: one row each. Titles and advice are for people and may change; slugs may not.

use crate::problem::kind::Kind;

/// What there is to know about a kind.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) slug: &'static str,
    pub(crate) status: u16,
    pub(crate) retryable: bool,
    pub(crate) title: &'static str,
    pub(crate) advice: &'static str,
}

/// What stands for [`Kind::Unknown`].
pub(crate) const UNKNOWN: Row =
    row(Kind::Unknown, "unknown", 500, FINAL, "unknown problem", "The detail may say more.");

const RETRY: bool = true;
const FINAL: bool = false;

const fn row(
    kind: Kind,
    slug: &'static str,
    status: u16,
    retryable: bool,
    title: &'static str,
    advice: &'static str,
) -> Row {
    Row { kind, slug, status, retryable, title, advice }
}

/// Every kind but `Unknown`, by status.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row(Kind::BadRequest, "bad-request", 400, FINAL, "the request was not understood",
        "The detail names the part of the request that is wrong. Correct it; the same request will fail again."),
    row(Kind::BadCursor, "bad-cursor", 400, FINAL, "not a cursor",
        "A cursor is a value the hub issued: `Stream-Next-Offset`, an event's `id`, a delivery's `next`. Send such a \
         value unchanged, or `start`, `-1` or `now`. A cursor beyond the end of the log is refused too: it was issued \
         by another hub, or by this one before it lost its data."),
    row(Kind::BadName, "bad-name", 400, FINAL, "not a name",
        "A topic's name has levels separated by `/`, none of them empty, without control characters, `+` or `#`; it is \
         at most 512 bytes and 32 levels long. A filter may hold `+` for one level and end in `#` for the rest. Names \
         that begin with `$` belong to the hub."),
    row(Kind::BadJson, "bad-json", 400, FINAL, "not valid JSON",
        "The body's content type says JSON, but it does not parse. The detail says where. Send valid JSON, or another \
         content type."),
    row(Kind::EmptyBody, "empty-body", 400, FINAL, "the body is empty",
        "A message needs at least one byte, and a JSON batch at least one element. To close a topic without a message, \
         send `Stream-Closed: true`."),
    row(Kind::BadHeader, "bad-header", 400, FINAL, "a header was not understood",
        "The detail names the header and what it may hold. `Producer-Id`, `Producer-Epoch` and `Producer-Seq` come \
         together or not at all."),
    row(Kind::BadProducerSequence, "bad-producer-sequence", 400, FINAL, "a new epoch begins at sequence 0",
        "A producer that raises its epoch numbers its batches from 0 again. Send the first batch of the new epoch with \
         sequence 0."),
    row(Kind::Unauthenticated, "unauthenticated", 401, FINAL, "a token is needed",
        "Send `Authorization: Bearer <token>` (or, where headers cannot be set, the query parameter `access_token`) \
         with a token from the hub's configuration."),
    row(Kind::Forbidden, "forbidden", 403, FINAL, "not allowed",
        "The token does not allow this operation on this name, or the name is reserved for the hub. Ask whoever \
         configures the hub for a token that does."),
    row(Kind::ForeignOrigin, "foreign-origin", 403, FINAL, "the origin is not allowed",
        "A web page from another origin, or a request for another host name, may not use this hub unless its \
         configuration lists that origin or host. This keeps web pages from reaching a hub on their reader's own \
         machine."),
    row(Kind::StaleProducerEpoch, "stale-producer-epoch", 403, FINAL, "another producer took over",
        "A producer with the same id and a higher epoch has published since. If that was you, go on with the epoch \
         after the one in `epoch`, from sequence 0; if not, stop: two producers share one id."),
    row(Kind::NotFound, "not-found", 404, FINAL, "no such resource",
        "There is nothing at this path. The documentation lists the paths that exist."),
    row(Kind::TopicNotFound, "topic-not-found", 404, FINAL, "no such topic",
        "The topic does not exist, and here it is not created on first use. Create it with `PUT`."),
    row(Kind::GroupNotFound, "group-not-found", 404, FINAL, "no such group",
        "The consumer group does not exist, or was deleted. Create it with `PUT /groups/{group}`."),
    row(Kind::RequestNotFound, "request-not-found", 404, FINAL, "nobody waits for this request",
        "The caller is gone, the deadline has passed, or the request was answered already. Drop the work and take the \
         next request."),
    row(Kind::MethodNotAllowed, "method-not-allowed", 405, FINAL, "the method is not allowed here",
        "The header `Allow` lists the methods of this resource."),
    row(Kind::NotAcceptable, "not-acceptable", 406, FINAL, "the messages have several types",
        "The topic holds messages of different content types, which a plain body cannot tell apart. Ask for envelopes: \
         `Accept: application/vnd.quintet.messages+json`."),
    row(Kind::RequestTimeout, "request-timeout", 408, RETRY, "the request came too slowly",
        "The hub waited too long for the rest of the request. Send it again."),
    row(Kind::TopicClosed, "topic-closed", 409, FINAL, "the topic is closed",
        "A closed topic takes no more messages. Use another topic, or delete this one and create it again."),
    row(Kind::TopicExists, "topic-exists", 409, FINAL, "the topic exists with other properties",
        "A topic of this name exists, and its content type, durability, lifetime or closure differ from what was asked \
         for. Ask for the same, or delete it first."),
    row(Kind::GroupExists, "group-exists", 409, FINAL, "the group exists with other properties",
        "A consumer group of this name exists, and its filter or durability, which do not change while it lives, differ \
         from what was asked for. Ask for the same, or delete it first."),
    row(Kind::ContentTypeMismatch, "content-type-mismatch", 409, FINAL, "the topic has another content type",
        "The topic was created with a fixed content type. Send messages of that type, or use another topic."),
    row(Kind::SequenceRegression, "sequence-regression", 409, FINAL, "the sequence went back",
        "`Stream-Seq` must grow with every message, compared as text. The message was not stored; it is probably a \
         repetition."),
    row(Kind::ProducerGap, "producer-gap", 409, FINAL, "batches before this one are missing",
        "The batch's sequence number is beyond the expected one, which is in `expected`. Send the missing batches \
         first. If they had been acknowledged, the topic was lost or deleted meanwhile: raise the epoch and send from \
         sequence 0 whatever is not acknowledged."),
    row(Kind::Gap, "gap", 410, FINAL, "messages were lost to retention",
        "Messages after this cursor were removed before they were read. Reading can go on from the cursor in \
         `first_available`; what lies between is gone."),
    row(Kind::StaleCursor, "stale-cursor", 410, FINAL, "the cursor is from before the topic's time",
        "The topic was deleted and created again, or moved to another log, since this cursor was issued. Begin again \
         from `start` or `now`."),
    row(Kind::TopicDeleted, "topic-deleted", 410, FINAL, "the topic was deleted",
        "The topic was deleted while it was read. A topic of the same name that is created later is another one."),
    row(Kind::TooLarge, "too-large", 413, FINAL, "too large",
        "The body, a message or a batch is larger than the hub's limit, which the detail names. Split it."),
    row(Kind::UriTooLong, "uri-too-long", 414, FINAL, "the URL is too long",
        "Shorten the URL: topic names are at most 512 bytes."),
    row(Kind::UnsupportedMediaType, "unsupported-media-type", 415, FINAL, "the content type is not supported here",
        "The detail names the types that this resource takes."),
    row(Kind::IdempotencyKeyReused, "idempotency-key-reused", 422, FINAL, "the key was used for another request",
        "An `Idempotency-Key` belongs to one request with one body. Use a new key for a new request."),
    row(Kind::HeadersTooLarge, "headers-too-large", 431, FINAL, "the headers are too large",
        "Send fewer or shorter headers; a message may have 64 of its own, of 16 KiB in all."),
    row(Kind::TooMany, "too-many", 429, RETRY, "too many",
        "A limit on how many of these there may be is reached; the detail names it. Wait for the time in `Retry-After`, \
         or use fewer."),
    row(Kind::Internal, "internal", 500, RETRY, "something in the hub failed",
        "This is a fault of the hub; its log says more. The request may or may not have had an effect: repeat it only \
         if it is safe to (a publish with a producer sequence or a `Message-Id`, a request with an `Idempotency-Key`)."),
    row(Kind::NotImplemented, "not-implemented", 501, FINAL, "not implemented",
        "This part of the protocol is not available in this version of the hub."),
    row(Kind::ResponderLost, "responder-lost", 502, RETRY, "the responder was lost",
        "The responder took the request and went away before it replied; whether it did the work is unknown. Repeat the \
         request if that is safe; with an `Idempotency-Key` the hub does so by itself."),
    row(Kind::NoResponder, "no-responder", 503, RETRY, "no responder serves this service",
        "Nobody is registered for the service now. Start a responder, or try again when one is up."),
    row(Kind::Overloaded, "overloaded", 503, RETRY, "too much to do",
        "The hub's queue for this is full. Wait for the time in `Retry-After` and try again."),
    row(Kind::ShuttingDown, "shutting-down", 503, RETRY, "the hub is shutting down",
        "The hub is stopping and takes no new work. Try again after the time in `Retry-After`; cursors stay valid."),
    row(Kind::StorageUnavailable, "storage-unavailable", 503, RETRY, "the storage does not answer",
        "The hub cannot write at the moment, so nothing was acknowledged. Try again; a publish with a producer sequence \
         can be repeated safely."),
    row(Kind::Deadline, "deadline", 504, RETRY, "no reply in time",
        "The responder did not reply within the time the caller gave. It was told that nobody waits any more. Give it \
         longer with `Prefer: wait=<seconds>`, or ask with `Prefer: respond-async` and follow the reply topic."),
    row(Kind::StorageFull, "storage-full", 507, RETRY, "the storage is full",
        "There is no room for the message, and it was not stored. Delete topics, shorten their retention, or give the \
         hub more space."),
    row(Kind::StorageDamaged, "storage-damaged", 500, FINAL, "stored data is damaged",
        "Data on disk does not match its checksum. What is intact can still be read; restore the rest from a backup. \
         The hub's log names the place."),
];
