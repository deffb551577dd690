//! Finds a single flipped bit in a record by what it does to the checksum.
//!
//! A CRC is linear: what a flipped bit changes in it depends on the bit's distance from the end alone, so that one pass
//! over the bits finds the place. Two flipped bits are never taken for one. Other damage could be, by chance, the more
//! easily the more bits are looked at: so all bits of short records are, and of longer ones only the head's.

use crate::format::record::RECORD_HEAD;

/// All bits of records of up to so many bytes are looked at.
pub(crate) const SHORT_BYTES: usize = 4 * 1024;
/// Everything that tells what a record is lies in its first bytes; behind them comes the payload.
pub(crate) const HEAD_BYTES: usize = 48;
/// The polynomial of CRC-32C, its bits reversed as the checksum's are.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// To look at the bits of a byte costs as much as to checksum so many.
const BITS_WORK: usize = 32;

/// Bytes that may still be checksummed, so that crafted content cannot make opening slow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    left: usize,
}

impl Work {
    /// In proportion to the bytes that are looked at.
    pub(crate) fn for_bytes(bytes: usize, times: usize) -> Self {
        Self { left: bytes.saturating_mul(times).saturating_add(256 * 1024) }
    }

    /// Takes some; false, and none is left, if there is not enough.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    pub(crate) fn is_over(self) -> bool {
        self.left == 0
    }
}

/// A flipped bit: its byte, and its place there as a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flip {
    pub(crate) at: usize,
    pub(crate) mask: u8,
}

impl Flip {
    fn of_bit(at: usize, bit: u32) -> Self {
        Self { at: at + (bit / 8) as usize, mask: 1 << (bit % 8) }
    }
}

/// The single bit that is wrong in the record at the front of these bytes, and the record's length. `is_end` says where
/// a record may end, for the case that its length is wrong.
pub(crate) fn flip_in_record(
    bytes: &[u8],
    salt: u32,
    is_end: impl Fn(usize) -> bool,
    work: &mut Work,
) -> Option<(Flip, usize)> {
    let checksum = u32::from_le_bytes(*bytes.first_chunk()?);
    let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let end_of = |length: u32| {
        let end = RECORD_HEAD.saturating_add(length as usize);
        (length > 0 && end <= bytes.len()).then_some(end)
    };
    if let Some(end) = end_of(length) {
        let searched = if end <= SHORT_BYTES { end - 4 } else { HEAD_BYTES - 4 };
        if !work.take(end + searched * BITS_WORK) {
            return None;
        }
        let difference = crc32c::crc32c_append(salt, &bytes[4..end]) ^ checksum;
        let flip = find(difference, searched, end - 4 - searched);
        // Of a wrong length the checksum of so many bytes says nothing.
        if let Some(flip) = flip.filter(|flip| !(4..RECORD_HEAD).contains(&flip.at)) {
            return Some((flip, end));
        }
    }
    for bit in 0..u32::BITS {
        let length = length ^ 1 << bit;
        let Some(end) = end_of(length).filter(|end| is_end(*end)) else { continue };
        if !work.take(end) {
            return None;
        }
        let of_length = crc32c::crc32c_append(salt, &length.to_le_bytes());
        if crc32c::crc32c_append(of_length, &bytes[RECORD_HEAD..end]) == checksum {
            return Some((Flip::of_bit(4, bit), end));
        }
    }
    None
}

/// The bit that makes this difference: in the checksum at 0, or in the `searched` bytes from 4 on, behind which more come.
fn find(difference: u32, searched: usize, behind: usize) -> Option<Flip> {
    if difference.is_power_of_two() {
        return Some(Flip::of_bit(0, difference.trailing_zeros()));
    }
    let mut changed = crc32c::crc32c_combine(1, 0, behind);
    for at in (4..4 + searched).rev() {
        for bit in (0..8).rev() {
            changed = (changed >> 1) ^ if changed & 1 == 0 { 0 } else { POLYNOMIAL };
            if changed == difference {
                return Some(Flip { at, mask: 1 << bit });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: usize) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&(body as u32).to_le_bytes());
        bytes.extend((0..body).map(|i| (i * 31 % 120) as u8));
        let checksum = crc32c::crc32c_append(7, &bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn found(bytes: &[u8], is_end: impl Fn(usize) -> bool) -> Option<(Flip, usize)> {
        flip_in_record(bytes, 7, is_end, &mut Work::for_bytes(usize::MAX, 1))
    }

    #[test]
    fn every_bit_of_a_short_record_is_found() {
        for body in [5, 40, 300] {
            let bytes = record(body);
            // What stands behind it does not matter.
            let behind = [bytes.clone(), record(50)].concat();
            for bit in 0..bytes.len() as u32 * 8 {
                let mut broken = behind.clone();
                let flip = Flip::of_bit(0, bit);
                broken[flip.at] ^= flip.mask;
                let found = found(&broken, |end| end == bytes.len());
                assert_eq!(found, Some((flip, bytes.len())), "bit {bit} of {} bytes", bytes.len());
            }
        }
    }

    #[test]
    fn of_a_long_record_only_the_head_is_looked_at() {
        for body in [SHORT_BYTES, 300_000] {
            let bytes = record(body);
            for (at, is_found) in [(0, true), (6, true), (9, true), (47, true), (48, false), (body, false)] {
                let mut broken = bytes.clone();
                broken[at] ^= 4;
                let expected = is_found.then_some((Flip { at, mask: 4 }, bytes.len()));
                assert_eq!(found(&broken, |end| end == bytes.len()), expected, "byte {at}");
            }
        }
    }

    #[test]
    fn two_bits_are_not_taken_for_one() {
        let bytes = record(60);
        for one in 0..bytes.len() as u32 * 8 {
            for other in (one + 1..bytes.len() as u32 * 8).step_by(5) {
                let mut broken = bytes.clone();
                for flip in [Flip::of_bit(0, one), Flip::of_bit(0, other)] {
                    broken[flip.at] ^= flip.mask;
                }
                assert_eq!(found(&broken, |_| true), None, "bits {one} and {other}");
            }
        }
    }

    #[test]
    fn it_ends_when_the_work_is_used_up() {
        let mut bytes = record(300);
        bytes[20] ^= 1;
        let mut work = Work { left: 308 };
        assert_eq!(flip_in_record(&bytes, 7, |_| true, &mut work), None);
        assert!(work.is_over());
    }
}
