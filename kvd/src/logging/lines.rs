//! Rendering of events as lines.

use super::spans::NodeContext;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as TimeFormat};
use tracing_subscriber::registry::LookupSpan;

/// Writes a line as text.
pub(super) struct TextLines;

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &tracing_subscriber::fmt::FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        TimeFormat.format_time(&mut line)?;
        write!(line, " {:>5} ", event.metadata().level())?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(NodeContext { node, term, role }) = span.extensions().get() {
                write!(line, "[{node}][term {term}][{role}] ")?;
            }
        }
        context.field_format().format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

/// Writes a line as a JSON object.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &tracing_subscriber::fmt::FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        TimeFormat.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = JsonFields::default();
        event.record(&mut fields);

        let mut bytes = Vec::new();
        let write = |bytes: &mut Vec<u8>| {
            let mut object = serde_json::Serializer::new(bytes);
            let mut object = object.serialize_map(None)?;
            object.serialize_entry("timestamp", &timestamp)?;
            object.serialize_entry("level", event.metadata().level().as_str())?;
            for span in context.event_scope().into_iter().flatten() {
                if let Some(NodeContext { node, term, role }) = span.extensions().get() {
                    object.serialize_entry("node", node)?;
                    object.serialize_entry("term", term)?;
                    object.serialize_entry("role", role)?;
                }
            }
            object.serialize_entry("target", event.metadata().target())?;
            for (name, value) in &fields.0 {
                object.serialize_entry(name, value)?;
            }
            object.end()
        };
        write(&mut bytes).map_err(|_| fmt::Error)?;
        line.write_str(std::str::from_utf8(&bytes).map_err(|_| fmt::Error)?)?;
        writeln!(line)
    }
}

/// The fields of an event, including the message, in the order in which they were given.
#[derive(Default)]
struct JsonFields(Vec<(&'static str, Value)>);

impl Visit for JsonFields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}").into()));
    }
}
