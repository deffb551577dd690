//! Unpredictable numbers from the operating system.

use quintet_core::cursor::LogId;
use quintet_core::randomness::Randomness;

/// The operating system's generator, which the hub names requests and reply topics with.
#[derive(Debug)]
pub(crate) struct Entropy;

impl Randomness for Entropy {
    fn draw(&self) -> u128 {
        let mut bytes = [0; 16];
        // A hub that hands out names that can be guessed would be worse than none.
        getrandom::fill(&mut bytes).expect("an operating system that started this process has a random generator");
        u128::from_le_bytes(bytes)
    }
}

/// A new log's id. Drawn, so that the cursors of an earlier log are recognised as foreign.
pub(crate) fn log_id() -> Result<LogId, getrandom::Error> {
    loop {
        let id = getrandom::u32()?;
        if id != 0 {
            return Ok(LogId(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        assert_ne!(Entropy.draw(), Entropy.draw());
        assert_ne!(log_id().unwrap(), LogId(0));
    }
}
