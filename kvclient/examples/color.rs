//! The smallest program that reads and writes: `kvd dev` in one terminal, this in another.
//!
//!     cargo run -p kvclient --example color

use kvclient::{Client, Condition};

fn main() -> Result<(), kvclient::Error> {
    let client = Client::connect(["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"])?;
    client.set("color", "blue")?;
    let item = client.get("color")?.expect("just written");
    // Compare and set: applied only if nobody wrote in between.
    client.set_if("color", "green", Condition::ModRevision(item.mod_revision))?;
    Ok(())
}
