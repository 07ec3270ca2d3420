//! The queue to standard error. Code that logs never waits for a reader of the log.
//!
//! The task that runs a node also logs. So a reader that hangs, or a terminal stopped with Ctrl-S, would end the node's
//! leadership, and a node without a log is better than no node. Therefore lines wait in a bounded queue, and a thread
//! writes them. Lines that do not fit are dropped, and so are lines that cannot be written: a pipe may be closed, a
//! disk full. As soon as a line gets through again, another line says how many are missing.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Most bytes that may wait.
const BYTES_MAX: usize = 1 << 20;

/// Longest time that the end of the process waits for the last lines to be written.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Queue of lines. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// True while a line has left the queue and is not written yet.
    is_writing: bool,
    /// Number of dropped lines that have not been reported yet.
    dropped: u64,
}

impl Queue {
    /// Starts a queue whose thread writes to `writer`.
    pub(super) fn start(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Self { shared: Arc::default() };
        let thread = queue.clone();
        thread::Builder::new().name("log".into()).spawn(move || thread.write_all_to(writer))?;
        Ok(queue)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the state is locked.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line, or drops it if too many bytes wait.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut state = self.state();
        if state.bytes + line.len() > BYTES_MAX {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        self.shared.changed.notify_all();
    }

    /// Waits until all lines are written, but only for a moment.
    pub(super) fn flush(&self) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        let waited = self.shared.changed.wait_timeout_while(self.state(), FLUSH_TIME_MAX, is_busy);
        drop(waited);
    }

    fn write_all_to(&self, mut writer: impl Write) {
        loop {
            let is_idle = |state: &mut State| state.lines.is_empty();
            let waited = self.shared.changed.wait_while(self.state(), is_idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let line = state.lines.pop_front().unwrap_or_default();
            state.bytes -= line.len();
            state.is_writing = true;
            drop(state);

            let written = writer.write_all(&line).and_then(|()| writer.flush());

            let mut state = self.state();
            state.is_writing = false;
            let dropped = match written {
                Ok(()) => std::mem::take(&mut state.dropped),
                Err(_) => {
                    state.dropped += 1;
                    0
                }
            };
            self.shared.changed.notify_all();
            drop(state);
            if dropped > 0 {
                tracing::warn!("{dropped} log lines were dropped here: standard error did not accept them in time");
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// A subscriber writes each event with one call.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Does one write for every permit, and passes it on.
    struct Slow {
        permits: Receiver<io::Result<()>>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().expect("a permit")?;
            self.written.send(bytes.to_vec()).expect("a reader");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Queue, SyncSender<io::Result<()>>, Receiver<Vec<u8>>) {
        let (permit, permits) = sync_channel(10_000);
        let (written, reader) = sync_channel(10_000);
        (Queue::start(Slow { permits, written }).expect("a thread"), permit, reader)
    }

    #[test]
    fn lines_arrive_in_their_order_and_a_flush_waits_for_them() {
        let (queue, permit, reader) = slow();
        for number in 0..100_u8 {
            permit.send(Ok(())).expect("it is taken");
            queue.push(vec![number]);
        }
        queue.flush();
        let arrived: Vec<u8> = reader.try_iter().flatten().collect();
        assert_eq!(arrived, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn a_reader_that_hangs_holds_nobody_up_and_what_was_dropped_is_counted() {
        let (queue, permit, reader) = slow();
        let line = vec![b'x'; BYTES_MAX / 4];
        for _ in 0..20 {
            queue.push(line.clone());
        }
        // Four lines wait, and the thread may already have taken one.
        let dropped = queue.state().dropped;
        assert!((15..=16).contains(&dropped), "{dropped}");
        permit.send(Ok(())).expect("it is taken");
        reader.recv().expect("it goes on");
        // The next write reports the dropped lines.
        while queue.state().dropped != 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_the_next_one_is_tried() {
        let (queue, permit, reader) = slow();
        permit.send(Err(io::ErrorKind::BrokenPipe.into())).expect("it is taken");
        queue.push(b"lost".to_vec());
        queue.flush();
        assert_eq!(queue.state().dropped, 1);
        permit.send(Ok(())).expect("it is taken");
        queue.push(b"written".to_vec());
        assert_eq!(reader.recv().expect("it goes on"), b"written");
    }
}
