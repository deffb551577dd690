//! Dead letters: how they are made, and how they are tried again.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::{Cursor, Offset, Position, Since};
use crate::engine::transaction::{Append, Op, TopicConfig};
use crate::error::{Error, Kind, Result};
use crate::group::{GROUP_HELD_MAX, GroupName, Held, HeldState, Why};
use crate::hub::Hub;
use crate::message::{Headers, Message, NewMessage};
use crate::name::TopicName;
use crate::patterns::publish_subscribe::groups::board::Dying;
use crate::patterns::publish_subscribe::groups::consumer::Redriven;
use crate::patterns::publish_subscribe::groups::pump::Pump;
use crate::reading::{Absent, Read};

/// The headers of a dead letter begin with this.
const PREFIX: &str = "dead-letter-";
/// Dead letters that are looked at in one transaction.
const REDRIVE_TURN_MAX: usize = 256;
/// Dead letters that are looked at in one redrive.
const REDRIVE_MAX: usize = 10_000;

/// Writes dead letters and settles what they are copies of, in one transaction.
pub(super) async fn send(pump: &mut Pump, hub: &Arc<Hub>, dying: Vec<Dying>, now: Timestamp) -> Result<()> {
    let group = pump.handle().group.clone();
    let Some(topic) = pump.board.config().dead_letter.clone() else {
        // It was taken from the group in the meantime; so what died is handed out again.
        pump.board.undo();
        return Err(Error::new(Kind::Internal, "the group has no dead letter topic any more"));
    };
    let letters: Vec<NewMessage> = dying.iter().map(|dying| letter(&group, pump.handle().log, dying)).collect();
    let log = pump.handle().log;
    let place = match place_for(hub, &topic, log).await {
        Ok(place) => place,
        Err(error) => {
            pump.board.undo();
            return Err(error);
        }
    };
    let ops = append(&topic, letters).into_iter().collect();
    let sent = pump.commit(hub, ops, now).await;
    drop(place);
    sent
}

/// Hands dead letters of the group out again: their originals, or, where these are gone, the copies.
pub(super) async fn redrive(pump: &mut Pump, hub: &Arc<Hub>, now: Timestamp) -> Result<Redriven> {
    let Some(topic) = pump.board.config().dead_letter.clone() else {
        return Err(Error::new(Kind::BadRequest, "the group has no dead_letter topic, so there is nothing to redrive"));
    };
    let mut redriven = Redriven::default();
    let mut n_seen = 0;
    let end = hub.registry.get(&topic).and_then(|topic| topic.info()).map(|info| info.next.offset).unwrap_or_default();
    while n_seen < REDRIVE_MAX {
        let room = GROUP_HELD_MAX.saturating_sub(pump.board.n_held());
        redriven.more = pump.board.redriven_through() < end;
        if room == 0 || !redriven.more {
            return Ok(redriven);
        }
        let after = Position { log: pump.handle().log, offset: pump.board.redriven_through() };
        let page = read_letters(hub, &topic, after, room.min(REDRIVE_TURN_MAX)).await?;
        let Some(last) = page.last().map(|message| message.offset.min(end)) else {
            redriven.more = false;
            return Ok(redriven);
        };
        n_seen += page.len();
        let mut again = Vec::new();
        for letter in page.iter().filter(|letter| letter.offset <= end) {
            take_letter(pump, hub, letter, now, &mut again, &mut redriven).await?;
        }
        pump.board.redriven(last);
        // Nobody creates the topics in another log meanwhile.
        let mut places = Vec::new();
        let mut ops: Vec<Op> = Vec::new();
        for (topic, message) in again {
            match place_again(hub, &topic, &message, pump.handle().log).await? {
                Some(place) => {
                    places.push(place);
                    ops.extend(append(&topic, vec![message]));
                    redriven.republished += 1;
                }
                None => redriven.kept += 1,
            }
        }
        pump.commit(hub, ops, now).await?;
    }
    Ok(redriven)
}

