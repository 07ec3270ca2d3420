//! The events in the bytes of a watch, read with as little work as possible: the program that measures shares its cores
//! with the nodes.

use std::mem;

/// An event that says up to which revision everything has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start(u64),
    Change(u64),
    Progress(u64),
}

/// Kind of an event that has begun.
#[derive(Clone, Copy)]
enum Kind {
    Start,
    Change,
    Progress,
}

/// A reply, from its first byte on.
#[derive(Default)]
pub(crate) struct Events {
    /// The beginning of a line that has not ended yet.
    line: Vec<u8>,
    is_answered: bool,
    id: Option<u64>,
    kind: Option<Kind>,
}

impl Events {
    /// Reads on, and passes each event that is complete to `found`.
    ///
    /// # Errors
    /// The line that should not be there: another status, the end of the stream, or an event of another kind.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Event)) -> Result<(), String> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            let event = if self.line.is_empty() {
                self.line(line)
            } else {
                let mut whole = mem::take(&mut self.line);
                whole.extend_from_slice(line);
                let event = self.line(&whole);
                whole.clear();
                self.line = whole;
                event
            };
            event?.into_iter().for_each(&mut found);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes a line. Those that frame the chunks of the body end with a carriage return, and those of events do not.
    fn line(&mut self, line: &[u8]) -> Result<Option<Event>, String> {
        let unexpected = || Err(String::from_utf8_lossy(line).into_owned());
        if !self.is_answered {
            self.is_answered = line.starts_with(b"HTTP/1.1 200 ");
            return if self.is_answered { Ok(None) } else { unexpected() };
        }
        if line.is_empty() {
            return match (self.kind.take(), self.id.take()) {
                (Some(Kind::Start), Some(id)) => Ok(Some(Event::Start(id))),
                (Some(Kind::Change), Some(id)) => Ok(Some(Event::Change(id))),
                (Some(Kind::Progress), Some(id)) => Ok(Some(Event::Progress(id))),
                _ => Err("an event without id or name".into()),
            };
        }
        if let Some(id) = line.strip_prefix(b"id: ") {
            let revision = id.rsplit(|byte| *byte == b':').next().and_then(|digits| str::from_utf8(digits).ok());
            self.id = revision.and_then(|digits| digits.parse().ok());
        } else if let Some(name) = line.strip_prefix(b"event: ") {
            self.kind = match name {
                b"start" => Some(Kind::Start),
                b"change" => Some(Kind::Change),
                b"progress" => Some(Kind::Progress),
                _ => return unexpected(),
            };
        }
        Ok(None)
    }
}
