//! Reads what a disk still gives of a file: a sector that cannot be read costs what stands in it and not the rest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::disk::File;

/// The bytes of a file as far as the disk gives them.
#[derive(Debug, Default)]
pub(crate) struct Surviving {
    /// All of the file; [`FILLER`] where it could not be read.
    pub(crate) bytes: Bytes,
    /// What could not be read, in order.
    pub(crate) unreadable: Vec<Range<usize>>,
}

/// Stands for what could not be read. It begins neither a batch nor a record, and is no zero, which would mean room that
/// was written ahead.
pub(crate) const FILLER: u8 = 0xA5;

/// The first pieces that are tried when a file cannot be read as a whole; their number is bounded too.
const PIECE_BYTES: usize = 1 << 20;
const PIECES_MAX: usize = 64;
/// No smaller piece is tried: a sector.
const PIECE_BYTES_MIN: usize = 512;
/// Where neither half of so little can be read, smaller pieces are not tried: the system reads no less than a page.
const PAGE_BYTES: usize = 4096;
/// Reads that may fail, each of which may take a disk seconds; what was not found readable until then is given up.
const FAILED_READS_MAX: usize = 256;

/// Whether a read failed because of what it was to read: a bad sector, or a checksum of the disk or the file system.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    // On Linux EIO, ENODATA (what a disk calls a medium error), EBADMSG, EILSEQ and EUCLEAN. EIO is 5 everywhere.
    const UNREADABLE: &[i32] = if cfg!(target_os = "linux") { &[5, 61, 74, 84, 117] } else { &[5] };
    error.raw_os_error().is_some_and(|number| UNREADABLE.contains(&number))
}

impl Surviving {
    /// Reads a file of this name; fails only for other reasons than that it cannot be read somewhere.
    pub(crate) fn read(file: &dyn File, name: &str) -> io::Result<Self> {
        let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let unreadable = match file.read_at(&mut bytes, 0) {
            Ok(()) => Vec::new(),
            Err(error) if is_unreadable(&error) => {
                let unreadable = read_in_pieces(file, &mut bytes)?;
                tracing::error!(file = name, bytes = ?unreadable, %error, "a part of a file cannot be read");
                unreadable
            }
            Err(error) => return Err(error),
        };
        Ok(Self { bytes: bytes.into(), unreadable })
    }

    /// Where what could be read ends that begins here.
    pub(crate) fn readable_to(&self, from: usize) -> usize {
        let next = self.unreadable.iter().find(|range| range.end > from);
        next.map_or(self.bytes.len(), |range| range.start.max(from))
    }
}

/// A piece that could not be read, the largest first, then the first in the file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    length: usize,
    from: Reverse<usize>,
}

impl Piece {
    fn of(piece: &Range<usize>) -> Self {
        Self { length: piece.len(), from: Reverse(piece.start) }
    }
}

/// A file while it is read in pieces.
struct Reading<'a> {
    file: &'a dyn File,
    bytes: &'a mut [u8],
    n_failed: usize,
}

