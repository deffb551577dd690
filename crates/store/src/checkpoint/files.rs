//! The checkpoint files of a store: the two newest are kept.

use std::io;

use crate::checkpoint::content::Captured;
use crate::checkpoint::decode::decode;
use crate::disk::{Disk, read_all, replace};
use crate::format::header::StoreHead;

/// How many are kept: the newest, and one in case that it is damaged.
pub(crate) const CHECKPOINTS_KEPT: usize = 2;

/// The name of a checkpoint's file.
pub(crate) fn checkpoint_file(number: u64) -> String {
    format!("{number:016x}.checkpoint")
}

/// The numbers of the checkpoints among these files, the newest first.
pub(crate) fn checkpoint_numbers(names: &[String]) -> Vec<u64> {
    let parse = |name: &String| u64::from_str_radix(name.strip_suffix(".checkpoint")?, 16).ok();
    let mut numbers: Vec<u64> = names.iter().filter_map(parse).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

/// The state in a checkpoint and its size; none if it is damaged.
pub(crate) fn load(disk: &dyn Disk, head: StoreHead, number: u64) -> io::Result<Option<(Captured, u64)>> {
    let bytes = read_all(&*disk.open(&checkpoint_file(number))?)?;
    Ok(decode(&bytes, head).map(|state| (state, bytes.len() as u64)))
}

/// Writes a checkpoint and removes those that are not kept any more. Tells how many bytes it has.
pub(crate) fn store(disk: &dyn Disk, head: StoreHead, number: u64, state: &Captured) -> io::Result<u64> {
    let bytes = state.encode(head, number);
    match replace(disk, &checkpoint_file(number), &bytes) {
        // Only a checkpoint lets space be given back, so the older one makes room for it.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            for old in checkpoint_numbers(&disk.list()?).into_iter().skip(1) {
                disk.remove(&checkpoint_file(old))?;
            }
            replace(disk, &checkpoint_file(number), &bytes)?;
        }
        written => written?,
    }
    for old in checkpoint_numbers(&disk.list()?).into_iter().filter(|n| *n <= number).skip(CHECKPOINTS_KEPT) {
        disk.remove(&checkpoint_file(old))?;
    }
    Ok(bytes.len() as u64)
}
