//! Sets aside what is damaged, so that the rest works without errors: segments with damage are written anew from what is
//! intact in them, and the old files go into the folder `damaged`. What was lost shows to readers as a gap.

use std::io;
use std::path::Path;
use std::sync::Arc;

use quintet_core::error::{Error, Kind, Result};
use quintet_core::limits::Limits;

use crate::checkpoint::content::Captured;
use crate::checkpoint::files::{CHECKPOINTS_KEPT, store};
use crate::commit::appender::create_segment;
use crate::copies::remove_old;
use crate::disk::real::RealDisk;
use crate::disk::surviving::Surviving;
use crate::disk::{ASIDE, Disk};
use crate::format::header::{SegmentHead, SegmentKey};
use crate::format::walk::{SurveyInput, survey};
use crate::inspect::check::{check_on, lock};
use crate::inspect::report::Report;
use crate::recovery::damage::DAMAGE_FILE;
use crate::recovery::layout::open_error;
use crate::recovery::open::{Opened, open_log};
use crate::segments::rebuild::index_of;
use crate::segments::segment::Segment;
use crate::upkeep::output::Output;

/// Repairs the store in a folder, which no process may be using. Tells what was damaged and where it went.
pub fn repair(folder: &Path) -> Result<Report> {
    if !folder.is_dir() {
        return Err(Error::new(Kind::BadRequest, format!("there is no folder {}", folder.display())));
    }
    repair_on(&RealDisk::open(folder).map_err(open_error)?)
}

/// Repairs the store on a disk.
pub fn repair_on(disk: &dyn Disk) -> Result<Report> {
    let mut report = check_on(disk)?;
    if report.is_intact() {
        return Ok(report);
    }
    let lock = lock(disk)?;
    // Limits do not matter: nothing is added.
    let opened = open_log(disk, Limits::default())?;
    let repaired = Repair { disk, opened, report: &mut report }.run();
    drop(lock);
    repaired.map_err(open_error)?;
    Ok(report)
}

struct Repair<'a> {
    disk: &'a dyn Disk,
    opened: Opened,
    report: &'a mut Report,
}

impl Repair<'_> {
    fn run(mut self) -> io::Result<()> {
        let committed = self.opened.replay.committed;
        let segments = std::mem::take(&mut self.opened.segments);
        let broken: Vec<bool> = segments.iter().map(|segment| self.is_damaged(segment.key)).collect();
        for (segment, broken) in segments.iter().zip(broken) {
            if broken {
                self.rewrite(segment, committed)?;
            }
        }
        // A new segment behind everything, so that nothing of the repaired ones is ever replayed.
        let newest = segments.last().map_or(0, |segment| segment.base());
        if newest <= committed {
            let key = SegmentKey { base: committed + 1, generation: 0 };
            let head = SegmentHead { log: self.opened.head.log, key, end: 0, durable_through: committed };
            create_segment(self.disk, &head, self.opened.head.salt)?;
        }
        self.write_checkpoints(committed)?;
        match self.disk.remove(DAMAGE_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_names(),
        }
    }

    fn is_damaged(&self, key: SegmentKey) -> bool {
        self.report.is_damaged(&key.file())
    }

    /// Writes what is intact of a segment into one that takes its place.
    fn rewrite(&mut self, segment: &Arc<Segment>, committed: u64) -> io::Result<()> {
        let old = segment.key;
        let bytes = Surviving::read(&*self.disk.open(&old.file())?, &old.file())?.bytes;
        let end = segment.end().min(committed);
        let salt = self.opened.head.salt;
        let key = SegmentKey { generation: old.generation + 1, ..old };
        let head = SegmentHead { log: self.opened.head.log, key, end, durable_through: committed };
        let mut output = Output::create(self.disk, &head, salt)?;
        let input = SurveyInput {
            bytes: &bytes,
            salt,
            last: old.base.saturating_sub(1),
            limit: end.saturating_add(1),
            durable_through: end,
        };
        let mut written = Ok(());
        survey(input, |_, records| {
            for (_, record) in records {
                if written.is_ok() {
                    written = output.add(record.offset, record.bytes());
                }
            }
        });
        written?;
        output.finish(self.disk)?;
        self.set_aside(&old.file())?;
        match self.disk.remove(&old.index_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn set_aside(&mut self, file: &str) -> io::Result<()> {
        let aside = format!("{ASIDE}/{file}");
        self.disk.rename(file, &aside)?;
        self.disk.sync_names()?;
        self.report.set_aside.push(aside);
        Ok(())
    }

    /// Counts anew what is kept of each topic, and writes it twice, so that no older checkpoint is ever used.
    fn write_checkpoints(&mut self, committed: u64) -> io::Result<()> {
        let names = self.disk.list()?;
        let files = self.report.damages.iter().map(|damage| &damage.file).filter(|file| file.ends_with(".checkpoint"));
        let damaged: Vec<String> = files.cloned().collect();
        for file in damaged {
            if names.contains(&file) {
                self.set_aside(&file)?;
            } else {
                // Opening has done so with those that are newer than the one it used.
                self.report.set_aside.push(format!("{ASIDE}/{file}"));
            }
        }
        let topics = &self.opened.replay.topics;
        let mut state = Captured::new(self.opened.replay.ledger.snapshot(), topics, committed, 0);
        for kept in state.kept.values_mut() {
            (kept.messages, kept.bytes) = (0, 0);
        }
        let salt = self.opened.head.salt;
        for key in names.iter().filter_map(|name| SegmentKey::from_file(name, "log")) {
            let Ok(file) = self.disk.open(&key.file()) else { continue };
            let bytes = Surviving::read(&*file, &key.file())?.bytes;
            let (index, _) = index_of(&bytes, salt, key, u64::MAX - 1)?;
            for topic in index.topics() {
                let Some(kept) = state.kept.get_mut(&topic) else { continue };
                for entry in index.between(topic, kept.trimmed_through, u64::MAX)?.iter().filter(|e| e.is_message()) {
                    kept.messages += 1;
                    kept.bytes += u64::from(entry.size);
                }
            }
        }
        for _ in 0..CHECKPOINTS_KEPT {
            self.opened.checkpoint_number += 1;
            store(self.disk, self.opened.head, self.opened.checkpoint_number, &state)?;
        }
        remove_old(self.disk)
    }
}
