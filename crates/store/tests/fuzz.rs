//! Random damage: cut files, zeros, junk, flipped bits, and copies in wrong places. Each topic's readers get what was
//! acknowledged, in order and nothing twice, and what is missing is told by an error or a gap; a repair leaves nothing
//! damaged.
//!
//! `QUINTET_STORE_SEED` replays one seed, `QUINTET_STORE_SEEDS` sets how many are tried.

use std::fmt::Write;

use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::error::Kind;
use quintet_store::disk::Disk;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;
use quintet_store::inspect::check::check_on;
use quintet_store::inspect::repair::repair_on;

use crate::faults::seeds;
use crate::harness::{NOW, Open, tiny_for};

/// Topics and what was acknowledged of each.
type Acknowledged = Vec<(String, Vec<String>)>;

const MAGIC: &[u8] = b"QBAT";
const DELETED: &str = "t1";

/// One store before and after it is damaged.
struct Case {
    seed: u64,
    disk: FaultyDisk,
    acknowledged: Acknowledged,
    /// Whether a checkpoint knows of everything.
    closed: bool,
    /// What was done to it, and how often.
    what: String,
    n_damages: usize,
}

/// What a reader got of a topic.
struct Read {
    texts: Vec<String>,
    /// Whether it was told that there had been more.
    told: bool,
}

fn text(n: usize, random: &mut Random, even: bool) -> String {
    let length = if even { 60 } else { random.below(200) as usize };
    format!("{n}-{}", "x".repeat(length))
}

impl Case {
    async fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (closed, even) = (random.below(2) == 0, random.below(2) == 0);
        let disk = FaultyDisk::new();
        let open = Open::on(&disk, &tiny_for(seed)).unwrap();
        let mut acknowledged: Acknowledged = (0..5).map(|i| (format!("t{i}"), Vec::new())).collect();
        for n in 0..60 {
            // The second is deleted in the middle.
            let (topic, texts) = &mut acknowledged[if n > 30 && n % 5 == 1 { 0 } else { n % 5 }];
            let both = [text(n * 2, &mut random, even), text(n * 2 + 1, &mut random, even)];
            let published = if random.below(2) == 0 { &both[..1] } else { &both[..] };
            let payloads: Vec<&str> = published.iter().map(String::as_str).collect();
            open.publish(topic, &payloads).await.unwrap();
            texts.extend_from_slice(published);
            if random.below(10) == 0 {
                open.store.maintain(NOW);
            }
            if n == 30 {
                open.delete(DELETED).await.unwrap();
                acknowledged[1].1.clear();
            }
        }
        let kept = disk.copy();
        let disk = if closed {
            open.close().await;
            disk
        } else {
            drop(open);
            kept
        };
        Self { seed, disk, acknowledged, closed, what: String::new(), n_damages: 0 }
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        let file = self.disk.open(file).unwrap();
        let mut bytes = vec![0; file.length().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Where in a file something may be broken. Without a checkpoint behind it, the end of the log cannot be told from
    /// what was being written.
    fn end(&self, file: &str, bytes: &[u8], checkpoints_are_whole: bool) -> usize {
        let newest = self.logs().pop().is_some_and(|newest| newest == file);
        if !newest || (self.closed && checkpoints_are_whole) {
            return bytes.len();
        }
        bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0).saturating_sub(900)
    }

