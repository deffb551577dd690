//! A folder of the operating system in which nothing is changed: a backup or a snapshot, say.

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::real::{RealFile, RealLock, list};
use crate::disk::{Disk, File, Lock};

/// A folder that is only read.
#[derive(Debug)]
pub(crate) struct ReadOnlyDisk {
    root: PathBuf,
}

impl ReadOnlyDisk {
    /// The folder.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.root)
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(fs::File::open(self.root.join(name))?)))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync_names(&self) -> io::Result<()> {
        refused()
    }

    /// Shares the lock with others who only read. Whoever uses the store has made that file.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let file = match fs::File::open(self.root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Box::new(NoLock))),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct NoLock;

impl Lock for NoLock {}
