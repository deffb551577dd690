//! What a check or a repair found.

use std::fmt;

use quintet_core::cursor::{LogId, Offset};
use quintet_core::name::TopicName;

/// What a check or a repair found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The log's id.
    pub log: Option<LogId>,
    /// Segment files.
    pub segments: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Intact records.
    pub records: u64,
    /// Living topics.
    pub topics: usize,
    /// Checkpoints that are intact.
    pub checkpoints: usize,
    /// Bytes at the end that are not whole and that nothing shows to have been acknowledged: most likely they were being
    /// written when the process or the machine stopped. Opening cuts them off.
    pub torn_bytes: u64,
    /// Indexes that are missing or damaged; they are made again when they are needed.
    pub indexes_to_make: Vec<String>,
    /// What is damaged.
    pub damages: Vec<Damage>,
    /// What the disk cannot read.
    pub unreadable: Vec<Unreadable>,
    /// Where a repair has put the damaged files.
    pub set_aside: Vec<String>,
}

/// A damaged stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// From which byte on.
    pub from: u64,
    /// Up to which byte.
    pub to: u64,
    /// What was lost lies behind this offset.
    pub after: Offset,
    /// And before this one.
    pub before: Offset,
    /// Messages that were there, as far as it is known.
    pub messages: Vec<(TopicName, Offset)>,
    /// Whether there may have been more.
    pub more: bool,
    /// Whether nothing is lost but the names: messages are there whose topics' creation is lost, so that nobody can ask
    /// for them.
    pub nameless: bool,
}

impl Damage {
    /// A damaged stretch of which nothing more is known.
    pub(crate) fn at(file: String, (from, to): (u64, u64), (after, before): (u64, u64)) -> Self {
        let (after, before) = (Offset(after), Offset(before));
        Self { file, from, to, after, before, messages: Vec::new(), more: false, nameless: false }
    }
}

/// A stretch of a file that the disk cannot read. What is lost by it is told as [`Damage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub file: String,
    /// From which byte on.
    pub from: u64,
    /// Up to which byte.
    pub to: u64,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_intact(&self) -> bool {
        self.damages.is_empty() && self.unreadable.is_empty()
    }

    /// Whether something of this file is damaged.
    pub(crate) fn is_damaged(&self, file: &str) -> bool {
        self.damages.iter().any(|damage| damage.file == file)
            || self.unreadable.iter().any(|unreadable| unreadable.file == file)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.log.map_or(0, |log| log.0);
        writeln!(
            f,
            "log {log:08x}: {} topics, {} records in {} segments of {} bytes, {} checkpoints",
            self.topics, self.records, self.segments, self.bytes, self.checkpoints
        )?;
        if self.torn_bytes > 0 {
            writeln!(
                f,
                "{} bytes at the end are not whole, nothing shows that they had been acknowledged, and they will be cut off",
                self.torn_bytes
            )?;
        }
        for index in &self.indexes_to_make {
            writeln!(f, "{index} is missing or damaged and will be made again")?;
        }
        for Unreadable { file, from, to } in &self.unreadable {
            writeln!(f, "{file}: bytes {from} to {to} cannot be read: the disk gives an error")?;
        }
        for damage in &self.damages {
            write!(f, "{damage}")?;
        }
        for file in &self.set_aside {
            writeln!(f, "set aside: {file}")?;
        }
        let verdict = if self.is_intact() { "nothing is damaged" } else { "damaged" };
        writeln!(f, "{verdict}")
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, from, to, after, before, .. } = self;
        let (after, before) = (after.0, before.0);
        if self.nameless {
            let which = format!("bytes {from} to {to} hold messages (between offsets {after} and {before})");
            return writeln!(f, "{file}: {which} of topics whose creation is lost, so that they cannot be read");
        }
        writeln!(f, "{file}: bytes {from} to {to} are damaged (between offsets {after} and {before})")?;
        for (topic, offset) in &self.messages {
            writeln!(f, "  lost: a message of {topic} at offset {}", offset.0)?;
        }
        if self.more {
            writeln!(f, "  lost: it is not known whose messages, or what else")?;
        }
        Ok(())
    }
}
