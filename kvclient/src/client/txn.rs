//! Transactions.

use super::handle::Client;
use crate::api::{self, Op, TxnReply, TxnRequest};
use crate::error::Error;
use crate::routing::Question;
use crate::txn::{Txn, TxnOutcome};

impl Client {
    /// Executes a transaction: several operations as one step. It is applied once, however often it was sent.
    ///
    /// Any node answers a transaction that only reads, like a read.
    ///
    /// # Errors
    /// As [`Client::set`]; [`Error::InvalidRequest`] if a branch writes a key twice; [`Error::LeaseNotFound`] if a
    /// lease to which a key was to be attached has ended; [`Error::TooLarge`] if the transaction exceeds a limit, and
    /// nothing was applied; [`Error::ReplyNotKept`] if it was applied and its large reply was lost.
    ///
    /// ```
    /// use kvclient::{Client, Txn};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let mut both = Txn::new();
    /// let _ = both.then().set("color", "blue");
    /// let _ = both.then().set("shape", "round");
    /// let revision = client.commit(both)?.revision();
    /// for key in ["color", "shape"] {
    ///     assert_eq!(client.get(key)?.expect("just written").mod_revision, revision);
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn commit(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        let (txn, outcome) = txn.into_api();
        outcome(self.commit_with(TxnRequest::new(txn))?).map_err(|message| Error::Unexpected {
            endpoint: "a node".into(),
            applied: api::Applied::Unknown,
            message: format!("the reply is not that of the transaction: {message}"),
        })
    }

    /// Executes a transaction in the form of the API, possibly under the caller's own request id; see
    /// [`Client::set_with`].
    ///
    /// # Errors
    /// As [`Client::commit`], and [`Error::StaleRequest`] if a newer request under the caller's own name has been
    /// applied.
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::TxnRequest;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let json = r#"{"if":[{"key":"color","absent":true}],"then":[{"set":{"key":"color","value":"blue"}}]}"#;
    /// let request: TxnRequest = serde_json::from_str(json)?;
    /// assert!(client.commit_with(request.clone())?.succeeded);
    /// assert!(!client.commit_with(request)?.succeeded, "there is one by now");
    /// # anyhow::Ok(())
    /// ```
    pub fn commit_with(&self, mut request: TxnRequest) -> Result<TxnReply, Error> {
        if only_reads(&request.txn) {
            return self.read_txn(&request);
        }
        let mut lane = self.cluster.lanes.borrow();
        request.request.get_or_insert_with(|| lane.session.next());
        self.cluster.write(&mut lane, "/txn", &request)
    }

    fn read_txn(&self, request: &TxnRequest) -> Result<TxnReply, Error> {
        let body = serde_json::to_vec(request)
            .map_err(|cause| Error::InvalidRequest { message: format!("cannot be written as JSON: {cause}") })?;
        let told = self.cluster.ask(&Question { path: "/txn".into(), body: Some(body), ..Question::default() })?;
        told.reply.ok_or_else(|| Error::Unexpected {
            endpoint: "a node".into(),
            applied: api::Applied::No,
            message: "key_not_found for /txn".into(),
        })
    }
}

/// Returns true if no branch writes anything.
fn only_reads(txn: &api::Txn) -> bool {
    txn.then.iter().chain(&txn.otherwise).all(|op| match op {
        Op::Get(_) | Op::List(_) => true,
        Op::Txn(txn) => only_reads(txn),
        Op::Set(_) | Op::Delete(_) => false,
    })
}