impl Reading<'_> {
    /// Whether a piece can be read.
    fn read(&mut self, piece: Range<usize>) -> io::Result<bool> {
        match self.file.read_at(&mut self.bytes[piece.clone()], piece.start as u64) {
            Ok(()) => Ok(true),
            Err(error) if is_unreadable(&error) => {
                self.n_failed += 1;
                self.bytes[piece].fill(FILLER);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Halves what cannot be read until it is small enough, or until enough has failed.
fn read_in_pieces(file: &dyn File, bytes: &mut [u8]) -> io::Result<Vec<Range<usize>>> {
    let length = bytes.len();
    let mut reading = Reading { file, bytes, n_failed: 1 };
    let mut failed = BinaryHeap::new();
    let first = length.div_ceil(PIECES_MAX).next_power_of_two().max(PIECE_BYTES);
    for from in (0..length).step_by(first) {
        let piece = from..length.min(from + first);
        if !reading.read(piece.clone())? {
            failed.push(Piece::of(&piece));
        }
    }
    let mut unreadable = Vec::new();
    while let Some(Piece { length, from: Reverse(from) }) = failed.pop() {
        if length <= PIECE_BYTES_MIN || reading.n_failed >= FAILED_READS_MAX {
            unreadable.push(from..from + length);
            continue;
        }
        // Halves are powers of two, so that they begin where pages and sectors do.
        let half = length.next_power_of_two() / 2;
        let mut bad = Vec::new();
        for piece in [from..from + half, from + half..from + length] {
            if !reading.read(piece.clone())? {
                bad.push(Piece::of(&piece));
            }
        }
        if bad.len() == 2 && length <= PAGE_BYTES {
            unreadable.push(from..from + length);
        } else {
            failed.extend(bad);
        }
    }
    Ok(joined(unreadable))
}

/// The stretches in order, those that touch as one.
fn joined(mut stretches: Vec<Range<usize>>) -> Vec<Range<usize>> {
    stretches.sort_unstable_by_key(|stretch| stretch.start);
    stretches.dedup_by(|next, stretch| {
        let touches = next.start == stretch.end;
        if touches {
            stretch.end = next.end;
        }
        touches
    });
    stretches
}

#[cfg(test)]
mod tests {
    #![expect(clippy::single_range_in_vec_init, reason = "a file that is bad in one place")]

    use super::*;
    use crate::disk::Disk;
    use crate::disk::faulty::FaultyDisk;

    /// What is found of a file of so many bytes, and how many reads failed.
    fn found(length: usize, bad: &[Range<usize>]) -> (Surviving, u64) {
        let disk = FaultyDisk::new();
        let file = disk.create("file").unwrap();
        let pattern: Vec<u8> = (0..=250).collect();
        let mut written = pattern.repeat(length / pattern.len() + 1);
        written.truncate(length);
        file.write_at(&written, 0).unwrap();
        bad.iter().for_each(|range| disk.make_unreadable("file", range.clone()));
        let found = Surviving::read(&*file, "file").unwrap();
        let mut expected = written;
        found.unreadable.iter().for_each(|range| expected[range.clone()].fill(FILLER));
        assert!(found.bytes == expected, "what could be read is what was written");
        for range in bad {
            let is_told =
                |range: &Range<usize>| found.unreadable.iter().any(|r| r.start <= range.start && r.end >= range.end);
            assert!(is_told(range), "{range:?} of {:?}", found.unreadable);
        }
        (found, disk.failed_reads())
    }

    #[test]
    fn a_sector_costs_a_sector_and_a_page_a_page() {
        assert_eq!(found(10_000, &[]).0.unreadable, []);
        let (sector, n_failed) = found(3_000_000, &[1_500_160..1_500_672]);
        assert_eq!(sector.unreadable, [1_500_160..1_500_672]);
        assert!(n_failed <= 13, "{n_failed}");
        let (page, n_failed) = found(3_000_000, &[1_499_136..1_503_232]);
        assert_eq!(page.unreadable, [1_499_136..1_503_232]);
        assert!(n_failed <= 13, "{n_failed}");
        let ends = [0..512, 99_840..100_000];
        assert_eq!(found(100_000, &ends).0.unreadable, ends);
        assert_eq!(found(64, &[0..64]).0.unreadable, [0..64]);
        assert_eq!(found(1_000, &[3..4]).0.unreadable, [0..512]);
        assert_eq!(found(1_000, &[999..1_000]).0.unreadable, [512..1_000]);
    }

    #[test]
    fn the_work_is_bounded_however_much_is_bad() {
        let failed_max = FAILED_READS_MAX as u64 + 2;
        for length in [16 << 20, 70 << 20] {
            let (all, n_failed) = found(length, &[0..length]);
            assert_eq!(all.unreadable, [0..length]);
            assert!(n_failed <= failed_max, "{n_failed}");
        }
        // A large stretch leaves most of what is beside it.
        let (stretch, n_failed) = found(16 << 20, &[5_000_000..9_000_000]);
        let n_lost: usize = stretch.unreadable.iter().map(Range::len).sum();
        assert!(n_lost < 4_200_000 && n_failed <= failed_max, "{n_lost} by {n_failed}");
        // Many sectors too.
        let many: Vec<_> = (0..2_000).map(|i| i * 8_192..i * 8_192 + 512).collect();
        assert!(found(16 << 20, &many).1 <= failed_max);
    }

    #[test]
    fn other_errors_are_not_taken_for_bad_sectors() {
        for (number, expected) in [(5, true), (1, false), (13, false), (28, false), (116, false)] {
            assert_eq!(is_unreadable(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
        assert!(!is_unreadable(&io::ErrorKind::UnexpectedEof.into()));
        assert!(!is_unreadable(&io::Error::other("the disk is gone")));
    }
}
