//! The suite that every engine passes. An engine's own tests call [`check`] with a way to make a new, empty engine with
//! given limits.
//!
//! It asks for behaviour only; what a crash may take is the business of a durable engine's own tests.

mod forks;
mod groups;
mod message_ids;
mod reading;
mod retention;
mod suite;
mod writing;

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::contract::suite::Suite;
use crate::limits::Limits;

/// Runs the whole suite.
pub async fn check(new_engine: &(dyn Fn(Limits) -> Arc<dyn Engine> + Sync)) {
    let suite = || Suite::new(new_engine(Limits::default()));
    writing::appends_are_read_back_in_order(suite()).await;
    writing::a_transaction_is_all_or_nothing(suite()).await;
    reading::reads_are_bounded_and_resumable(suite()).await;
    writing::a_topic_is_created_once(suite()).await;
    writing::a_closed_topic_takes_nothing_more(suite()).await;
    writing::a_fixed_type_refuses_others(suite()).await;
    writing::producers_are_exactly_once(suite()).await;
    writing::stream_seq_only_rises(suite()).await;
    writing::a_deleted_topic_starts_anew(suite()).await;
    message_ids::a_repeat_is_answered_with_the_first_one(suite()).await;
    message_ids::an_id_is_forgotten_after_its_window(suite()).await;
    message_ids::ids_go_with_their_topic(suite()).await;
    message_ids::a_refused_publish_leaves_no_id(suite()).await;
    message_ids::ids_and_closure(suite()).await;
    message_ids::ids_and_producers(suite()).await;
    message_ids::no_room_is_no_shorter_window(Suite::new(new_engine(message_ids::small_limits()))).await;
    retention::retention_by_count_and_bytes(suite()).await;
    message_ids::ids_of_a_clock_that_was_ahead(Suite::new(new_engine(message_ids::small_limits()))).await;
    retention::retention_by_age(suite()).await;
    retention::a_clock_that_was_ahead(suite()).await;
    reading::a_scan_merges_topics_in_log_order(suite()).await;
    forks::a_fork_shares_its_sources_past(suite()).await;
    forks::a_source_lives_on_for_its_forks(suite()).await;
    groups::a_group_is_created_once(suite()).await;
    groups::a_groups_steps_are_kept(suite()).await;
    groups::a_step_and_an_append_are_one(suite()).await;
    groups::retention_leaves_what_a_group_needs(suite()).await;
    reading::messages_behind_an_offset_are_counted(suite()).await;
    writing::concurrent_appends_are_all_seen_once(suite()).await;
    writing::a_closed_engine_refuses(suite()).await;
}
