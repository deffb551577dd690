//! Reads the log in its own order, for readers of filters that lag: what is wanted is found by the segments' indexes, a
//! stretch of the log at a time.

use std::io;
use std::sync::Arc;

use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{Record, TopicConfig};
use quintet_core::engine::{ScanPage, ScanRequest};
use quintet_core::error::{Error, Kind, Result};
use quintet_core::name::TopicName;

use crate::format::record::{RawRecord, RecordKind};
use crate::index::{DELETIONS, Entry, OffsetMap};
use crate::read::fetch::{Fetched, fetch, keep};
use crate::recovery::damage::DamagedOffsets;
use crate::segments::segment::Segment;
use crate::shared::Shared;

/// Bytes of the log that are looked at together.
const WINDOW_BYTES: u32 = 4 << 20;
/// Stretches, or whole segments that are passed over, in one turn; a page may come back empty, but further on.
const WINDOWS_MAX: usize = 64;

/// A segment that is compacted away while it is read is looked up anew so often.
const ATTEMPTS: usize = 4;

/// Reads a page.
pub(crate) fn scan(shared: &Shared, request: &ScanRequest) -> Result<ScanPage> {
    let through = request.through.0.min(shared.topics.lock().last).max(request.after.0);
    let mut scanning = Scanning {
        shared,
        request,
        wanted: OffsetMap::default(),
        page: ScanPage::default(),
        bytes: 0,
        at: request.after.0,
    };
    for _ in 0..ATTEMPTS {
        match scanning.run(through) {
            // Compaction or retention took the segment; now it is seen what there is instead.
            Err(Stop::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(Stop::Io(error)) => {
                let detail = format!("the log cannot be read now: {error}");
                return Err(Error::with_source(Kind::StorageUnavailable, detail, error));
            }
            Err(Stop::Failed(error)) => return Err(error),
            Ok(()) => break,
        }
    }
    let mut page = scanning.page;
    let gaps = shared.topics.lock().trimmed_behind(request.after.0, scanning.at);
    page.gaps = gaps.into_iter().filter(|(name, _)| (request.wanted)(name)).map(|(n, t)| (n, Offset(t))).collect();
    page.through = Offset(scanning.at);
    Ok(page)
}

enum Window {
    /// Everything up to here was seen.
    Passed(u64),
    /// The page is full; up to here everything was seen.
    Full(u64),
}

enum Stop {
    Io(io::Error),
    Failed(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A wanted topic.
#[derive(Debug, Clone)]
struct WantedTopic {
    name: TopicName,
    config: Arc<TopicConfig>,
    trimmed_through: u64,
    /// Its last message that was met.
    seen: u64,
}

struct Scanning<'a> {
    shared: &'a Shared,
    request: &'a ScanRequest,
    /// What is known of the topics that were met: none if they are not wanted, or gone.
    wanted: OffsetMap<Option<WantedTopic>>,
    page: ScanPage,
    bytes: usize,
    /// Everything up to here was seen.
    at: u64,
}

impl Scanning<'_> {
    /// Goes on from where it is, until the page is full or enough has been looked at.
    fn run(&mut self, through: u64) -> Result<(), Stop> {
        let segments = self.shared.segments.all();
        let first = segments.partition_point(|segment| segment.end() <= self.at);
        let mut n_windows = 0;
        for segment in &segments[first..] {
            self.at = self.at.max(segment.base().saturating_sub(1)).min(through);
            while self.at < through.min(segment.end()) {
                n_windows += 1;
                if n_windows > WINDOWS_MAX {
                    return Ok(());
                }
                match self.window(segment, self.at, through)? {
                    Window::Passed(to) => self.at = to,
                    Window::Full(to) => {
                        self.at = to;
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn window(&mut self, segment: &Segment, after: u64, through: u64) -> Result<Window, Stop> {
        let segments = &self.shared.segments;
        let mut to = segments.window_end(segment, after, WINDOW_BYTES)?.min(through);
        if let Some(lost) = segments.unknown_loss(after, to) {
            // Whose messages were lost is not known, so nobody passes as if nothing had been.
            if lost.after > after {
                to = lost.after;
            } else if self.page.records.is_empty() {
                return Err(Stop::Failed(lost_error(&lost)));
            } else {
                return Ok(Window::Full(after));
            }
        }
        let entries = segments.entries_between(segment, after, to, |topic| self.wants(topic))?;
        let entries: Vec<(u64, Entry)> =
            entries.into_iter().filter(|(topic, entry)| self.is_kept(*topic, entry)).collect();
        if entries.is_empty() {
            return Ok(Window::Passed(to));
        }
        let room = self.request.messages.max(1).saturating_add(1).saturating_sub(self.page.records.len());
        let places: Vec<Entry> = entries.iter().take(room).map(|(_, entry)| *entry).collect();
        let more = entries.len() > places.len();
        let handle = segments.handle(segment)?;
        let mut i = 0;
        let mut full = None;
        let mut failed = None;
        fetch(&*handle.data, self.shared.head.salt, &places, |entry, fetched| {
            let topic = entries[i].0;
            i += 1;
            let taken = match fetched {
                Fetched::Intact { record, source } => self.take(topic, &record, source),
                Fetched::Damaged => Err(self.damaged(topic, entry, segment)),
            };
            match taken {
                Ok(true) => true,
                Ok(false) => {
                    full = Some(entry.offset - 1);
                    false
                }
                // What stands before the damage is good; the next page begins with it.
                Err(_) if !self.page.records.is_empty() => {
                    full = Some(entry.offset - 1);
                    false
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        match (failed, full) {
            (Some(error), _) => Err(Stop::Failed(error)),
            (None, Some(to)) => Ok(Window::Full(to)),
            (None, None) if more => Ok(Window::Full(places.last().map_or(after, |entry| entry.offset))),
            (None, None) => Ok(Window::Passed(to)),
        }
    }

    fn wants(&mut self, topic: u64) -> bool {
        if topic == DELETIONS {
            return true;
        }
        if let Some(known) = self.wanted.get(&topic) {
            return known.is_some();
        }
        let found =
            self.shared.topics.lock().get(topic).filter(|entry| !entry.lineage.hidden).map(|entry| WantedTopic {
                name: entry.name.clone(),
                config: Arc::clone(&entry.config),
                trimmed_through: entry.trimmed_through,
                seen: self.request.after.0.max(entry.trimmed_through).max(entry.lineage.through),
            });
        let found = found.filter(|topic| (self.request.wanted)(&topic.name));
        let wanted = found.is_some();
        self.wanted.insert(topic, found);
        wanted
    }

    fn is_kept(&self, topic: u64, entry: &Entry) -> bool {
        topic == DELETIONS
            || self.wanted.get(&topic).and_then(Option::as_ref).is_some_and(|t| entry.offset > t.trimmed_through)
    }

    /// Takes a record into the page; false if the page is full.
    fn take(&mut self, topic: u64, raw: &RawRecord<'_>, source: Option<&bytes::Bytes>) -> Result<bool> {
        let record = if matches!(raw.kind, RecordKind::Deleted | RecordKind::Hidden) {
            let name = raw.name().filter(|name| (self.request.wanted)(name));
            // Whether it is kept for forks is nothing to readers.
            name.map(|topic| Record::Deleted { topic, offset: Offset(raw.offset) })
        } else {
            let topic = self.wanted.get(&topic).and_then(Option::as_ref);
            topic.and_then(|topic| raw.decode(&topic.name, &topic.config, |payload| keep(payload, source)))
        };
        let Some(record) = record else { return Ok(true) };
        let bytes = match &record {
            Record::Message(message) => {
                self.check_chain(topic, message.previous.0, message.offset.0)?;
                self.bytes + message.payload.len()
            }
            Record::Created { .. }
            | Record::Producer { .. }
            | Record::StreamSeq { .. }
            | Record::MessageId { .. }
            | Record::Group { .. }
            | Record::GroupStep { .. }
            | Record::Closed { .. }
            | Record::Hidden { .. }
            | Record::Deleted { .. } => self.bytes,
        };
        let over = self.page.records.len() >= self.request.messages || bytes > self.request.bytes;
        if over && !self.page.records.is_empty() {
            return Ok(false);
        }
        self.bytes = bytes;
        self.page.records.push(record);
        Ok(true)
    }

    /// A message names the one before it; if that was not met, it may have been lost in a damaged stretch.
    fn check_chain(&mut self, topic: u64, previous: u64, offset: u64) -> Result<()> {
        let segments = &self.shared.segments;
        let Some(Some(topic)) = self.wanted.get_mut(&topic) else { return Ok(()) };
        if previous > topic.seen
            && let Some(lost) = segments.damage_at(previous)
        {
            return Err(damaged(topic.name.as_str(), previous, &lost.segment.file()));
        }
        topic.seen = topic.seen.max(offset);
        Ok(())
    }

    fn damaged(&self, topic: u64, entry: &Entry, segment: &Segment) -> Error {
        let name = self.wanted.get(&topic).and_then(Option::as_ref).map(|topic| topic.name.as_str());
        damaged(name.unwrap_or("(deleted)"), entry.offset, &segment.key.file())
    }
}

fn lost_error(lost: &DamagedOffsets) -> Error {
    let detail = format!(
        "the log is damaged on disk between the offsets {} and {} (in {}), and it is not known which topics lost \
         messages there; `quintet store check` lists what is damaged, `quintet store repair` sets it aside",
        lost.after,
        lost.before,
        lost.segment.file()
    );
    Error::new(Kind::StorageDamaged, detail)
}

fn damaged(topic: &str, offset: u64, file: &str) -> Error {
    tracing::error!(topic, offset, file, "a stored message is damaged");
    let detail = format!(
        "a message of the topic {topic} at the offset {offset} is damaged on disk (in {file}); \
         `quintet store check` lists what is damaged, `quintet store repair` sets it aside"
    );
    Error::new(Kind::StorageDamaged, detail)
}