    fn logs(&self) -> Vec<String> {
        self.disk.files().into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".log")).collect()
    }

    /// Breaks something, now and then two things.
    fn damage(&mut self, random: &mut Random) {
        let (mut whole, mut newest_is_broken) = (true, false);
        for _ in 0..=random.below(2) {
            let files = self.disk.files().into_iter();
            let files: Vec<_> = files.filter(|(n, l)| *l > 0 && n != "store" && !n.contains('/')).collect();
            let logs = self.logs();
            let file = match random.below(4) {
                0 => files[random.below(files.len() as u64) as usize].0.clone(),
                _ => logs[random.below(logs.len() as u64) as usize].clone(),
            };
            let bytes = self.bytes(&file);
            let end = self.end(&file, &bytes, whole);
            let is_checkpoint = file.ends_with(".checkpoint");
            // Nor can it where the checkpoint behind it is damaged too.
            if end <= 64 || (is_checkpoint && newest_is_broken) {
                continue;
            }
            newest_is_broken |= logs.last() == Some(&file);
            self.n_damages += 1;
            whole &= !is_checkpoint;
            if file.ends_with(".log") && random.below(3) == 0 {
                self.misplace(random, &file, &bytes, end);
            } else {
                self.break_at(random, &file, end);
            }
        }
    }

    fn break_at(&mut self, random: &mut Random, file: &str, end: usize) {
        let at = random.below(end as u64) as usize;
        let opened = self.disk.open(file).unwrap();
        let done = match random.below(4) {
            0 if self.end(file, &self.bytes(file), true) == opened.length().unwrap() as usize => {
                opened.set_len(at as u64).unwrap();
                "cut".to_owned()
            }
            0 | 1 => {
                let n = (end - at).min(1 + random.below(512) as usize);
                opened.write_at(&vec![0; n], at as u64).unwrap();
                format!("{n} zeros")
            }
            2 => {
                let n = (end - at).min(1 + random.below(100) as usize);
                let junk: Vec<u8> = (0..n).map(|_| random.below(256) as u8).collect();
                opened.write_at(&junk, at as u64).unwrap();
                format!("{n} bytes of junk")
            }
            _ => {
                let n = 1 + random.below(3);
                let bits = (0..n).map(|_| random.below((end - at).min(40) as u64 * 8) as usize);
                bits.for_each(|bit| self.disk.flip(file, at + bit / 8, (bit % 8) as u8));
                format!("{n} flipped bits")
            }
        };
        write!(self.what, "; {done} at {at} of {file}").unwrap();
    }

    /// Puts bytes of one segment into a wrong place; every other time whole batches in the place of others.
    fn misplace(&mut self, random: &mut Random, file: &str, bytes: &[u8], end: usize) {
        let logs = self.logs();
        let other = logs[random.below(logs.len() as u64) as usize].clone();
        let (source, source_bytes) = match random.below(3) {
            0 => (other.as_str(), self.bytes(&other)),
            _ => (file, bytes.to_vec()),
        };
        let heads = |bytes: &[u8]| -> Vec<usize> {
            let windows = bytes.windows(MAGIC.len()).enumerate();
            windows.filter(|(_, window)| *window == MAGIC).map(|(at, _)| at).collect()
        };
        let (mut from, mut to) = (heads(&source_bytes), heads(&bytes[..end]));
        if random.below(2) == 0 || from.len() < 2 || to.is_empty() {
            from = (0..4).map(|_| random.below(source_bytes.len() as u64) as usize).collect();
            from.sort_unstable();
            to = vec![random.below(end as u64) as usize];
        }
        let first = random.below(from.len() as u64 - 1) as usize;
        let last = (first + 1 + random.below(3) as usize).min(from.len() - 1);
        let at = to[random.below(to.len() as u64) as usize];
        let copied = &source_bytes[from[first]..from[last]];
        let copied = &copied[..copied.len().min(end - at)];
        self.disk.open(file).unwrap().write_at(copied, at as u64).unwrap();
        write!(self.what, "; {} to {} of {source} at {at} of {file}", from[first], from[first] + copied.len()).unwrap();
    }

    /// Reads a topic to its end, or to the first error.
    async fn read(&self, open: &Open, topic: &str) -> Read {
        let (mut after, mut read) = (Offset::ZERO, Read { texts: Vec::new(), told: false });
        loop {
            let page = match open.page(topic, after, 4).await {
                Ok(page) => page,
                Err(error) => {
                    assert_eq!(error.kind(), &Kind::StorageDamaged, "{self}: {topic}: {error}");
                    read.told = true;
                    return read;
                }
            };
            read.told |= page.trimmed_through > after;
            let next = page.messages.last().map_or(after.max(page.trimmed_through), |message| message.offset);
            assert!(page.complete || next > after, "{self}: {topic}: reading makes progress");
            after = next;
            read.texts.extend(page.messages.iter().map(|m| String::from_utf8_lossy(&m.payload).into_owned()));
            if page.complete {
                return read;
            }
        }
    }

    /// What readers get of each topic, which has to be right or told.
    async fn is_right_or_told(&self, open: &Open, when: &str, found: bool) -> Vec<Option<Read>> {
        let mut all = Vec::new();
        for (topic, texts) in &self.acknowledged {
            if !open.seen.restored.lock().contains_key(topic) {
                assert!(topic == DELETED || found, "{self}: {topic} is gone {when}, and nobody told");
                all.push(None);
                continue;
            }
            assert!(topic != DELETED || found, "{self}: {topic} is back {when}, and nobody told");
            let read = self.read(open, topic).await;
            let mut left = texts.iter();
            let in_order =
                topic == DELETED || read.texts.iter().all(|text| left.any(|acknowledged| acknowledged == text));
            assert!(in_order, "{self}: {topic} {when}: {:?} of {texts:?}", read.texts);
            let n = read.texts.len();
            assert!(read.told || n >= texts.len(), "{self}: {topic} {when}: {n} of {}, and nobody told", texts.len());
            all.push(Some(read));
        }
        all
    }

    async fn run(mut self, random: &mut Random) {
        let whole = check_on(&self.disk).unwrap();
        assert!(whole.is_intact(), "{self}: {whole}");
        self.damage(random);
        let report = match check_on(&self.disk) {
            Ok(report) => report,
            Err(error) => panic!("{self}: {error}"),
        };
        let config = tiny_for(self.seed);
        let before = match Open::on(&self.disk.copy(), &config) {
            Ok(open) => self.is_right_or_told(&open, "before the repair", !report.is_intact()).await,
            // Both checkpoints are damaged.
            Err(error) if error.kind() == &Kind::StorageDamaged && !report.is_intact() => return,
            Err(error) => panic!("{self}: {error}"),
        };
        repair_on(&self.disk).unwrap_or_else(|error| panic!("{self}: {error}"));
        let again = check_on(&self.disk).unwrap();
        assert!(again.is_intact(), "{self}: after the repair: {again}\nbefore it: {report}");
        let open = Open::on(&self.disk, &config).unwrap_or_else(|error| panic!("{self}: {error}"));
        let after = self.is_right_or_told(&open, "after the repair", !report.is_intact()).await;
        for ((topic, _), (before, after)) in self.acknowledged.iter().zip(before.iter().zip(&after)) {
            if let (Some(before), Some(after)) = (before, after) {
                let kept = before.texts.iter().all(|text| after.texts.contains(text));
                // Of a copy whose original was broken too it cannot be known where it belongs.
                assert!(
                    kept || self.n_damages > 1,
                    "{self}: {topic}: the repair took {:?} and left {:?}",
                    before.texts,
                    after.texts
                );
            }
            open.publish(topic, &["more"]).await.unwrap_or_else(|error| panic!("{self}: {error}"));
            assert_eq!(self.read(&open, topic).await.texts.last().unwrap(), "more", "{self}: {topic}");
        }
        open.scan().await.unwrap_or_else(|error| panic!("{self}: {error}"));
        open.close().await;
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} (closed: {}{})", self.seed, self.closed, self.what)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_damaged_nothing_is_lost_in_silence() {
    let mut failed = Vec::new();
    for seed in seeds(64) {
        let case = async move { Case::new(seed).await.run(&mut Random(seed ^ 0x5eed)).await };
        if tokio::spawn(case).await.is_err() {
            println!("QUINTET_STORE_SEED={seed} replays what failed above");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
}
