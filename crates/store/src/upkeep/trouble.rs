//! Something that failed in the background: it is told of once, and tried again less and less often, since what does not
//! work on a full or broken disk costs as much each time.

use std::io;

/// Turns that are left out at most before it is tried again; there is about one a second.
const WAIT_MAX: u32 = 16;

/// How something that is done again and again has gone lately.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// The error that was told of.
    told: Option<String>,
    /// Turns that are left out after the last failure, and how many of them are left.
    wait: u32,
    n_left: u32,
}

impl Trouble {
    /// A turn begins.
    pub(crate) fn turn(&mut self) {
        self.n_left = self.n_left.saturating_sub(1);
    }

    /// Whether it is left out in this turn.
    pub(crate) fn is_waiting(&self) -> bool {
        self.n_left > 0
    }

    /// Something has changed that it may have waited for.
    pub(crate) fn hope(&mut self) {
        (self.wait, self.n_left) = (0, 0);
    }

    /// Takes down how it went, and tells of it if that is news. Gives back whether it went well.
    pub(crate) fn note<T>(&mut self, what: &str, result: &io::Result<T>) -> bool {
        match result {
            Ok(_) => {
                if self.told.take().is_some() {
                    tracing::info!("{what} works again");
                }
                self.hope();
                true
            }
            Err(error) => {
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    tracing::warn!(%error, "{what} failed and is tried again later");
                }
                self.told = Some(text);
                self.wait = (self.wait * 2).clamp(1, WAIT_MAX);
                // The turn that fails is counted too.
                self.n_left = self.wait + 1;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_less_and_less_often() {
        let (mut trouble, mut tries) = (Trouble::default(), Vec::new());
        for turn in 0..60 {
            trouble.turn();
            if !trouble.is_waiting() {
                tries.push(turn);
                assert!(!trouble.note::<()>("a test", &Err(io::Error::other("no"))));
            }
        }
        assert_eq!(tries, [0, 2, 5, 10, 19, 36, 53]);
        trouble.hope();
        assert!(!trouble.is_waiting());
    }
}
