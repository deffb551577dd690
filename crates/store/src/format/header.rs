//! What a segment file and the store's own file begin with, and how segment files are named.

use crate::codec::Reader;

/// The version of everything in the folder; a store of another version is refused.
pub(crate) const VERSION: u32 = 2;
/// Bytes of a segment's head.
pub(crate) const SEGMENT_HEAD: usize = 64;
/// The name of the file that makes a folder a store.
pub(crate) const STORE_FILE: &str = "store";
/// The name of the file that is locked.
pub(crate) const LOCK_FILE: &str = "lock";

const SEGMENT_MAGIC: [u8; 8] = *b"QNTSEGMT";
const STORE_MAGIC: [u8; 8] = *b"QNTSTORE";

/// Which log the folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreHead {
    /// The log's id, never 0; clients see it in cursors.
    pub(crate) log: u32,
    /// Begins every checksum, so that a payload cannot be made to look like a batch. Clients never see it.
    pub(crate) salt: u32,
}

impl StoreHead {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = STORE_MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.log.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Why not, if not.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let damaged = || "the file `store` is damaged".to_owned();
        let body = bytes.strip_prefix(&STORE_MAGIC).ok_or_else(damaged)?;
        let mut reader = Reader::new(body);
        let version = reader.u32().ok_or_else(damaged)?;
        if version != VERSION {
            return Err(format!("the store has format version {version}; this program reads version {VERSION}"));
        }
        let (log, salt, checksum) = (reader.u32(), reader.u32(), reader.u32());
        let (Some(log), Some(salt), Some(checksum)) = (log, salt, checksum) else { return Err(damaged()) };
        if bytes.len() != 24 || crc32c::crc32c(&bytes[..20]) != checksum || log == 0 {
            return Err(damaged());
        }
        Ok(Self { log, salt })
    }
}

/// What a segment file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) log: u32,
    /// The name says the same.
    pub(crate) key: SegmentKey,
    /// The last offset that a compacted segment stands for; 0 in one that is appended to.
    pub(crate) end: u64,
    /// Everything up to this offset was on disk when the segment was begun.
    pub(crate) durable_through: u64,
}

impl SegmentHead {
    pub(crate) fn encode(&self, salt: u32) -> [u8; SEGMENT_HEAD] {
        let mut out = [0; SEGMENT_HEAD];
        out[0..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.log.to_le_bytes());
        out[16..24].copy_from_slice(&self.key.base.to_le_bytes());
        out[24..28].copy_from_slice(&self.key.generation.to_le_bytes());
        out[32..40].copy_from_slice(&self.end.to_le_bytes());
        out[40..48].copy_from_slice(&self.durable_through.to_le_bytes());
        let checksum = crc32c::crc32c_append(salt, &out[..60]);
        out[60..64].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(crate) fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let head = bytes.get(..SEGMENT_HEAD)?;
        let mut reader = Reader::new(head.strip_prefix(&SEGMENT_MAGIC)?);
        if reader.u32()? != VERSION {
            return None;
        }
        let log = reader.u32()?;
        let key = SegmentKey { base: reader.u64()?, generation: reader.u32()? };
        reader.u32()?;
        let (end, durable_through) = (reader.u64()?, reader.u64()?);
        reader.take(12)?;
        let intact = crc32c::crc32c_append(salt, &head[..60]) == reader.u32()?;
        intact.then_some(Self { log, key, end, durable_through })
    }
}

/// Names a segment. A higher generation stands in for lower ones of the offsets it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentKey {
    /// No record in the segment has a smaller offset.
    pub(crate) base: u64,
    pub(crate) generation: u32,
}

impl SegmentKey {
    pub(crate) fn file(self) -> String {
        format!("{:016x}-{:08x}.log", self.base, self.generation)
    }

    pub(crate) fn index_file(self) -> String {
        format!("{:016x}-{:08x}.index", self.base, self.generation)
    }

    /// The key in the name of a segment (`log`) or index (`index`) file.
    pub(crate) fn from_file(name: &str, ending: &str) -> Option<Self> {
        let stem = name.strip_suffix(ending)?.strip_suffix('.')?;
        let (base, generation) = stem.split_once('-')?;
        if base.len() != 16 || generation.len() != 8 {
            return None;
        }
        let base = u64::from_str_radix(base, 16).ok()?;
        Some(Self { base, generation: u32::from_str_radix(generation, 16).ok()? })
    }
}
