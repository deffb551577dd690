//! Cursors as text: a [`Token`] is one log's position, a [`Cursor`] one or several of them, a [`Since`] where to begin.
//!
//! Clients treat all three as opaque. Whether a position still exists is for the hub to say, not for this module.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many logs one cursor can name.
pub const CURSOR_TOKENS_MAX: usize = 4;
/// The length of a token's text.
pub const TOKEN_LENGTH: usize = 25;

/// A position in one log: the offset of the last message read. Sorts as its text does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The log's id; zero only in [`Token::START`].
    pub log: u32,
    /// The offset of the last message read; zero is before the first.
    pub offset: u64,
}

impl Token {
    /// Before the first message, whatever the log is.
    pub const START: Token = Token { log: 0, offset: 0 };

    /// Appends the token's 25 characters.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text());
    }

    fn text(self) -> [u8; TOKEN_LENGTH] {
        let mut text = [b'_'; TOKEN_LENGTH];
        write_hex(&mut text[..8], u64::from(self.log));
        write_hex(&mut text[9..], self.offset);
        text
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.pad(std::str::from_utf8(&text).expect("hexadecimal digits are UTF-8"))
    }
}

impl FromStr for Token {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let bytes = text.as_bytes();
        if text == WIDE_START {
            return Ok(Self::START);
        }
        if bytes.len() != TOKEN_LENGTH || bytes[8] != b'_' {
            return Err(BadCursor::Shape);
        }
        let log = read_hex(&bytes[..8]).ok_or(BadCursor::Shape)?;
        let offset = read_hex(&bytes[9..]).ok_or(BadCursor::Shape)?;
        if log == 0 && offset != 0 {
            return Err(BadCursor::NoLog);
        }
        Ok(Token { log: u32::try_from(log).map_err(|_| BadCursor::Shape)?, offset })
    }
}

/// The start as it is written by clients of the Durable Streams protocol that spell it out: its reference server's
/// offsets are wider than this hub's.
const WIDE_START: &str = "0000000000000000_0000000000000000";

/// One position per log, in the order of the logs' ids. A topic's cursor has one, a filter's one for each log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    // Unused places stay `Token::START`, so that derived equality compares only what counts.
    tokens: [Token; CURSOR_TOKENS_MAX],
    len: u8,
}

impl Cursor {
    /// Before the first message.
    pub const START: Cursor = Cursor { tokens: [Token::START; CURSOR_TOKENS_MAX], len: 1 };

    /// Builds a cursor from tokens sorted by log.
    ///
    /// # Errors
    /// When there are none, too many, or when they are not in strictly rising order of log.
    pub fn new(tokens: &[Token]) -> Result<Self, BadCursor> {
        if tokens.is_empty() {
            return Err(BadCursor::Shape);
        }
        if tokens.len() > CURSOR_TOKENS_MAX {
            return Err(BadCursor::TooMany);
        }
        if tokens.windows(2).any(|pair| pair[0].log >= pair[1].log) || (tokens.len() > 1 && tokens[0].log == 0) {
            return Err(BadCursor::Order);
        }
        let mut cursor = Cursor { tokens: [Token::START; CURSOR_TOKENS_MAX], len: tokens.len() as u8 };
        cursor.tokens[..tokens.len()].copy_from_slice(tokens);
        Ok(cursor)
    }

    /// Its tokens, never none.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens[..usize::from(self.len)]
    }

    /// The one token of a topic's cursor; `None` for a cursor over several logs.
    #[must_use]
    pub fn single(&self) -> Option<Token> {
        match self.tokens() {
            [token] => Some(*token),
            _ => None,
        }
    }

    /// Whether this is the start of everything.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.single() == Some(Token::START)
    }

    /// Moves the cursor past one message of one log; the other logs' positions stay.
    pub fn advance(&mut self, token: Token) {
        if self.is_start() {
            *self = token.into();
            return;
        }
        let len = usize::from(self.len);
        match self.tokens().binary_search_by_key(&token.log, |token| token.log) {
            Ok(at) => self.tokens[at] = token,
            Err(at) if len < CURSOR_TOKENS_MAX => {
                self.tokens.copy_within(at..len, at + 1);
                self.tokens[at] = token;
                self.len += 1;
            }
            // No hub has so many logs; the position that is kept at worst repeats messages, it loses none.
            Err(_) => {}
        }
    }

    /// Appends the cursor's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (i, token) in self.tokens().iter().enumerate() {
            if i > 0 {
                out.push(b'.');
            }
            token.write(out);
        }
    }
}

