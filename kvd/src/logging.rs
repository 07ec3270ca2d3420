//! Logs: one line per event, which begins with the node, its term and its role.
//!
//! Each node has a span that carries these three; whatever is logged on behalf of a node is logged
//! within its span, so that the nodes of one process are told apart. As text a line looks like
//!
//! ```text
//! 2026-01-31T12:00:00.000000Z  INFO [node1][term 5][leader] leads term 5
//! ```
//!
//! and for machines the same is an object with fields of those names:
//!
//! ```json
//! {"timestamp":"2026-01-31T12:00:00.000000Z","level":"INFO","node":"node1","term":5,"role":"leader",
//!  "target":"kvd::server::publisher","message":"leads term 5"}
//! ```
//!
//! No value of a user's key is ever logged.

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as TimeFormat};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: a JSON object per line.
    Json,
}

/// Sends logs to standard error, filtered by `RUST_LOG` (default `info`).
///
/// # Errors
/// If `RUST_LOG` cannot be understood.
pub fn init(format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives).map_err(|cause| {
            anyhow::anyhow!("RUST_LOG={directives}: {cause}; expected a level such as `info` or `kvd=debug`")
        })?,
        Ok(_) | Err(_) => EnvFilter::new("info"),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter).with(NodeContexts);
    match format {
        LogFormat::Text => registry.with(lines.event_format(TextLines)).init(),
        LogFormat::Json => registry.with(lines.event_format(JsonLines)).init(),
    }
    Ok(())
}

/// The span within which everything about one node is logged.
pub fn node_span(name: &str) -> Span {
    tracing::error_span!("node", node = name, term = 0u64, role = "starting")
}

/// From now on the node's lines say this term and role.
pub fn set_term_and_role(span: &Span, term: u64, role: &str) {
    span.record("term", term);
    span.record("role", role);
}

/// What the lines of a node begin with.
#[derive(Debug, Default)]
struct NodeContext {
    node: String,
    term: u64,
    role: String,
}

impl Visit for NodeContext {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "term" {
            self.term = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "node" => value.clone_into(&mut self.node),
            "role" => value.clone_into(&mut self.role),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Keeps the context of each node's span up to date.
struct NodeContexts;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for NodeContexts {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && span.name() == "node"
        {
            let mut node = NodeContext::default();
            attributes.record(&mut node);
            span.extensions_mut().insert(node);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(node) = span.extensions_mut().get_mut::<NodeContext>()
        {
            values.record(node);
        }
    }
}

/// Writes a line as text.
struct TextLines;

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
struct JsonLines;

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

/// The fields of an event, the message among them, in the order in which they were given.
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
