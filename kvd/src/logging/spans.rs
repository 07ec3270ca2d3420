//! Spans of nodes, and the prefix of a node's lines.

use std::fmt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Returns the span in which everything about one node is logged.
pub(crate) fn node_span(name: &str) -> Span {
    tracing::error_span!("node", node = name, term = 0u64, role = "starting")
}

/// Sets the term and role for the node's lines from now on.
pub(crate) fn set_term_and_role(span: &Span, term: u64, role: &str) {
    span.record("term", term);
    span.record("role", role);
}

/// Prefix of a node's lines.
#[derive(Debug, Default)]
pub(super) struct NodeContext {
    pub(super) node: String,
    pub(super) term: u64,
    pub(super) role: String,
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
pub(super) struct NodeContexts;

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
