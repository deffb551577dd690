//! What HTTP and sessions both say of consumer groups, translated to the core and back.

use std::time::Duration;

use quintet_core::group::GroupName;
use quintet_core::hub::Hub;
use quintet_core::patterns::publish_subscribe::groups::consumer::{Answer, DeliveryId, Handed};
use quintet_wire::groups as wire;

use crate::convert;
use crate::error::Result;

/// What a member says of deliveries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    /// Their work is done.
    Acknowledge,
    /// They are given back, to rest for so long.
    GiveBack(Option<Duration>),
    /// They take so long from now.
    Extend(Option<Duration>),
}

impl Word {
    /// Says it, and tells for each delivery what became of it. Dropping the future does not take it back.
    pub(crate) async fn say(
        self,
        hub: &Hub,
        group: &GroupName,
        deliveries: &[wire::DeliveryId],
    ) -> Result<wire::Results> {
        if deliveries.is_empty() {
            return Ok(wire::Results::default());
        }
        let core = |id: &wire::DeliveryId| DeliveryId { position: convert::position(id.message), count: id.count };
        let ids = deliveries.iter().map(core).collect();
        let answers = match self {
            Self::Acknowledge => hub.acknowledge(group, ids).await?,
            Self::GiveBack(delay) => hub.give_back(group, ids, delay).await?,
            Self::Extend(by) => hub.extend(group, ids, by).await?,
        };
        let answered =
            |(id, answer): (&wire::DeliveryId, &Answer)| wire::Answered { id: *id, result: outcome(*answer) };
        Ok(wire::Results { results: deliveries.iter().zip(&answers).map(answered).collect() })
    }
}

/// Appends the envelope of a message that is handed out.
pub(crate) fn write_handed(out: &mut Vec<u8>, handed: &Handed) {
    let id = handed.id();
    let delivery = wire::Delivery {
        id: wire::DeliveryId { message: convert::token(id.position), count: id.count },
        count: handed.count,
        reason: handed.why.name().into(),
        until: handed.until.0,
    };
    let parts = convert::envelope_parts(handed.log, &handed.message);
    wire::write(out, &parts, convert::unique(&handed.message.headers), &delivery);
}

fn outcome(answer: Answer) -> wire::Outcome {
    match answer {
        Answer::Done => wire::Outcome::Done,
        Answer::Settled => wire::Outcome::Settled,
        Answer::Over => wire::Outcome::Over,
        Answer::Unknown => wire::Outcome::Unknown,
    }
}
