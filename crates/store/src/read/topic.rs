//! Reads a topic's messages.

use std::io;
use std::sync::Arc;

use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{Record, TopicConfig};
use quintet_core::engine::{ReadPage, ReadRequest};
use quintet_core::error::{Error, Kind, Result};
use quintet_core::message::Message;
use quintet_core::name::TopicName;

use crate::format::record::RawRecord;
use crate::index::Entry;
use crate::lineage::Stretch;
use crate::read::fetch::{Fetched, fetch, keep};
use crate::segments::segment::Segment;
use crate::shared::Shared;

/// Entries looked up at once; payloads are bounded by bytes as they come.
const ENTRIES_MAX: usize = 1_024;
/// A segment that is compacted away while it is read is looked up anew so often.
const ATTEMPTS: usize = 4;

/// Reads a page.
pub(crate) fn read(shared: &Shared, request: &ReadRequest) -> Result<ReadPage> {
    for _ in 0..ATTEMPTS {
        match Reading::begin(shared, request) {
            None => return Ok(ReadPage { complete: true, ..ReadPage::default() }),
            Some(reading) => match reading.run() {
                Err(Stop::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(Stop::Io(error)) => return Err(read_error(&request.topic, error)),
                Err(Stop::Damaged(error)) => return Err(error),
                Ok(page) => return Ok(page),
            },
        }
    }
    let detail = format!("the segments of the topic {} keep changing; try again", request.topic);
    Err(Error::new(Kind::StorageUnavailable, detail))
}

/// How many messages of a topic, and of its own, lie behind an offset.
pub(crate) fn count(shared: &Shared, name: &TopicName, created: Offset, after: Offset) -> Result<u64> {
    for _ in 0..ATTEMPTS {
        match count_now(shared, created.0, after.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            counted => return counted.map_err(|error| read_error(name, error)),
        }
    }
    let detail = format!("the segments of the topic {name} keep changing; try again");
    Err(Error::new(Kind::StorageUnavailable, detail))
}

fn count_now(shared: &Shared, id: u64, after: u64) -> io::Result<u64> {
    let after = {
        let topics = shared.topics.lock();
        let Some(entry) = topics.get(id) else { return Ok(0) };
        if after <= entry.trimmed_through.max(id) {
            return Ok(entry.messages);
        }
        if after >= entry.last {
            return Ok(0);
        }
        after
    };
    let segments = shared.segments.all();
    let first = segments.partition_point(|segment| segment.end() <= after);
    let counts = segments[first..].iter().map(|segment| shared.segments.n_messages_after(segment, id, after));
    counts.sum()
}

enum Stop {
    Io(io::Error),
    Damaged(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A page while it is read.
struct Reading<'a> {
    shared: &'a Shared,
    request: &'a ReadRequest,
    name: TopicName,
    /// Whose messages it consists of, the oldest first, and how those topics are set up.
    stretches: Vec<(Stretch, Arc<TopicConfig>)>,
    /// The topic's last message when the reading began.
    last: u64,
    trimmed_through: u64,
    /// Up to where the topic has been read.
    at: u64,
    messages: Vec<Arc<Message>>,
    bytes: usize,
    full: bool,
}

impl<'a> Reading<'a> {
    fn begin(shared: &'a Shared, request: &'a ReadRequest) -> Option<Self> {
        let topics = shared.topics.lock();
        let entry = topics.get(request.created.0)?;
        Some(Self {
            shared,
            request,
            name: entry.name.clone(),
            stretches: topics
                .stretches(request.created.0)
                .into_iter()
                .filter_map(|stretch| Some((stretch, Arc::clone(&topics.get(stretch.topic)?.config))))
                .collect(),
            last: entry.last,
            trimmed_through: entry.trimmed_through,
            at: request.after.0.max(entry.trimmed_through),
            messages: Vec::new(),
            bytes: 0,
            full: false,
        })
    }

    fn run(mut self) -> Result<ReadPage, Stop> {
        for (stretch, config) in std::mem::take(&mut self.stretches) {
            self.at = self.at.max(stretch.after);
            self.read_stretch(stretch, &config)?;
            if self.full {
                break;
            }
            if stretch.to <= self.last {
                self.at = self.at.max(stretch.to);
            }
        }
        if !self.full && self.at < self.last {
            // The index knows nothing of messages that the topic had: they lie in a damaged stretch, or were set aside.
            match self.missing(self.last) {
                Some(error) if self.messages.is_empty() => return Err(Stop::Damaged(error)),
                Some(_) => self.full = true,
                None if self.messages.is_empty() => self.trimmed_through = self.trimmed_through.max(self.last),
                None => self.full = true,
            }
        }
        if !self.full
            && let Some(lost) = self.shared.segments.unknown_loss(self.at, u64::MAX)
        {
            // Behind the topic's last message something was lost, and it may have been the topic's.
            if self.messages.is_empty() {
                let (from, to) = (self.at.max(lost.after) + 1, lost.before.saturating_sub(1));
                return Err(Stop::Damaged(damage_error(&self.name, from, to, &lost.segment.file())));
            }
            self.full = true;
        }
        Ok(ReadPage { complete: !self.full, messages: self.messages, trimmed_through: Offset(self.trimmed_through) })
    }

    fn read_stretch(&mut self, stretch: Stretch, config: &TopicConfig) -> Result<(), Stop> {
        let segments = self.shared.segments.all();
        let from = self.at.max(stretch.topic);
        let first = segments.partition_point(|segment| segment.end() <= from);
        for segment in &segments[first..] {
            if segment.base() > self.last.min(stretch.to) || self.full {
                break;
            }
            match self.read_segment(segment, stretch, config) {
                // What was read before the damage is good; the next page begins with the damage and says so.
                Err(Stop::Damaged(_)) if !self.messages.is_empty() => self.full = true,
                other => other?,
            }
        }
        Ok(())
    }

    fn read_segment(&mut self, segment: &Segment, stretch: Stretch, config: &TopicConfig) -> Result<(), Stop> {
        while !self.full {
            let count_max = ENTRIES_MAX.min((self.request.messages.max(1) - self.messages.len()).saturating_add(1));
            let entries = self.shared.segments.entries_after(segment, stretch.topic, self.at, count_max)?;
            let n = entries.len();
            let wanted = self.wanted(entries, self.last.min(stretch.to));
            let Some(last) = wanted.last() else { return Ok(()) };
            self.fetch(segment, &wanted, config)?;
            if !self.full {
                self.at = self.at.max(last.offset);
            }
            if wanted.len() == n && n < count_max {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Leaves out what is not visible yet, no message, or more than fits; the first that does not fit is kept, so that
    /// it is seen that there is more.
    fn wanted(&self, entries: Vec<Entry>, through: u64) -> Vec<Entry> {
        let mut bytes = self.bytes;
        let mut over = false;
        let fits = |entry: &Entry| {
            let fits = !over;
            bytes += entry.size as usize;
            // Sizes count headers too, so this stops no earlier than payloads alone would.
            over = bytes > self.request.bytes.saturating_mul(2).saturating_add(1 << 16);
            fits
        };
        let visible = entries.into_iter().take_while(|entry| entry.offset <= through);
        visible.take_while(fits).collect()
    }

    fn fetch(&mut self, segment: &Segment, entries: &[Entry], config: &TopicConfig) -> Result<(), Stop> {
        let handle = self.shared.segments.handle(segment)?;
        let mut stop = None;
        fetch(&*handle.data, self.shared.head.salt, entries, |entry, fetched| {
            let taken = match fetched {
                Fetched::Intact { record, source } => self.take(&record, config, source),
                Fetched::Damaged => Err(damaged(&self.name, entry.offset, entry.offset, segment)),
            };
            match taken {
                Ok(more) => more,
                Err(error) => {
                    stop = Some(error);
                    false
                }
            }
        })?;
        stop.map_or(Ok(()), |error| Err(Stop::Damaged(error)))
    }

    /// Takes a message into the page; false if the page is full.
    fn take(&mut self, raw: &RawRecord<'_>, config: &TopicConfig, source: Option<&bytes::Bytes>) -> Result<bool> {
        let record = raw.decode(&self.name, config, |payload| keep(payload, source));
        let Some(Record::Message(message)) = record else {
            self.at = raw.offset;
            return Ok(true);
        };
        // The chain proves that nothing between was missed.
        if message.previous.0 > self.at {
            if let Some(error) = self.missing(message.previous.0) {
                return Err(error);
            }
            if self.messages.is_empty() {
                self.trimmed_through = self.trimmed_through.max(message.previous.0);
            } else {
                self.full = true;
                return Ok(false);
            }
        }
        let bytes = self.bytes + message.payload.len();
        let over = self.messages.len() >= self.request.messages || bytes > self.request.bytes;
        if over && !self.messages.is_empty() {
            self.full = true;
            return Ok(false);
        }
        self.bytes = bytes;
        self.at = message.offset.0;
        self.messages.push(message);
        Ok(true)
    }

    /// The error for a message that should be there and is not, if it was lost by damage and not by retention.
    fn missing(&self, offset: u64) -> Option<Error> {
        let lost = self.shared.segments.damage_at(offset)?;
        let (from, to) = (self.at.max(lost.after) + 1, offset);
        Some(damage_error(&self.name, from, to, &lost.segment.file()))
    }
}

fn damaged(topic: &TopicName, from: u64, to: u64, segment: &Segment) -> Error {
    damage_error(topic, from, to, &segment.key.file())
}

fn damage_error(topic: &TopicName, from: u64, to: u64, file: &str) -> Error {
    tracing::error!(%topic, from, to, file, "stored messages are damaged");
    let detail = format!(
        "messages of the topic {topic} at the offsets {from} to {to} are damaged on disk (in {file}); \
         `quintet store check` lists what is damaged, `quintet store repair` sets it aside"
    );
    Error::new(Kind::StorageDamaged, detail)
}

pub(crate) fn read_error(topic: &TopicName, error: io::Error) -> Error {
    let detail = format!("the topic {topic} cannot be read now: {error}");
    Error::with_source(Kind::StorageUnavailable, detail, error)
}
