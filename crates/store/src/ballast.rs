//! Room that is kept for the day on which the disk is full. Space is given back only behind a checkpoint, so there has to
//! be room for one: a file that means nothing holds it, and is made shorter by as much as is needed.

use std::io;

use crate::disk::Disk;

/// The file.
pub(crate) const BALLAST_FILE: &str = "ballast";

/// Disks give out room in blocks of this size, or of a part of it.
const BLOCK: u64 = 4_096;

/// Whether there is no room, or this user may not have it.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Does something that takes about so much room. Where there is none, it is given what it needs of the ballast; the rest
/// of it stays, and at least `floor`.
pub(crate) fn with_room<T>(
    disk: &dyn Disk,
    bytes: u64,
    floor: u64,
    mut work: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if is_full(&error) => {
                if !give(disk, bytes, floor)? {
                    return Err(error);
                }
            }
            done => return done,
        }
    }
}

/// Makes the ballast shorter by about so much; false if there is not so much of it.
fn give(disk: &dyn Disk, bytes: u64, floor: u64) -> io::Result<bool> {
    let file = match disk.open(BALLAST_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let length = file.length()?;
    // Names take room too.
    let left = length.saturating_sub(bytes.next_multiple_of(BLOCK) + BLOCK);
    if length == 0 || left < floor {
        return Ok(false);
    }
    if left > 0 {
        file.set_len(left)?;
    } else {
        drop(file);
        disk.remove(BALLAST_FILE)?;
    }
    tracing::warn!(bytes = length - left, left, "the disk is full; room that was kept for that is used");
    Ok(true)
}

/// Makes the ballast as large as this again; false if there is no room for it.
pub(crate) fn keep(disk: &dyn Disk, bytes: u64) -> io::Result<bool> {
    if bytes == 0 {
        return Ok(true);
    }
    let file = match disk.open(BALLAST_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(BALLAST_FILE)?,
        opened => opened?,
    };
    let length = file.length()?;
    if length >= bytes {
        return Ok(true);
    }
    match file.allocate(bytes) {
        Ok(()) => Ok(true),
        Err(error) => {
            file.set_len(length)?;
            if is_full(&error) { Ok(false) } else { Err(error) }
        }
    }
}
