//! Ports reserved for a test, whether a daemon listens there at the moment or not.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that belongs to a test until it is dropped.
///
/// A node that is down leaves its port free, and with many tests at once something would take it: another test, or an
/// outgoing connection for its own end. (Even the connection that dials the dead node can: a socket may connect to
/// itself.) So each port is held by a socket that is bound and never listens. The kernel then assigns the port to
/// nothing else, refuses connections to it, and lets a daemon listen there, since both sides allow reuse.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: TcpSocket,
}

impl Port {
    /// Reserves any free port.
    pub fn any() -> Self {
        Self::hold(0).expect("a free port")
    }

    /// Reserves this many consecutive ports.
    pub fn row(length: u16) -> Vec<Self> {
        for _ in 0..1000 {
            let first = Self::any();
            let others: Option<Vec<Self>> =
                (1..length).map(|offset| Self::hold(first.number.checked_add(offset)?)).collect();
            if let Some(others) = others {
                return [first].into_iter().chain(others).collect();
            }
        }
        panic!("no {length} free ports in a row");
    }

    /// Returns the URL of a node on it. Until there is one, connections are refused.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }

    /// Returns its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn hold(number: u16) -> Option<Self> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, number))).ok()?;
        // Only now: a socket that allows reuse before it binds is given ports that other sockets hold.
        socket.set_reuseaddr(true).ok()?;
        Some(Self { number: socket.local_addr().ok()?.port(), _held: socket })
    }
}
