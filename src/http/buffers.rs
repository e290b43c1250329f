//! Buffers of large bodies, used again.
//!
//! A page is a mebibyte or two and lives for a moment. Were its buffer given back each time, the next
//! one would be faulted in anew and lie between what is left of others. What lives here: a few buffers
//! that nobody uses. The one thing to know: a buffer comes back when the last slice of its body is
//! dropped, whoever holds it.

use std::sync::Mutex;

use bytes::Bytes;

/// Smaller ones are the allocator's own business.
const LARGE: usize = 128 << 10;
/// Larger ones are too rare to be kept.
const LARGEST: usize = 4 << 20;
/// Sizes are rounded up to a multiple, so that most pages fit into what another page had.
const STEP: usize = 256 << 10;
/// What is kept while nobody uses it.
const KEPT: usize = 4 << 20;

static IDLE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A body while it is received.
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// With room for so many bytes; it grows beyond them.
    pub(super) fn with_room_for(bytes: usize) -> Buffer {
        if !(LARGE..=LARGEST).contains(&bytes) {
            return Buffer(Vec::with_capacity(bytes));
        }
        let again = IDLE.lock().ok().and_then(|mut idle| {
            let fits = |buffer: &Vec<u8>| (bytes..=2 * bytes + STEP).contains(&buffer.capacity());
            let at = idle.iter().rposition(fits)?;
            Some(idle.swap_remove(at))
        });
        Buffer(again.unwrap_or_else(|| Vec::with_capacity(bytes.next_multiple_of(STEP))))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.0.extend_from_slice(chunk);
    }

    pub(super) fn whole(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if !(LARGE..=LARGEST).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let Ok(mut idle) = IDLE.lock() else { return };
        idle.push(buffer);
        let mut kept: usize = idle.iter().map(Vec::capacity).sum();
        while kept > KEPT {
            // The one that was not asked for longest.
            kept -= idle.remove(0).capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a size that nobody else asks for.
    const SIZE: usize = LARGEST - STEP / 2;

    #[test]
    fn a_buffer_is_used_again_empty_when_the_last_slice_of_its_body_is_gone() {
        let mut buffer = Buffer::with_room_for(SIZE);
        buffer.push(b"a body");
        let whole = buffer.whole();
        let (begins_at, slice) = (whole.as_ptr(), whole.slice(2..));
        drop(whole);
        assert_ne!(Buffer::with_room_for(SIZE).0.as_ptr(), begins_at, "somebody reads it");

        drop(slice);

        assert!(IDLE.lock().unwrap().iter().any(|idle| idle.as_ptr() == begins_at));
        assert_eq!(IDLE.lock().unwrap().iter().map(Vec::len).sum::<usize>(), 0);
    }

    #[test]
    fn what_is_kept_for_nobody_is_bounded_and_what_is_too_large_is_not_kept() {
        let many: Vec<Buffer> = (0..8).map(|_| Buffer::with_room_for(LARGEST / 2)).collect();
        drop(many);
        drop(Buffer::with_room_for(2 * LARGEST));

        let kept: usize = IDLE.lock().unwrap().iter().map(Vec::capacity).sum();
        assert!((1..=KEPT).contains(&kept), "{kept}");
    }
}
