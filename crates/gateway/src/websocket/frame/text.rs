//! UTF-8 that comes in pieces: wrong bytes are found as soon as they are there, each byte is looked at about once.

use crate::websocket::frame::Violation;

/// Checks what has come of a text behind `checked`, which is moved on; a character may still be incomplete at the end.
pub(crate) fn check(text: &[u8], checked: &mut usize) -> Result<(), Violation> {
    let rest = text.get(*checked..).unwrap_or_default();
    match std::str::from_utf8(rest) {
        Ok(_) => *checked = text.len(),
        Err(error) if error.error_len().is_none() => *checked += error.valid_up_to(),
        Err(_) => return Err(Violation::NotUtf8),
    }
    Ok(())
}
