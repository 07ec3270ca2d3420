//! Listening on the addresses of a node.

use super::error::StartError;
use crate::http::Listeners;
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Maximum number of connections that wait to be accepted.
const LISTEN_BACKLOG: u32 = 1024;

/// Listens on one address, with `SO_REUSEADDR`, so that a restart need not wait for old connections to time out.
///
/// # Errors
/// [`StartError::Listen`].
pub fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address).map_err(|cause| StartError::Listen { address, cause })
}

/// Listens on all addresses of a name, such as 127.0.0.1 and ::1 for `localhost`. Addresses that this machine does not
/// have (it may have no IPv6) are skipped as long as it has at least one. An address on which another program listens
/// is an error: clients that use the name would sometimes reach this node and sometimes that program.
///
/// # Errors
/// [`StartError::Listen`].
pub fn listen_on_all(addresses: &[SocketAddr]) -> Result<Listeners, StartError> {
    let mut listeners = Vec::new();
    let mut passed_over = Vec::new();
    for address in addresses {
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(cause) if is_elsewhere(&cause) => passed_over.push((*address, cause)),
            Err(cause) => return Err(StartError::Listen { address: *address, cause }),
        }
    }
    if listeners.is_empty() {
        let (address, cause) = passed_over.into_iter().next().expect("a name has an address");
        return Err(StartError::Listen { address, cause });
    }
    for (address, cause) in passed_over {
        tracing::info!("not listening on {address}, another address of --listen: {cause}");
    }
    Ok(Listeners::new(listeners))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

/// Returns whether the address belongs to another machine, or to a family that this machine does not have.
fn is_elsewhere(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::AddrNotAvailable || cause.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address reserved for documentation, which no machine has.
    const ELSEWHERE: &str = "192.0.2.1:1";

    #[tokio::test]
    async fn addresses_of_other_machines_are_passed_over_if_one_is_here() {
        let (here, elsewhere) = ("127.0.0.1:0".parse().unwrap(), ELSEWHERE.parse().unwrap());
        let listeners = listen_on_all(&[elsewhere, here]).unwrap();
        assert_eq!(listeners.addresses().unwrap().len(), 1);
        let Err(StartError::Listen { address, .. }) = listen_on_all(&[elsewhere]) else { panic!("it is elsewhere") };
        assert_eq!(address, elsewhere);
        let taken = listeners.addresses().unwrap()[0];
        let Err(StartError::Listen { address, .. }) = listen_on_all(&[here, taken]) else { panic!("it is taken") };
        assert_eq!(address, taken);
    }
}
