//! Sources of connections: a node may listen on several addresses, such as the two of `localhost`.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};

/// Listeners whose connections are served alike; at least one.
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<TcpListener>,
    /// The listener that is polled first, so that none starves another.
    next: usize,
}

impl Listeners {
    /// Returns the set of these listeners. There must be at least one.
    pub fn new(listeners: Vec<TcpListener>) -> Self {
        assert!(!listeners.is_empty(), "a node listens somewhere");
        Self { listeners, next: 0 }
    }

    /// Returns the addresses of the listeners.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Returns the next connection to any of them. Nothing is lost if the future is dropped before it completes.
    pub(super) async fn accept(&mut self) -> io::Result<TcpStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let count = self.listeners.len();
        for number in (self.next..self.next + count).map(|number| number % count) {
            if let Poll::Ready(accepted) = self.listeners[number].poll_accept(cx) {
                self.next = number + 1;
                return Poll::Ready(accepted.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    }
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self::new(vec![listener])
    }
}
