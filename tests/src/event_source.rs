//! A plain `EventSource`, cut off ten times in mid-stream, that comes back with `Last-Event-ID` and misses nothing.

use crate::harness::events::Events;
use crate::harness::hub::Hub;
use crate::harness::load::{self, Order};
use crate::harness::seed::Chance;

const CUTS: usize = 10;
const MESSAGES: u64 = 1_500;

#[tokio::test]
async fn ten_cuts_lose_and_repeat_nothing() {
    let hub = Hub::start().await;
    let mut chance = Chance::new("event source");
    let publishing = tokio::spawn({
        let http = hub.http().clone();
        async move { load::publish(&http, "live", 0..MESSAGES).await }
    });
    let mut order = Order::new("the event source");
    // It has not seen an id yet, so it names none the first time: the offset says where to begin.
    let mut events = Events::open(hub.http().get("/topics/live?offset=start")).await;
    let mut last_id = events.id().await;
    for cut in 0..=CUTS {
        let goal = if cut == CUTS { MESSAGES } else { order.count() + chance.between(1, MESSAGES / CUTS as u64) };
        while order.count() < goal {
            let event = events.next().await.expect("the stream goes on");
            order.take(&event.data);
            last_id = event.id;
        }
        drop(events);
        // A browser sends the id beside the URL it was made with; the id wins.
        let again = hub.http().get("/topics/live?offset=start").header("Last-Event-ID", &last_id);
        events = Events::open(again).await;
    }
    publishing.await.unwrap();
    hub.http().publish("live", &load::text(MESSAGES)).await;
    order.take(&events.next().await.unwrap().data);
}

#[tokio::test]
async fn a_cut_before_the_first_message_loses_nothing() {
    let hub = Hub::start().await;
    hub.http().publish("live", "before").await;
    let mut events = Events::open(hub.http().get("/topics/live?offset=now")).await;
    let id = events.id().await;
    drop(events);
    hub.http().publish("live", "meanwhile").await;
    let again = hub.http().get("/topics/live?offset=now").header("Last-Event-ID", &id);
    let mut events = Events::open(again).await;
    assert_eq!(events.next().await.unwrap().data, "meanwhile");
}
