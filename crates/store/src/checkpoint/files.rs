//! The checkpoint files of a store: the two newest that are intact are kept.

use std::io;

use crate::ballast::{is_full, with_room};
use crate::checkpoint::content::Captured;
use crate::checkpoint::decode::{decode, is_whole};
use crate::disk::surviving::is_unreadable;
use crate::disk::{ASIDE, Disk, read_all, replace};
use crate::format::header::StoreHead;

/// How many are kept: the newest, and one in case that it is damaged.
pub(crate) const CHECKPOINTS_KEPT: usize = 2;

/// The name of a checkpoint's file.
pub(crate) fn checkpoint_file(number: u64) -> String {
    format!("{number:016x}.checkpoint")
}

/// The numbers of the checkpoints among these files, the newest first. A name that no checkpoint is given is none's.
pub(crate) fn checkpoint_numbers(names: &[String]) -> Vec<u64> {
    let parse = |name: &String| {
        let number = u64::from_str_radix(name.strip_suffix(".checkpoint")?, 16).ok()?;
        (checkpoint_file(number) == *name).then_some(number)
    };
    let mut numbers: Vec<u64> = names.iter().filter_map(parse).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

/// The state in a checkpoint and its size; none if it is damaged, or cannot be read.
pub(crate) fn load(disk: &dyn Disk, head: StoreHead, number: u64) -> io::Result<Option<(Captured, u64)>> {
    let file = checkpoint_file(number);
    let bytes = match disk.open(&file).and_then(|file| read_all(&*file)) {
        Err(error) if is_unreadable(&error) => {
            tracing::error!(file, %error, "a checkpoint cannot be read");
            return Ok(None);
        }
        read => read?,
    };
    Ok(decode(&bytes, head).map(|state| (state, bytes.len() as u64)))
}

/// Writes a checkpoint and removes those that are not kept any more. Tells how many bytes it has.
///
/// Only a checkpoint lets space be given back, so on a full disk room is made for it: what is kept for that day goes
/// first, then the checkpoints older than the newest intact one.
pub(crate) fn store(disk: &dyn Disk, head: StoreHead, number: u64, state: &Captured) -> io::Result<u64> {
    let (bytes, name) = (state.encode(head, number), checkpoint_file(number));
    let n_bytes = bytes.len() as u64;
    let write = || with_room(disk, n_bytes, 0, || replace(disk, &name, &bytes));
    match write() {
        Err(error) if is_full(&error) => {
            keep_newest(disk, head, number, 1)?;
            write()?;
        }
        written => written?,
    }
    keep_newest(disk, head, number, CHECKPOINTS_KEPT - 1)?;
    Ok(n_bytes)
}

/// Keeps so many of the checkpoints before this one, the newest that are intact, and removes those that are older. The
/// damaged ones that are newer than they are set aside, so that they are not counted. Where none is intact all stay.
fn keep_newest(disk: &dyn Disk, head: StoreHead, number: u64, n_kept: usize) -> io::Result<()> {
    let numbers = checkpoint_numbers(&disk.list()?);
    let (mut n_intact, mut damaged, mut old) = (0, Vec::new(), Vec::new());
    for before in numbers.into_iter().filter(|before| *before < number) {
        if n_intact == n_kept {
            old.push(before);
        } else if is_intact(disk, head, before) {
            n_intact += 1;
        } else {
            damaged.push(before);
        }
    }
    for damaged in damaged.into_iter().filter(|_| n_intact > 0) {
        let file = checkpoint_file(damaged);
        let moved = disk.rename(&file, &format!("{ASIDE}/{file}")).and_then(|()| disk.sync_names());
        tracing::error!(file, ?moved, "a checkpoint is damaged and set aside");
    }
    old.into_iter().try_for_each(|old| disk.remove(&checkpoint_file(old)))
}

fn is_intact(disk: &dyn Disk, head: StoreHead, number: u64) -> bool {
    let bytes = disk.open(&checkpoint_file(number)).and_then(|file| read_all(&*file));
    bytes.is_ok_and(|bytes| is_whole(&bytes, head))
}
