//! What the state takes on its disk, and what is left there.

use std::fs;
use std::path::Path;

/// In bytes; `None` where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What the files of the directory add up to.
    pub taken: Option<u64>,
    /// What is free for whom the process belongs to.
    pub free: Option<u64>,
}

/// Looks at a state directory. Blocks while it does.
pub fn room(directory: &Path) -> Room {
    let disk = rustix::fs::statvfs(directory).ok();
    let free = disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Room { taken: taken(directory).ok(), free }
}

fn taken(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // The database removes files while this looks.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { taken(&entry.path()).unwrap_or(0) } else { about.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_folders_counts_and_a_disk_has_room() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("blobs")).unwrap();
        fs::write(directory.path().join("db"), [0; 100]).unwrap();
        fs::write(directory.path().join("blobs/1"), [0; 23]).unwrap();

        let room = room(directory.path());

        assert_eq!(room.taken, Some(123));
        assert!(room.free > Some(0), "{room:?}");
        assert_eq!(super::room(&directory.path().join("nothing")), Room::default());
    }
}
