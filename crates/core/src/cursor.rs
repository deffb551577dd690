//! Where a reader stands: positions in a log, and the cursor that is made of them.
//!
//! How a cursor is written as text is the business of the wire format, not of this module.

use smallvec::SmallVec;

/// Names one log. Offsets of different logs cannot be compared. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

/// A place in a log, issued by the log and strictly increasing; 0 is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// Before the first record of a log.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An offset in a certain log: what was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The log. `LogId(0)` only in [`Position::START`].
    pub log: LogId,
    /// The offset of the last message read.
    pub offset: Offset,
}

impl Position {
    /// The start of any topic.
    pub const START: Self = Self { log: LogId(0), offset: Offset::ZERO };

    /// Whether this is the start, whatever the log.
    pub fn is_start(self) -> bool {
        self.log.0 == 0 && self.offset == Offset::ZERO
    }
}

/// A reader's place: one position for a topic, one per log for a filter. Empty means the start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Cursor {
    positions: SmallVec<[Position; 2]>,
}

impl Cursor {
    /// The start of everything.
    pub fn start() -> Self {
        Self::default()
    }

    /// A cursor made of these positions, at most one per log; starts are left out.
    pub fn new(positions: impl IntoIterator<Item = Position>) -> Self {
        let mut positions: SmallVec<[Position; 2]> = positions.into_iter().filter(|p| !p.is_start()).collect();
        positions.sort_unstable();
        positions.dedup_by_key(|p| p.log);
        Self { positions }
    }

    /// The positions, ordered by log.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// The position in this log.
    pub fn in_log(&self, log: LogId) -> Option<Offset> {
        self.positions.iter().find(|p| p.log == log).map(|p| p.offset)
    }

    /// Whether this is the start.
    pub fn is_start(&self) -> bool {
        self.positions.is_empty()
    }

    /// The cursor as the one position of a topic.
    pub fn position(&self) -> Position {
        self.positions.first().copied().unwrap_or(Position::START)
    }

    /// Moves the cursor on in one log.
    pub fn advance(&mut self, to: Position) {
        match self.positions.iter_mut().find(|p| p.log == to.log) {
            Some(position) => position.offset = to.offset,
            None => {
                self.positions.push(to);
                self.positions.sort_unstable();
            }
        }
    }
}

impl From<Position> for Cursor {
    fn from(position: Position) -> Self {
        Self::new([position])
    }
}

/// Where a reader wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// With the oldest message that is kept.
    Start,
    /// With what is published from now on.
    Now,
    /// With what follows this cursor.
    After(Cursor),
}
