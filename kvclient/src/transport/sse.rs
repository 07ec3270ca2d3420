//! Server-Sent Events, as far as nodes use them: bytes in, events out.
//!
//! Lines end in LF or CRLF; `event:`, `data:` and `id:` count, comments and other fields do not; an empty line ends an
//! event (WHATWG HTML §9.2.6). Memory is bounded whatever the node sends.

/// Longest event that is read, in bytes: a value of 8 MiB fits even if JSON writes each of its bytes as six.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type; empty if none was given.
    pub(crate) name: String,
    /// Its data, without the last line feed.
    pub(crate) data: String,
    /// Its id, if it has one.
    pub(crate) id: Option<String>,
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
}

/// An event grew beyond [`EVENT_BYTES_MAX`]: this is not the expected stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Parser {
    /// Takes the next bytes of the stream and appends the events that they complete to `events`.
    pub(crate) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.event.name.len() + self.event.data.len() + part.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line);
                events.extend(self.take_line(text.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nevent: leader\ndata: {\"term\":5}\n\n: still here\n\n\
        event:leader\r\nid: 7\r\ndata: one\r\ndata: two\r\n\r\nevent: empty\n\ndata\n\n";

    fn parse(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece, &mut events).unwrap();
        }
        events
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let event = |name: &str, data: &str, id: Option<&str>| {
            let (name, data) = (name.to_owned(), data.to_owned());
            Event { name, data, id: id.map(str::to_owned) }
        };
        let whole = parse(&[STREAM.as_bytes()]);
        let expected =
            [event("leader", "{\"term\":5}", None), event("leader", "one\ntwo", Some("7")), event("", "", None)];
        assert_eq!(whole, expected);
        for cut in 0..STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            assert_eq!(parse(&[head, tail]), whole, "cut at {cut}");
        }
        assert_eq!(parse(&STREAM.as_bytes().chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn an_endless_line_or_event_is_refused() {
        let mut events = Vec::new();
        assert_eq!(Parser::default().push(&vec![b'x'; EVENT_BYTES_MAX + 1], &mut events), Err(TooLong));

        let mut parser = Parser::default();
        let line = [&b"data: "[..], &[b'x'; 1 << 20], b"\n"].concat();
        let refused = (0..EVENT_BYTES_MAX >> 20).find(|_| parser.push(&line, &mut events).is_err());
        assert!(refused.is_some());
        assert_eq!(events, []);
    }
}
