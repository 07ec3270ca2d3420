//! Listing ranges.

use super::handle::Client;
use crate::api::Range;
use crate::list::List;
use std::sync::Arc;

impl Client {
    /// Lists the keys of a range: all that begin with a prefix, those between two bounds, or all of the store.
    ///
    /// This returns a builder. Set the options of the list on it, then call a method that asks the cluster, such as
    /// [`List::items`].
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("fruit/apple", "green")?;
    /// client.set("fruit/banana", "yellow")?;
    /// for item in client.list(Range::prefix("fruit/")).items() {
    ///     let item = item?;
    ///     println!("{} is {}", item.key, item.value_str().unwrap_or("(bytes)"));
    /// }
    /// assert_eq!(client.list(Range::prefix("fruit/")).count()?, 2);
    /// # anyhow::Ok(())
    /// ```
    pub fn list(&self, range: Range) -> List {
        List::new(Arc::clone(&self.cluster), range)
    }
}
