//! What age is counted from when the clock was ahead for a while.
//!
//! A time that lies ahead of now is one that a wrong clock gave. It counts as now when that is first seen; what follows
//! it and is ahead too counts as so much later as its time says. Otherwise one wrong reading of the clock would keep a
//! thing, and all that is behind it, until its date has come.

use crate::clock::Timestamp;

/// A time that was ahead when it was looked at, and what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// What the wrong clock said.
    pub stamp: Timestamp,
    /// What age is counted from instead.
    pub counts_as: Timestamp,
}

impl Ahead {
    /// What a time counts as, and what is to be remembered for the next one in order. `before` is what was remembered of
    /// this one, or of the one before it.
    pub fn judge(time: Timestamp, now: Timestamp, before: Option<Self>) -> (Timestamp, Option<Self>) {
        if time <= now {
            return (time, None);
        }
        let behind = |before: Self| before.counts_as.plus(time.since(before.stamp)).min(now);
        let counts_as = before.map_or(now, behind);
        (counts_as, Some(Self { stamp: time, counts_as }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_clocks_times_keep_their_distance() {
        let at = Timestamp;
        let (counts_as, ahead) = Ahead::judge(at(900), at(100), None);
        assert_eq!(counts_as, at(100));
        assert_eq!(Ahead::judge(at(900), at(150), ahead).0, at(100), "it stays so");
        let (counts_as, ahead) = Ahead::judge(at(930), at(150), ahead);
        assert_eq!(counts_as, at(130));
        assert_eq!(Ahead::judge(at(910), at(150), ahead).0, at(130), "never earlier than what was before it");
        assert_eq!(Ahead::judge(at(990), at(150), ahead).0, at(150), "never ahead");
        assert_eq!(Ahead::judge(at(120), at(150), ahead), (at(120), None), "and a right time is right");
    }
}