impl From<Token> for Cursor {
    fn from(token: Token) -> Self {
        let mut cursor = Cursor::START;
        cursor.tokens[0] = token;
        cursor
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(usize::from(self.len) * (TOKEN_LENGTH + 1));
        self.write(&mut text);
        f.pad(std::str::from_utf8(&text).expect("a cursor's text is ASCII"))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut tokens = [Token::START; CURSOR_TOKENS_MAX];
        let mut len = 0;
        for part in text.split('.') {
            *tokens.get_mut(len).ok_or(BadCursor::TooMany)? = part.parse()?;
            len += 1;
        }
        Cursor::new(&tokens[..len])
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Since {
    /// Before the first message: `start`, `-1`, or the cursor of zeros.
    Start,
    /// After the newest message: `now`.
    Now,
    /// After this position.
    At(Cursor),
}

impl FromStr for Since {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        match text {
            "start" | "-1" => Ok(Since::Start),
            "now" => Ok(Since::Now),
            _ => text.parse::<Cursor>().map(Since::from),
        }
    }
}

impl From<Cursor> for Since {
    fn from(cursor: Cursor) -> Self {
        if cursor.is_start() { Since::Start } else { Since::At(cursor) }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Since::Start => f.pad("start"),
            Since::Now => f.pad("now"),
            Since::At(cursor) => cursor.fmt(f),
        }
    }
}

/// Why a text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCursor {
    /// Not `<8 hex>_<16 hex>` in lower case, joined by dots.
    #[error("a cursor is a value the hub issued before, `start`, `-1` or `now`")]
    Shape,
    /// A position in the log that does not exist.
    #[error("a cursor with a position names the log it is in")]
    NoLog,
    /// More logs than a hub has.
    #[error("a cursor names at most {CURSOR_TOKENS_MAX} logs")]
    TooMany,
    /// The logs are out of order, or one comes twice.
    #[error("a cursor names each log once, in order")]
    Order,
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Token, Cursor, Since);

fn write_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn read_hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_for_the_start_and_the_tail() {
        for start in ["start", "-1", "00000000_0000000000000000"] {
            assert_eq!(start.parse(), Ok(Since::Start));
        }
        assert_eq!("now".parse(), Ok(Since::Now));
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "",
            " ",
            "0",
            "-2",
            "NOW",
            "00000001_000000000000000A",
            "00000001-000000000000000a",
            "00000001_000000000000000a.",
            "00000001_000000000000000a ",
            "+0000001_000000000000000a",
            "00000000_0000000000000001",
            "00000002_0000000000000001.00000001_0000000000000001",
            "00000001_0000000000000001.00000001_0000000000000001",
            "00000000_0000000000000000.00000001_0000000000000001",
            "00000001_0000000000000001,00000002_0000000000000001",
        ] {
            assert!(bad.parse::<Since>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn advancing_moves_one_log() {
        let token = |log, offset| Token { log, offset };
        let mut cursor = Cursor::START;
        for (step, tokens) in [
            (token(2, 5), vec![token(2, 5)]),
            (token(2, 6), vec![token(2, 6)]),
            (token(1, 9), vec![token(1, 9), token(2, 6)]),
            (token(2, 7), vec![token(1, 9), token(2, 7)]),
        ] {
            cursor.advance(step);
            assert_eq!(cursor, Cursor::new(&tokens).unwrap());
        }
    }

    fn token() -> impl Strategy<Value = Token> {
        (1u32.., any::<u64>()).prop_map(|(log, offset)| Token { log, offset })
    }

    proptest! {
        #[test]
        fn tokens_come_back_and_sort_as_text(a in token(), b in token()) {
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.to_string().len(), TOKEN_LENGTH);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn cursors_come_back(mut tokens in prop::collection::vec(token(), 1..=CURSOR_TOKENS_MAX)) {
            tokens.sort();
            tokens.dedup_by_key(|token| token.log);
            let cursor = Cursor::new(&tokens).unwrap();
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            let json = serde_json::to_string(&Since::from(cursor)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Since>(&json).unwrap(), Since::At(cursor));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let parsed = text.parse::<Since>();
            if let Ok(since) = parsed { prop_assert!(since.to_string() == text || since == Since::Start); }
        }
    }
}
