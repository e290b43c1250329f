//! A queue between whoever logs and where the log goes, for a process that must go on when nobody
//! reads its log (row P16 of docs/faults.md).
//!
//! The one thing to know: logging never waits. What does not fit is lost, and counted, and the log
//! says how much it was as soon as somebody reads it again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing_subscriber::fmt::MakeWriter;

/// Records that wait to be written: about a megabyte of them.
pub(super) const RECORDS: usize = 4096;
/// Since the process began. There is one log in a process, whoever counts.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Records that were lost since the process began because nobody read the log in time.
pub fn lost_records() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Between two looks whether there is a place for the last word.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Takes records, of which each is one write.
#[derive(Clone, Debug)]
pub struct LogQueue {
    waiting: SyncSender<Waiting>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Waiting {
    Record(Vec<u8>),
    /// Whoever waits here is told when everything before is written.
    Told(oneshot::Sender<()>),
}

impl LogQueue {
    /// Writes what is queued to `to`, on a thread of its own: a write may last for ever.
    pub(super) fn to(to: impl Write + Send + 'static, records: usize) -> io::Result<LogQueue> {
        let (waiting, records) = sync_channel(records);
        let lost = Arc::new(AtomicU64::new(0));
        let queue = LogQueue { waiting, lost: Arc::clone(&lost) };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&records, &lost, to))?;
        Ok(queue)
    }

    /// Waits until everything that was logged is written, or as long as `patience`.
    pub async fn flush(&self, patience: Duration) {
        let (tell, told) = oneshot::channel();
        let written = async {
            let mut waiting = Waiting::Told(tell);
            while let Err(TrySendError::Full(back)) = self.waiting.try_send(waiting) {
                waiting = back;
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            told.await
        };
        // Where nobody reads, what is left is lost with the process.
        let _ = tokio::time::timeout(patience, written).await;
    }
}

fn write_all(records: &Receiver<Waiting>, lost: &AtomicU64, mut to: impl Write) {
    for waiting in records {
        match waiting {
            // There is nowhere to say that the log cannot be written.
            Waiting::Record(record) => drop(to.write_all(&record)),
            Waiting::Told(tell) => drop(tell.send(())),
        }
        let records = lost.swap(0, Ordering::Relaxed);
        if records > 0 {
            tracing::warn!(records, "log records were lost: nobody read them in time");
        }
    }
}

impl Write for LogQueue {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if self.waiting.try_send(Waiting::Record(record.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogQueue {
    type Writer = LogQueue;

    fn make_writer(&self) -> LogQueue {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A pipe that takes nothing until its reader begins, and then everything.
    struct Pipe {
        reader_begins: Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The reader may have begun long ago.
            let _ = self.reader_begins.recv();
            self.read.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn p16_a_log_that_nobody_reads_delays_nobody_and_what_is_lost_is_counted() {
        let (begin, reader_begins) = sync_channel(1);
        let read = Arc::new(Mutex::new(Vec::new()));
        let pipe = Pipe { reader_begins, read: Arc::clone(&read) };
        let queue = LogQueue::to(pipe, 4).unwrap();

        for number in 0..100 {
            // It returns although nobody reads.
            queue.make_writer().write_all(format!("record {number}\n").as_bytes()).unwrap();
        }
        let lost = queue.lost.load(Ordering::Relaxed);
        drop(begin);
        queue.flush(Duration::from_secs(60)).await;

        let text = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("record 0\nrecord 1\n"), "{text}");
        // Four wait, and one may have been taken to be written.
        assert!((95..=96).contains(&lost), "{lost}");
        assert!(lost_records() >= lost);
        assert_eq!(text.lines().count() as u64, 100 - lost);
        assert_eq!(queue.lost.load(Ordering::Relaxed), 0, "it was said");
    }
}
