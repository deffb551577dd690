//! Integers and strings as bytes: LEB128 varints, and lengths before strings. Nothing here knows what they mean.

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A few bytes put together before they are appended, which is cheaper than to append each.
#[derive(Debug)]
pub(crate) struct ShortBytes<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> ShortBytes<N> {
    /// So many zeros.
    pub(crate) fn new(length: usize) -> Self {
        Self { bytes: [0; N], length }
    }

    pub(crate) fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    /// Appends all of them; there has to be room for as many as they could be.
    pub(crate) fn put<const M: usize>(&mut self, others: &ShortBytes<M>) {
        self.bytes[self.length..self.length + M].copy_from_slice(&others.bytes);
        self.length += others.length;
    }

    pub(crate) fn put_varint(&mut self, mut value: u64) {
        // Lengths and distances mostly have two bytes.
        if (0x80..0x4000).contains(&value)
            && let Some(place) = self.bytes.get_mut(self.length..self.length + 2)
        {
            place.copy_from_slice(&[value as u8 | 0x80, (value >> 7) as u8]);
            self.length += 2;
            return;
        }
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Appends a string behind its length.
pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends an optional number: 0 for none, else the number plus one.
pub(crate) fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    put_varint(out, value.map_or(0, |value| value.saturating_add(1)));
}

/// Takes values off the front of some bytes; none when they do not hold what is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been taken.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn option(&mut self) -> Option<Option<u64>> {
        Some(self.varint()?.checked_sub(1))
    }

    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(n)?;
        self.bytes = rest;
        Some(bytes)
    }

    pub(crate) fn str(&mut self) -> Option<&'a str> {
        let n = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.take(n)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(number in any::<u64>(), text in ".{0,40}", option in proptest::option::of(0..u64::MAX)) {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            put_str(&mut out, &text);
            put_option(&mut out, option);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Some(number));
            prop_assert_eq!(reader.str(), Some(text.as_str()));
            prop_assert_eq!(reader.option(), Some(option));
            prop_assert!(reader.rest().is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_some() && reader.str().is_some() {}
        }
    }
}
