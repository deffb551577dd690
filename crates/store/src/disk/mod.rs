//! The few things the store asks of a disk, so that tests can put a faulty one under it.
//!
//! Names are relative to the store's folder. What these calls promise is what POSIX promises and no more: written
//! bytes survive a crash after [`File::sync`], created, renamed and removed names after [`Disk::sync_names`].

mod contents;
pub mod faulty;
pub mod random;
pub(crate) mod read_only;
pub mod real;
pub(crate) mod surviving;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A folder of files.
pub trait Disk: Send + Sync + Debug + 'static {
    /// The names of the files directly in the folder.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file, empty even if there was one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in place of whatever had it. A folder in the new name is created.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync_names(&self) -> io::Result<()>;

    /// Takes the lock of this name, an exclusive one unless nothing can be changed; none if another process holds it.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>>;
}

/// An open file. Reads and writes name their place, so that threads share it.
pub trait File: Send + Sync + Debug + 'static {
    /// Fills the buffer from this place, or fails with `UnexpectedEof`.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;

    /// Writes all of it at this place. A failure may leave any part of it written.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Makes written bytes and the length durable.
    fn sync(&self) -> io::Result<()>;

    /// Extends the file by zeros, with their place on the disk made.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// The length.
    fn length(&self) -> io::Result<u64>;
}

/// A lock, held until it is dropped.
pub trait Lock: Send + Sync + Debug + 'static {}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes a whole file so that the name holds either what it held before or all of this, also after a crash.
pub(crate) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}{TEMPORARY}");
    let written = write_as(disk, &temporary, name, bytes);
    if written.is_err() {
        // On a full disk every byte counts; if it cannot be removed now, opening will do it.
        disk.remove(&temporary).ok();
    }
    written
}

fn write_as(disk: &dyn Disk, temporary: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(temporary)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(temporary, name)?;
    disk.sync_names()
}

/// Where damaged files go.
pub(crate) const ASIDE: &str = "damaged";

/// Ends the names of files that are not finished; opening removes them.
pub(crate) const TEMPORARY: &str = ".tmp";
