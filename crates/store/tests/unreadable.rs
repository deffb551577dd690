//! Sectors that the disk cannot read (EIO): they cost what stands in them, are told of like any other damage, and stop
//! neither opening, nor what lies beside them, nor upkeep.

use std::ops::Range;
use std::time::{Duration, Instant};

use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::engine::transaction::Op;
use quintet_core::error::Kind;
use quintet_store::StoreConfig;
use quintet_store::disk::Disk;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::inspect::check::check_on;
use quintet_store::inspect::repair::repair_on;

use crate::harness::{NOW, Open, append, tiny};

const SECTOR: usize = 512;

/// Segments of some sectors.
fn small() -> StoreConfig {
    StoreConfig { segment_bytes: 20_000, checkpoint_log_bytes: 60_000, reserve_bytes: 2_000, ..tiny() }
}

fn logs(disk: &FaultyDisk) -> Vec<(String, usize)> {
    disk.files().into_iter().filter(|(name, _)| name.ends_with(".log") && !name.contains('/')).collect()
}

type Expected = Vec<(String, Vec<String>)>;

/// A store of three topics and some segments; without closing, none of it is in a checkpoint.
async fn filled(close: bool) -> (FaultyDisk, Expected) {
    let disk = FaultyDisk::new();
    let config = StoreConfig { checkpoint_log_bytes: 1 << 30, ..small() };
    let open = Open::on(&disk, &config).unwrap();
    for i in 0..300 {
        open.publish(&format!("t{}", i % 3), &[&format!("{i}-{}", "x".repeat(i * 7 % 300))]).await.unwrap();
    }
    open.until(NOW, "full segments are indexed", || indexes(&disk).len() + 1 == logs(&disk).len()).await;
    let mut expected = Vec::new();
    for topic in ["t0", "t1", "t2"] {
        expected.push((topic.to_owned(), open.texts(topic).await.unwrap()));
    }
    if close {
        open.close().await;
        return (disk, expected);
    }
    open.copied(&disk, "t2").await;
    let copy = disk.copy();
    drop(open);
    (copy, expected)
}

fn indexes(disk: &FaultyDisk) -> Vec<String> {
    disk.files().into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".index")).collect()
}

/// Reads each topic over its damage: what is read, and how often a reader was told. A reader that meets damage goes on
/// behind it, message by message.
async fn read_over(open: &Open, expected: &Expected, what: &str) -> usize {
    let mut n_told = 0;
    for (topic, texts) in expected {
        let mut after = Offset::ZERO;
        let mut rest = texts.iter();
        loop {
            match open.page(topic, after, 7).await {
                Ok(page) => {
                    after = after.max(page.trimmed_through);
                    for message in &page.messages {
                        let text = String::from_utf8_lossy(&message.payload);
                        assert!(rest.any(|expected| *expected == text), "{what}: {topic}: {text} is in its place");
                        after = message.offset;
                    }
                    if page.complete {
                        break;
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), &Kind::StorageDamaged, "{what}: {topic}: {error}");
                    assert!(error.to_string().contains(topic.as_str()), "{what}: {error}");
                    n_told += 1;
                    after = Offset(after.0 + 1);
                    if after.0 > 2_000 {
                        break;
                    }
                }
            }
        }
    }
    n_told
}

