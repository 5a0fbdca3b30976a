//! What the thread for blocking work does with a file.

use std::collections::BTreeMap;
use std::fs::File as OsFile;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rollcall_core::data::journal::{File, Operation};

use super::OpenFile;
use super::error::DiskError;
use super::folder::Folder;

/// An operation with everything it needs.
pub(super) struct Work {
    folder: Folder,
    directory: Arc<OsFile>,
    /// The file it is about, if that is open.
    open: Option<Arc<OpenFile>>,
    /// The files it removes. Closed by this thread before they are removed, which frees what they occupy: that can take long.
    closed: Vec<Arc<OpenFile>>,
    operation: Operation,
}

/// How it went.
pub(super) struct Done {
    pub(super) result: Result<(), DiskError>,
    pub(super) buffer: Vec<u8>,
    /// A file that was opened for it.
    pub(super) opened: Option<(File, Arc<OpenFile>)>,
}

impl Done {
    pub(super) fn panicked(folder: &Folder) -> Self {
        let error = io::Error::other("the thread that works for it has panicked");
        Self {
            result: Err(DiskError::new("working in", folder.path(), &error)),
            buffer: Vec::new(),
            opened: None,
        }
    }
}

impl Work {
    pub(super) fn new(
        folder: &Folder,
        directory: &Arc<OsFile>,
        files: &mut BTreeMap<File, Arc<OpenFile>>,
        operation: Operation,
    ) -> Self {
        let (mut open, mut closed) = (None, Vec::new());
        match &operation {
            Operation::Write { file, .. } | Operation::Sync { file } => {
                open = files.get(file).cloned();
            }
            // What is open under this name is not this file any more.
            Operation::Replace { file, .. } => closed.extend(files.remove(file)),
            Operation::Remove { files: gone } => {
                closed.extend(gone.iter().filter_map(|file| files.remove(file)));
            }
        }
        Self {
            folder: folder.clone(),
            directory: Arc::clone(directory),
            open,
            closed,
            operation,
        }
    }

    pub(super) fn run(mut self) -> Done {
        self.closed.clear();
        let (mut buffer, mut opened) = (Vec::new(), None);
        let result =
            match std::mem::replace(&mut self.operation, Operation::Remove { files: vec![] }) {
                Operation::Write { file, at, bytes } => {
                    let written = self.open(file, true, &mut opened).and_then(|open| {
                        let written = open.file.write_all_at(&bytes, at);
                        written.map_err(|error| self.failed("writing", file, &error))
                    });
                    buffer = bytes;
                    written
                }
                Operation::Sync { file } => self.open(file, false, &mut opened).and_then(|open| {
                    let synced = self.sync(&open);
                    synced.map_err(|error| self.failed("syncing", file, &error))
                }),
                Operation::Replace { file, bytes } => {
                    let replaced = self.folder.replace(file, &bytes);
                    buffer = bytes;
                    replaced
                }
                Operation::Remove { files } => self.folder.remove(&files),
            };
        Done {
            result,
            buffer,
            opened,
        }
    }

    fn open(
        &self,
        file: File,
        create: bool,
        opened: &mut Option<(File, Arc<OpenFile>)>,
    ) -> Result<Arc<OpenFile>, DiskError> {
        if let Some(open) = &self.open {
            return Ok(Arc::clone(open));
        }
        let open = OpenFile::new(self.folder.open(file, create)?);
        *opened = Some((file, Arc::clone(&open)));
        Ok(open)
    }

    fn sync(&self, open: &OpenFile) -> io::Result<()> {
        open.file.sync_data()?;
        if !open.is_listed.load(Relaxed) {
            self.directory.sync_all()?;
            open.is_listed.store(true, Relaxed);
        }
        Ok(())
    }

    fn failed(&self, doing: &str, file: File, error: &io::Error) -> DiskError {
        DiskError::new(doing, &self.folder.path_of(file), error)
    }
}
