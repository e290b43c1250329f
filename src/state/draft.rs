//! A file that appears whole or not at all.
//!
//! It is written beside the one it becomes, so that a crash or a full disk leaves the old one. For
//! its owner alone: natural keys are in it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What every draft is called by, after the name that it is to have.
const SUFFIX: &str = ".tmp";

/// A file on the way; removed again when it is dropped before it became one.
pub struct Draft {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl Draft {
    /// A draft of `target`, in the same directory, which must be there.
    pub fn beside(target: &Path) -> io::Result<Draft> {
        let mut name = OsString::from(target.file_name().unwrap_or_default());
        name.push(SUFFIX);
        let path = target.with_file_name(name);
        // One that an earlier crash left may have other permissions.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Draft { path, file, is_kept: false })
    }

    /// Where to write.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in the place of `target`. On disk when it returns `Ok`.
    pub fn becomes(mut self, target: &Path) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.is_kept = true;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nothing to add to the error that is on its way.
            let _ = fs::remove_file(&self.path);
        }
    }
}