/// What is read after a repair, and how many gaps there are.
async fn n_left(disk: &FaultyDisk, expected: &Expected, what: &str) -> (usize, usize) {
    let open = Open::on(disk, &small()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (mut n_read, mut n_gaps) = (0, 0);
    for (topic, texts) in expected {
        let (mut after, mut rest) = (Offset::ZERO, texts.iter());
        loop {
            let page = open.page(topic, after, 7).await.unwrap_or_else(|error| panic!("{what}: {topic}: {error}"));
            if page.trimmed_through > after {
                n_gaps += 1;
                after = page.trimmed_through;
            }
            for message in &page.messages {
                assert!(rest.any(|text| text.as_bytes() == message.payload), "{what}: {topic}: in order");
                after = message.offset;
                n_read += 1;
            }
            if page.complete {
                break;
            }
        }
        open.publish(topic, &["more"]).await.unwrap();
    }
    open.close().await;
    (n_read, n_gaps)
}

/// Opening, reading, publishing, checking and repairing with an unreadable sector in a segment.
async fn is_damage_like_any_other(
    disk: &FaultyDisk,
    expected: &Expected,
    (file, bad): (&str, Range<usize>),
    what: &str,
) {
    let what = &format!("{what}: {bad:?} of {file}");
    disk.make_unreadable(file, bad.clone());
    let report = check_on(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let line = format!("{file}: bytes {} to {} cannot be read", bad.start, bad.end);
    assert!(!report.is_intact() && report.to_string().contains(&line), "{what}: {report}");
    // Twice: what the first start does, the second finds.
    for start in ["first", "second"] {
        let open = Open::on(disk, &small()).unwrap_or_else(|error| panic!("{what}, {start}: {error}"));
        let n_told = read_over(&open, expected, &format!("{what}, {start}")).await;
        assert!(n_told > 0 || report.damages.iter().all(|damage| damage.messages.is_empty()), "{what}: {report}");
        open.publish("new", &[start]).await.unwrap();
        assert_eq!(open.texts("new").await.unwrap().pop().as_deref(), Some(start), "{what}");
        open.close().await;
    }
    let report = check_on(disk).unwrap();
    assert!(!report.is_intact(), "{what}: {report}");
    let report = repair_on(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(report.set_aside.contains(&format!("damaged/{file}")), "{what}: {report}");
    let again = check_on(disk).unwrap();
    assert!(again.is_intact(), "{what}: {again}");
    let (n_read, n_gaps) = n_left(disk, expected, what).await;
    let n_all: usize = expected.iter().map(|(_, texts)| texts.len()).sum();
    assert!(n_read + 12 >= n_all && (n_read == n_all || n_gaps > 0), "{what}: {n_read} are left, {n_gaps} gaps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_sector_is_damage_like_any_other() {
    for close in [true, false] {
        let (disk, expected) = filled(close).await;
        let what = if close { "behind the checkpoint" } else { "replayed" };
        let (logs, n_logs) = (logs(&disk), logs(&disk).len());
        assert!(n_logs > 3);
        for (i, (file, length)) in logs.iter().enumerate() {
            let end = if i + 1 == n_logs { length.saturating_sub(4_000) } else { *length };
            for at in (0..end).step_by(SECTOR * 7) {
                let bad = at..(at + SECTOR).min(*length);
                is_damage_like_any_other(&disk.copy(), &expected, (file, bad), what).await;
            }
        }
    }
}

/// Where the log's last message ends.
fn end_of_log(disk: &FaultyDisk) -> usize {
    let (newest, length) = logs(disk).pop().unwrap();
    let mut bytes = vec![0; length];
    disk.open(&newest).unwrap().read_at(&mut bytes, 0).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// At the end of the log nothing proves what could be read once: nothing is cut off, nothing is written over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_end_of_the_log_is_sealed_and_told_of() {
    for close in [true, false] {
        let (disk, expected) = filled(close).await;
        let (newest, length) = logs(&disk).pop().unwrap();
        let end = end_of_log(&disk);
        for at in [end - 1, end - 300, end - 700, end.saturating_sub(2_500)] {
            let at = at / SECTOR * SECTOR;
            let disk = disk.copy();
            let n_segments = logs(&disk).len();
            let bad = at..(at + SECTOR).min(length);
            is_damage_like_any_other(&disk.copy(), &expected, (&newest, bad.clone()), "the end").await;
            disk.make_unreadable(&newest, bad.clone());
            if at + SECTOR < end {
                continue;
            }
            let report = check_on(&disk).unwrap();
            assert!(report.damages.iter().any(|damage| damage.more) && report.torn_bytes == 0, "{report}");
            let open = Open::on(&disk, &small()).unwrap();
            let mut sector = vec![0; bad.len()];
            assert!(
                disk.open(&newest).unwrap().read_at(&mut sector, bad.start as u64).is_err(),
                "nothing is written over"
            );
            assert!(logs(&disk).iter().any(|(file, n)| *file == newest && *n == length), "nothing is cut off");
            assert_eq!(logs(&disk).len(), n_segments + 1, "the log goes on in a new segment");
            // Whoever may have had a message there learns so, until a repair.
            let mut n_told = 0;
            for (topic, _) in &expected {
                let told = open.texts(topic).await;
                n_told += usize::from(told.is_err_and(|error| error.kind() == &Kind::StorageDamaged));
            }
            assert!(n_told > 0, "{at} of {end}");
            // No offset is given out again.
            let last = open.publish("t0", &["new"]).await.unwrap();
            assert!(last.0 > 100_000, "{last:?}");
            drop(open);
        }
    }
}

/// What follows an unreadable batch in the same group counts, though nothing proves that the group was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_the_last_group_is_read() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &StoreConfig { reserve_bytes: 0, ..small() }).unwrap();
    open.publish("t", &["first"]).await.unwrap();
    open.copied(&disk, "t").await;
    let texts: Vec<String> = (0..60).map(|i| format!("{i}-{}", "x".repeat(30))).collect();
    let ops = texts.iter().map(|text| Op::Append(append("t", &[text])));
    let answers: Vec<_> = ops.map(|op| open.store.commit(op.into(), NOW)).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    let disk = {
        let copy = disk.copy();
        drop(open);
        copy
    };
    let (newest, length) = logs(&disk).pop().unwrap();
    let at = (length - 2_000) / SECTOR * SECTOR;
    disk.make_unreadable(&newest, at..at + SECTOR);
    for _ in 0..2 {
        let open = Open::on(&disk, &small()).unwrap();
        let (mut found, mut after) = (Vec::new(), Offset::ZERO);
        while after.0 < 200 {
            let page = open.page("t", after, 100).await.unwrap_or_default();
            after = page.messages.last().map_or(Offset(after.0 + 1), |message| message.offset);
            found.extend(page.messages.iter().map(|message| message.payload.clone()));
        }
        let n_found = texts.iter().filter(|text| found.iter().any(|found| found == text.as_bytes())).count();
        assert!(n_found > 45 && found.last().is_some_and(|last| last == texts[59].as_bytes()), "{n_found}");
        open.close().await;
    }
}

/// Of a topic that was created in the end that cannot be read, the second copy tells; its readers learn that it lost
/// something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_in_the_unreadable_end_is_told_of() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &small()).unwrap();
    for i in 0..20 {
        open.publish("early", &[&format!("{i}-{}", "x".repeat(90))]).await.unwrap();
    }
    open.publish("late", &["lost"]).await.unwrap();
    open.copied(&disk, "late").await;
    let disk = {
        let copy = disk.copy();
        drop(open);
        copy
    };
    let (newest, length) = logs(&disk).pop().unwrap();
    disk.make_unreadable(&newest, (end_of_log(&disk) - 200) / SECTOR * SECTOR..length);
    for start in 0..2 {
        let open = Open::on(&disk, &small()).unwrap();
        for topic in ["early", "late"] {
            let told = open.texts(topic).await;
            assert!(told.is_err_and(|error| error.kind() == &Kind::StorageDamaged), "{topic}, start {start}");
            // Nothing that is published later hides it, at the next start neither.
            open.publish(topic, &["new"]).await.unwrap();
            assert!(open.texts(topic).await.is_err(), "{topic}, start {start}");
        }
        drop(open);
    }
    repair_on(&disk).unwrap();
    assert!(check_on(&disk).unwrap().is_intact());
    let open = Open::on(&disk, &small()).unwrap();
    let page = open.page("late", Offset::ZERO, 10).await.unwrap();
    assert!(page.trimmed_through > Offset::ZERO, "a gap");
    let page = open.page("late", page.trimmed_through, 10).await.unwrap();
    assert_eq!(page.messages.len(), 2);
}

/// Where readable zeros say that the log ends before them, what is unreadable behind them was never written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_room_that_was_written_ahead_is_nothing() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &small()).unwrap();
    for topic in ["t0", "t1"] {
        open.publish(topic, &["first"]).await.unwrap();
    }
    let disk = {
        let copy = disk.copy();
        drop(open);
        copy
    };
    let expected = [("t0", ["first"]), ("t1", ["first"])];
    let (newest, length) = logs(&disk).pop().unwrap();
    let end = end_of_log(&disk).next_multiple_of(SECTOR);
    assert!(end + SECTOR < length, "there is room");
    disk.make_unreadable(&newest, end..end + SECTOR);
    let report = check_on(&disk).unwrap();
    assert!(!report.is_intact() && report.damages.is_empty() && report.torn_bytes == 0, "{report}");
    let repaired = disk.copy();
    let report = repair_on(&repaired).unwrap();
    assert_eq!(report.set_aside.len(), 1, "{report}");
    assert!(check_on(&repaired).unwrap().is_intact());
    let n_segments = logs(&disk).len();
    let open = Open::on(&disk, &small()).unwrap();
    assert_eq!(logs(&disk).len(), n_segments);
    for (topic, texts) in expected {
        assert_eq!(open.texts(topic).await.unwrap(), texts);
        open.publish(topic, &["new"]).await.unwrap();
    }
    open.close().await;
    assert!(check_on(&disk).unwrap().is_intact());
}

/// A segment of which nothing can be read at all, wherever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_segment_that_cannot_be_read_stops_nothing() {
    for close in [true, false] {
        let (disk, expected) = filled(close).await;
        let logs = logs(&disk);
        for (file, length) in &logs[1..] {
            let disk = disk.copy();
            disk.make_unreadable(file, 0..*length);
            for _ in 0..2 {
                let open = Open::on(&disk, &small()).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(read_over(&open, &expected, file).await > 0, "{file}");
                open.publish("new", &["new"]).await.unwrap();
                open.close().await;
            }
            let report = repair_on(&disk).unwrap();
            assert!(report.to_string().contains(&format!("{file}: bytes 0 to {length} cannot be read")), "{report}");
            let again = check_on(&disk).unwrap();
            assert!(again.is_intact(), "{file}: {again}");
            n_left(&disk, &expected, file).await;
        }
    }
}

