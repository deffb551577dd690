//! The headers of a producer that publishes exactly once (Durable Streams section 5.2.1).

use http::{HeaderMap, HeaderValue};
use quintet_core::engine::transaction::ProducerStep;
use quintet_core::limits::PRODUCER_NUMBER_MAX;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;

use crate::error::{Problem, Result};

/// The producer's step: all three headers or none.
pub(crate) fn step(headers: &HeaderMap) -> Result<Option<ProducerStep>> {
    let of = |name: &'static str| headers.get(name);
    let (id, epoch, seq) = match (of(header::PRODUCER_ID), of(header::PRODUCER_EPOCH), of(header::PRODUCER_SEQ)) {
        (None, None, None) => return Ok(None),
        (Some(id), Some(epoch), Some(seq)) => (id, epoch, seq),
        _ => {
            let detail = "Producer-Id, Producer-Epoch and Producer-Seq come together or not at all";
            return Err(Problem::new(Kind::BadHeader, detail));
        }
    };
    let id = match std::str::from_utf8(id.as_bytes()) {
        Ok(id) if !id.is_empty() => id.into(),
        _ => return Err(Problem::new(Kind::BadHeader, "Producer-Id is a text that is not empty")),
    };
    let epoch = number(epoch, header::PRODUCER_EPOCH)?;
    let seq = number(seq, header::PRODUCER_SEQ)?;
    Ok(Some(ProducerStep { id, epoch, seq }))
}

fn number(value: &HeaderValue, name: &str) -> Result<u64> {
    let text = value.to_str().unwrap_or_default();
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain && number <= PRODUCER_NUMBER_MAX => Ok(number),
        _ => Err(Problem::new(Kind::BadHeader, format!("{name} is a whole number from 0 to 2^53-1"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&'static str, &'static str)]) -> Option<Option<(Box<str>, u64, u64)>> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        step(&headers).ok().map(|step| step.map(|step| (step.id, step.epoch, step.seq)))
    }

    #[test]
    fn all_or_none() {
        let (id, epoch) = (("producer-id", "p"), ("producer-epoch", "1"));
        assert_eq!(check(&[]), Some(None));
        assert_eq!(check(&[id, epoch, ("producer-seq", "2")]), Some(Some(("p".into(), 1, 2))));
        assert_eq!(check(&[id, epoch]), None);
        assert_eq!(check(&[("producer-id", ""), epoch, ("producer-seq", "2")]), None);
        for bad in ["", "-1", "+1", "1.0", "x", "9007199254740992"] {
            assert_eq!(check(&[id, epoch, ("producer-seq", bad)]), None, "{bad}");
        }
    }
}
