//! Topics as things: list, describe, create, close, delete. What is in them is for the patterns.

use std::fmt::Write;

use http::Method;
use http::header::CONTENT_TYPE;
use quintet_wire::header;
use quintet_wire::token::Token;
use quintet_wire::topics::{Description, Page};

use crate::client::{Client, path, query};
use crate::error::Error;
use crate::http::{json, value};

/// How a topic is created. Whatever is not set is the hub's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The content type, which all its messages then must have; `application/octet-stream` when not set.
    pub content_type: Option<String>,
    /// `disk` or `memory`.
    pub durability: Option<String>,
    /// Seconds without reads and writes after which it expires.
    pub ttl_s: Option<u64>,
    /// When it expires, RFC 3339; not together with `ttl_s`.
    pub expires_at: Option<String>,
    /// Seconds for which messages are retained.
    pub retain_age_s: Option<u64>,
    /// How many messages are retained.
    pub retain_count: Option<u64>,
    /// How many bytes are retained.
    pub retain_bytes: Option<u64>,
}

impl Client {
    /// One page of the topics that match a filter (`#` for all), in order of name, after this one.
    ///
    /// Dropping the future abandons the question.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn topics_page(&self, filter: &str, after: Option<&str>) -> Result<Page, Error> {
        let mut target = format!("/topics?filter={}", query(filter));
        if let Some(after) = after {
            write!(target, "&after={}", query(after)).expect("a string takes every text");
        }
        json(self.send(self.get(&target)).await?).await
    }

    /// All topics that match a filter (`#` for all), in order of name.
    ///
    /// Dropping the future abandons the questions.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn topics(&self, filter: &str) -> Result<Vec<Description>, Error> {
        let mut page = self.topics_page(filter, None).await?;
        let mut topics = page.topics;
        while let Some(after) = page.next {
            page = self.topics_page(filter, Some(&after)).await?;
            topics.append(&mut page.topics);
        }
        Ok(topics)
    }

    /// What the hub tells about a topic; `None` when there is none of this name.
    ///
    /// Dropping the future abandons the question.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn describe_topic(&self, topic: &str) -> Result<Option<Description>, Error> {
        // A name without wildcards is a filter that only the topic itself matches.
        let page = self.topics_page(topic, None).await?;
        Ok(page.topics.into_iter().find(|description| description.topic == topic))
    }

    /// Creates a topic; tells whether it is new (and not there already, with the same properties).
    ///
    /// Dropping the future abandons the request: the topic may or may not exist then.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses, e.g. with `topic-exists`.
    pub async fn create_topic(&self, topic: &str, options: &Options) -> Result<bool, Error> {
        let mut request = self.at(Method::PUT, &path("/topics/", topic)?);
        let numbers = [
            (header::STREAM_TTL, options.ttl_s),
            (header::QUINTET_RETAIN_AGE, options.retain_age_s),
            (header::QUINTET_RETAIN_COUNT, options.retain_count),
            (header::QUINTET_RETAIN_BYTES, options.retain_bytes),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                request = request.header(name, number);
            }
        }
        let texts = [
            (CONTENT_TYPE.as_str(), &options.content_type),
            (header::QUINTET_DURABILITY, &options.durability),
            (header::STREAM_EXPIRES_AT, &options.expires_at),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                request = request.header(name, text);
            }
        }
        Ok(self.send(request).await?.status() == http::StatusCode::CREATED)
    }

    /// Closes a topic, so that nothing can be added any more; tells its tail. Closing it again changes nothing.
    ///
    /// Dropping the future abandons the request: the topic may or may not be closed then.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn close_topic(&self, topic: &str) -> Result<Token, Error> {
        let request = self.at(Method::POST, &path("/topics/", topic)?).header(header::STREAM_CLOSED, "true");
        value(self.send(request).await?.headers(), header::STREAM_NEXT_OFFSET)
    }

    /// Deletes a topic with all that is in it.
    ///
    /// Dropping the future abandons the request: the topic may or may not be gone then.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses, e.g. with `topic-not-found`.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        self.send(self.at(Method::DELETE, &path("/topics/", topic)?)).await.map(drop)
    }
}