/// Everything but the log can be made again, or there is an older one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_indexes_and_checkpoints_are_like_missing_ones() {
    let (disk, expected) = filled(true).await;
    let open = Open::on(&disk, &small()).unwrap();
    open.publish("other", &["x"]).await.unwrap();
    open.close().await;
    let checkpoints: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".checkpoint")).collect();
    assert_eq!(checkpoints.len(), 2);
    let indexes: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".index")).collect();
    assert!(indexes.len() >= 3);
    for (file, length) in indexes.iter().chain(&checkpoints) {
        for at in [0, length / 2, length - 1] {
            let disk = disk.copy();
            disk.make_unreadable(file, at..at + 1);
            let report = check_on(&disk).unwrap();
            assert_eq!(report.is_intact(), file.ends_with(".index"), "{file} at {at}: {report}");
            let open = Open::on(&disk, &small()).unwrap_or_else(|error| panic!("{file} at {at}: {error}"));
            for (topic, texts) in &expected {
                assert_eq!(&open.texts(topic).await.unwrap(), texts, "{file} at {at}");
            }
            assert_eq!(open.scan().await.unwrap().len(), 301);
            open.until(NOW, "it is made again", || {
                indexes.iter().all(|(i, _)| disk.files().iter().any(|(n, _)| n == i))
            })
            .await;
            open.close().await;
        }
    }
    // A list of what is damaged that cannot be read is begun anew.
    let (file, length) = &logs(&disk)[1];
    disk.make_unreadable(file, length / 2..length / 2 + 1);
    indexes.iter().for_each(|(index, _)| disk.remove(index).unwrap());
    let open = Open::on(&disk, &small()).unwrap();
    assert!(read_over(&open, &expected, "the index is made again").await > 0);
    open.close().await;
    disk.make_unreadable("damage", 0..10);
    indexes.iter().for_each(|(index, _)| disk.remove(index).unwrap());
    let open = Open::on(&disk, &small()).unwrap();
    assert!(read_over(&open, &expected, "the list is unreadable").await > 0);
}

