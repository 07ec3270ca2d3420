//! Sends the log to standard error.

use super::filter::filter;
use super::lines::{JsonLines, TextLines};
use super::queue::Queue;
use super::spans::NodeContexts;
use std::io;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: a JSON object per line.
    Json,
}

/// The log of this process.
#[derive(Debug)]
pub(crate) struct Logging {
    queue: Queue,
}

impl Logging {
    /// Sends all events from now on to standard error, filtered by `RUST_LOG` (default `info`).
    ///
    /// # Errors
    /// A sentence, if `RUST_LOG` is invalid, or no thread can be started for the log.
    pub(crate) fn begin(format: LogFormat) -> Result<Self, String> {
        let filter = filter(std::env::var_os("RUST_LOG"))?;
        let queue =
            Queue::start(io::stderr()).map_err(|cause| format!("cannot start the thread of the log: {cause}"))?;
        let lines = tracing_subscriber::fmt::layer().with_writer(queue.clone());
        let registry = tracing_subscriber::registry().with(filter).with(NodeContexts);
        match format {
            LogFormat::Text => registry.with(lines.event_format(TextLines)).init(),
            LogFormat::Json => registry.with(lines.event_format(JsonLines)).init(),
        }
        Ok(Self { queue })
    }

    /// Writes the queued lines and then `last_line`, as far as somebody reads them. Waits for a moment at most.
    pub(crate) fn end(self, last_line: Option<&str>) {
        if let Some(line) = last_line {
            self.queue.push(format!("{line}\n").into_bytes());
        }
        self.queue.flush();
    }
}