/// A claimed message, read back; none if it is gone.
pub(super) async fn load(hub: &Arc<Hub>, at: Position, name: &TopicName) -> Result<Option<Arc<Message>>> {
    let Some(topic) = hub.registry.get(name) else { return Ok(None) };
    let before = Position { log: at.log, offset: Offset(at.offset.0.saturating_sub(1)) };
    if topic.info().is_none_or(|info| info.created.log != at.log || info.created.offset >= at.offset) {
        return Ok(None);
    }
    match hub.read_at(Some(&topic), before, 1).await {
        Ok(page) => Ok(page.batch.messages().first().filter(|message| message.offset == at.offset).cloned()),
        Err(error) => match error.kind() {
            Kind::Gap { .. } | Kind::StaleCursor | Kind::TopicDeleted | Kind::TopicNotFound | Kind::TopicGone => {
                Ok(None)
            }
            Kind::StorageDamaged => {
                tracing::error!(topic = %name, offset = at.offset.0, %error, "a claimed message is damaged on disk");
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

/// What becomes of one dead letter; those of other groups are passed by.
async fn take_letter(
    pump: &mut Pump,
    hub: &Arc<Hub>,
    letter: &Arc<Message>,
    now: Timestamp,
    again: &mut Vec<(TopicName, NewMessage)>,
    redriven: &mut Redriven,
) -> Result<()> {
    let header = |name: &str| letter.headers.get(&format!("{PREFIX}{name}"));
    if header("group") != Some(pump.handle().group.as_str()) {
        return Ok(());
    }
    let Some(topic) = header("topic").and_then(|topic| TopicName::parse(topic).ok()) else { return Ok(()) };
    let log = pump.handle().log;
    let offset = header("offset").and_then(parse_position).filter(|at| at.log == log).map(|at| at.offset);
    let original = match offset {
        Some(offset) => load(hub, Position { log, offset }, &topic).await?,
        None => None,
    };
    match original {
        Some(original) if pump.board.holds(original.offset) || original.offset > pump.board.claimed_through() => {}
        Some(original) => {
            let state = HeldState::Waiting(Why::Redrive);
            let held = Held { topic, count: 0, state, due: now };
            pump.board.hand_out_again(held, original.offset);
            redriven.redelivered += 1;
        }
        None if topic.is_reserved() => {}
        None => {
            let own = letter.headers.iter().filter(|(name, _)| !name.starts_with(PREFIX));
            let message = NewMessage {
                content_type: Some(letter.content_type.clone()),
                headers: Headers::new(own)?,
                payload: letter.payload.clone(),
            };
            again.push((topic, message));
        }
    }
    Ok(())
}

async fn read_letters(hub: &Hub, topic: &TopicName, after: Position, max: usize) -> Result<Vec<Arc<Message>>> {
    let since = match after.offset {
        Offset::ZERO => Since::Start,
        _ => Since::After(Cursor::from(after)),
    };
    let read = Read { messages: max, absent: Absent::Empty, ..Read::new(topic.clone(), since) };
    let page = match hub.read(&read).await {
        Err(error) => match *error.kind() {
            // Retention has taken some; what is left can be tried again.
            Kind::Gap { first_available } => {
                hub.read(&Read { since: Since::After(Cursor::from(first_available)), ..read }).await?
            }
            Kind::StaleCursor | Kind::TopicDeleted => hub.read(&Read { since: Since::Start, ..read }).await?,
            _ => return Err(error),
        },
        page => page?,
    };
    Ok(page.batch.messages().to_vec())
}

fn append(topic: &TopicName, messages: Vec<NewMessage>) -> Option<Op> {
    let first = messages.first().and_then(|message| message.content_type.clone())?;
    let create = Some(TopicConfig::open(first));
    Some(Op::Append(Append { create, ..Append::new(topic.clone(), messages) }))
}

/// The copy of a message, with headers that say from where, how often, and why.
fn letter(group: &GroupName, log: crate::cursor::LogId, dying: &Dying) -> NewMessage {
    let message = &dying.message;
    let own = [
        ("dead-letter-group", group.as_str().to_owned()),
        ("dead-letter-topic", message.topic.as_str().to_owned()),
        ("dead-letter-offset", position_text(Position { log, offset: message.offset })),
        ("dead-letter-count", dying.count.to_string()),
        ("dead-letter-reason", dying.why.name().to_owned()),
    ];
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let others = message.headers.iter().filter(|(name, _)| !name.starts_with(PREFIX));
    let headers = Headers::new(own.clone().chain(others)).or_else(|_| {
        // The message's own headers are at the limit. The copy must not fail, so it goes without them, and says so.
        Headers::new(own.chain([("dead-letter-headers", "left out")]))
    });
    NewMessage {
        content_type: Some(message.content_type.clone()),
        headers: headers.unwrap_or_default(),
        payload: message.payload.clone(),
    }
}

/// Makes sure that a message can be published to its topic again; none if it cannot.
async fn place_again(
    hub: &Arc<Hub>,
    name: &TopicName,
    message: &NewMessage,
    log: crate::cursor::LogId,
) -> Result<Option<impl Drop + use<>>> {
    if let Some(info) = hub.registry.get(name).and_then(|topic| topic.info()) {
        let other = |given: &crate::message::ContentType| !given.matches(&info.config.content_type);
        let mistyped = info.config.fixed_type && message.content_type.as_ref().is_some_and(other);
        if info.closed || mistyped || info.created.log != log {
            return Ok(None);
        }
    }
    match place_for(hub, name, log).await {
        Ok(place) => Ok(Some(place)),
        Err(error) if *error.kind() == Kind::BadRequest => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes sure that a topic is, or can be created, in a log; keeps it from being created in another one meanwhile.
async fn place_for(hub: &Arc<Hub>, name: &TopicName, log: crate::cursor::LogId) -> Result<impl Drop + use<>> {
    let topic = hub.live(name).await?;
    let (found, creating) = hub.creating(&topic, log);
    if found != log {
        let detail =
            format!("the dead letter topic {name} is in another log than the group; delete it, or choose another");
        return Err(Error::new(Kind::BadRequest, detail));
    }
    Ok(creating)
}

/// A position as the wires write it, so that whoever reads a dead letter can use it as a cursor.
fn position_text(at: Position) -> String {
    format!("{:08x}_{:016x}", at.log.0, at.offset.0)
}

fn parse_position(text: &str) -> Option<Position> {
    let (log, offset) = text.split_once('_')?;
    let log = crate::cursor::LogId(u32::from_str_radix(log, 16).ok()?);
    Some(Position { log, offset: Offset(u64::from_str_radix(offset, 16).ok()?) })
}
