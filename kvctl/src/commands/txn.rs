//! `kvctl txn`: several operations as one step.

use super::input::Input;
use super::keys::INTERRUPTED_WRITE;
use super::list::short;
use crate::context::Context;
use crate::output::Table;
use crate::units::keys;
use anyhow::Context as _;
use clap::{Args, ValueHint};
use kvclient::api::{OpResult, TxnReply, TxnRequest};
use std::io::Read as _;
use std::path::PathBuf;

/// Largest transaction that is read. The cluster has its own limit, usually lower.
const TXN_BYTES_MAX: u64 = 64 << 20;

/// Execute several operations as one step
///
/// Reads a transaction in JSON: if every compare of `if` holds, the operations of `then` are executed, otherwise those
/// of `else`. Either all of them happen, in one revision, or none. Compares test `absent`, `present`, `value`,
/// `version`, `mod_revision`, `create_revision` or `lease` of a key, a `prefix` or a range; operations are `set`,
/// `delete`, `get`, `list` and `txn`.
#[derive(Args)]
#[command(after_help = r#"Examples:
  kvctl txn transfer.json
  kvctl txn <<'END'                    both keys, or none
  {"then": [
    {"set": {"key": "color", "value": "blue"}},
    {"set": {"key": "shape", "value": "round"}}
  ]}
  END
  kvctl txn -o json <<'END'            a lock, or who has it
  {"if":   [{"key": "lock", "absent": true}],
   "then": [{"set": {"key": "lock", "value": "me"}}],
   "else": [{"get": {"key": "lock"}}]}
  END"#)]
pub(crate) struct Txn {
    /// File with the transaction; `-`, or nothing, reads standard input
    #[arg(default_value = "-", hide_default_value = true, value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

impl Txn {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let Input { name, reader, .. } = Input::open(&self.file)?;
        let mut json = Vec::new();
        reader.take(TXN_BYTES_MAX).read_to_end(&mut json).with_context(|| format!("cannot read {name}"))?;
        let request: TxnRequest =
            serde_json::from_slice(&json).with_context(|| format!("{name} is not a transaction"))?;
        context.interrupt.remark(INTERRUPTED_WRITE);
        let reply = context.client.commit_with(request)?;
        if context.output.is_json() {
            return context.output.json(&reply);
        }
        let branch = if reply.succeeded { "`then`: all compares held" } else { "`else`: a compare did not hold" };
        context.output.line(&format!("ok  revision {}, executed {branch}", reply.revision))?;
        if reply.results.is_empty() {
            return Ok(());
        }
        context.output.table(&table(&reply))
    }
}

fn table(reply: &TxnReply) -> Table {
    let mut table = Table::new(&["NUMBER", "OPERATION", "RESULT"]);
    push(&mut table, reply, "");
    table
}

/// Adds the results of a transaction. `outer` is the number of a nested transaction's own operation and a dot, and
/// empty for the outermost one.
fn push(table: &mut Table, reply: &TxnReply, outer: &str) {
    for (result, number) in reply.results.iter().zip(1..) {
        let number = format!("{outer}{number}");
        let (operation, text) = match result {
            OpResult::Set(reply) => ("set", if reply.created { "created" } else { "written" }.to_owned()),
            OpResult::Delete(reply) => ("delete", format!("{} deleted", reply.deleted)),
            OpResult::Get(None) => ("get", "not found".to_owned()),
            OpResult::Get(Some(reply)) => ("get", short(Some(&reply.item.value))),
            OpResult::List(reply) => ("list", listed(reply)),
            OpResult::Txn(reply) => ("txn", if reply.succeeded { "`then`" } else { "`else`" }.to_owned()),
        };
        table.push([number.clone(), operation.into(), text], None);
        if let OpResult::Txn(reply) = result {
            push(table, reply, &format!("{number}."));
        }
    }
}

fn listed(reply: &kvclient::api::ListReply) -> String {
    let more = if reply.more { ", and more" } else { "" };
    match reply.count {
        Some(count) if reply.items.is_empty() => keys(count),
        _ => keys((reply.items.len() + reply.prefixes.len()) as u64) + more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_a_row_with_its_result() {
        let item = r#"{"key":"k","value":"blue","create_revision":4,"mod_revision":7,"version":2,"revision":9}"#;
        let reply = format!(
            r#"{{"succeeded":true,"revision":9,"results":[{{"revision":9,"created":true}},{{"revision":9,"deleted":2}},
            {item},null,{{"items":[],"revision":9,"count":5}},{{"succeeded":false,"revision":9,"results":[null]}}]}}"#
        );
        let reply = serde_json::from_str(&reply).expect("a reply");
        let lines = "\
NUMBER  OPERATION  RESULT
1       set        created
2       delete     2 deleted
3       get        blue
4       get        not found
5       list       5 keys
6       txn        `else`
6.1     get        not found";
        assert_eq!(table(&reply).to_string(), lines);
    }
}