/// Messages in the same read as a bad sector are read; those in it are told of, each time anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_beside_a_sector_that_goes_bad_are_read() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &small()).unwrap();
    let mut offsets = Vec::new();
    for i in 0..100 {
        offsets.push(open.publish("t", &[&format!("{i}-{}", "x".repeat(90))]).await.unwrap());
    }
    let (file, _) = logs(&disk).remove(0);
    disk.make_unreadable(&file, 4_096..4_608);
    let (mut read, mut lost) = (Vec::new(), Vec::new());
    for (i, offset) in offsets.iter().enumerate() {
        // Alone, and with all behind it.
        let alone = open.page("t", Offset(offset.0 - 1), 1).await;
        let page = open.page("t", Offset(offset.0 - 1), 50).await;
        match alone {
            Ok(alone) => {
                assert_eq!(alone.messages[0].offset, *offset);
                assert_eq!(page.unwrap().messages[0].offset, *offset, "{i} is read beside others too");
                read.push(i);
            }
            Err(error) => {
                assert_eq!(error.kind(), &Kind::StorageDamaged, "{error}");
                assert!(error.to_string().contains(&format!("offsets {} to {}", offset.0, offset.0)), "{error}");
                assert_eq!(page.unwrap_err().kind(), &Kind::StorageDamaged);
                lost.push(i);
            }
        }
    }
    assert!((3..7).contains(&lost.len()) && read.len() + lost.len() == 100, "{lost:?} are lost");
    let n_before = lost[0];
    assert_eq!(open.page("t", Offset::ZERO, 100).await.unwrap().messages.len(), n_before, "up to the sector");
    // Nothing of it is remembered: the disk may be asked again.
    assert!(!disk.files().iter().any(|(name, _)| name == "damage"));
}

/// A segment of which a part that lives cannot be read stays as it is, and is tried once; all others are given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_is_given_back_beside_an_unreadable_sector() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &small()).unwrap();
    let payload = "x".repeat(500);
    for i in 0..600 {
        open.publish(if i % 10 == 0 { "stays" } else { "goes" }, &[&payload]).await.unwrap();
    }
    let bytes_of = |disk: &FaultyDisk| logs(disk).iter().map(|(_, length)| length).sum::<usize>();
    let sealed = logs(&disk);
    assert!(sealed.len() > 15, "{sealed:?}");
    // Two segments, each with a sector of a message that stays.
    let stays: Vec<Offset> = open.all("stays").await.unwrap().iter().map(|message| message.offset).collect();
    for (file, length) in [&sealed[0], &sealed[7]] {
        let mut bytes = vec![0; *length];
        disk.open(file).unwrap().read_at(&mut bytes, 0).unwrap();
        let base = u64::from_str_radix(&file[..16], 16).unwrap();
        let nth = stays.iter().filter(|offset| offset.0 > base).min().unwrap().0 - base;
        let at = 64 + nth as usize * (*length / 34);
        disk.make_unreadable(file, at..at + 100);
    }
    open.delete("goes").await.unwrap();
    // What stays, twice over; the two segments, and the newest.
    let allowed = stays.len() * 600 * 2 + 3 * 20_000;
    open.until(NOW, "all other space is given back", || bytes_of(&disk) < allowed).await;
    let is_quiet = || {
        let before = disk.changes();
        let until = Instant::now() + Duration::from_millis(100);
        while Instant::now() < until {
            open.store.maintain(NOW);
            std::thread::sleep(Duration::from_millis(1));
        }
        disk.changes() == before
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_quiet() {
        assert!(Instant::now() < deadline, "the disk becomes quiet");
    }
    open.close().await;
    let report = repair_on(&disk).unwrap();
    for (file, _) in [&sealed[0], &sealed[7]] {
        assert!(report.set_aside.contains(&format!("damaged/{file}")), "{report}");
    }
    assert_eq!(report.set_aside.len(), 2, "{report}");
    assert!(check_on(&disk).unwrap().is_intact());
    let open = Open::on(&disk, &small()).unwrap();
    let before = bytes_of(&disk);
    open.until(NOW, "these are given back too", || bytes_of(&disk) + 25_000 < before).await;
}
