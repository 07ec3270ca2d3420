//! A network of proxies on loopback: each node reaches each other node through a separate proxy.

use super::network::Network;
use crate::port::Port;
use crate::processes::Node;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Bytes forwarded at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// The proxies between this many nodes.
pub struct Proxies {
    /// Ports of the nodes, until the nodes take them.
    ports: Mutex<Vec<Option<Port>>>,
    /// Port at which each node listens, and at which one node reaches another.
    numbers: BTreeMap<(usize, usize), u16>,
    /// True if bytes pass from one node to another.
    passes: BTreeMap<(usize, usize), watch::Sender<bool>>,
    size: usize,
    /// Dropped last: it ends the proxies.
    _runtime: Runtime,
}

impl Proxies {
    /// Creates a network on which all links work.
    pub fn new(size: usize) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_io().build().expect("a runtime");
        let ports: Vec<Port> = (0..size).map(|_| Port::any()).collect();
        let mut numbers: BTreeMap<_, _> = (0..size).map(|node| ((node, node), ports[node].number())).collect();
        let pairs = || (0..size).flat_map(|from| (0..size).filter(move |to| *to != from).map(move |to| (from, to)));
        let passes: BTreeMap<_, _> = pairs().map(|pair| (pair, watch::Sender::new(true))).collect();
        for (from, to) in pairs() {
            let there = passes[&(from, to)].subscribe();
            let back = passes[&(to, from)].subscribe();
            let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
            numbers.insert((from, to), listener.local_addr().expect("an address").port());
            runtime.spawn(serve(listener, ports[to].number(), there, back));
        }
        let ports = Mutex::new(ports.into_iter().map(Some).collect());
        Self { ports, numbers, passes, size, _runtime: runtime }
    }
}

impl Network for Proxies {
    fn size(&self) -> usize {
        self.size
    }

    fn node(&self, number: usize, dir: &Path) -> Node {
        let port = self.ports.lock().expect("nobody panics with it")[number].take();
        Node::new(&format!("node{}", number + 1), port.expect("one node in each place"), dir)
    }

    fn url(&self, from: usize, to: usize) -> String {
        format!("http://127.0.0.1:{}", self.numbers[&(from, to)])
    }

    fn set_passes(&self, from: usize, to: usize, passes: bool) {
        self.passes[&(from, to)].send_replace(passes);
    }

    fn enter(&self) {}
}

/// Forwards all connections to a node, each as soon as the links would let it be made.
async fn serve(listener: TcpListener, target: u16, there: watch::Receiver<bool>, back: watch::Receiver<bool>) {
    while let Ok((caller, _)) = listener.accept().await {
        let (mut there, mut back) = (there.clone(), back.clone());
        tokio::spawn(async move {
            open(&mut there).await?;
            open(&mut back).await?;
            let callee = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
            caller.set_nodelay(true)?;
            callee.set_nodelay(true)?;
            // When either end closes, so do both.
            tokio::select! {
                ended = forward(&caller, &callee, there) => ended,
                ended = forward(&callee, &caller, back) => ended,
            }
        });
    }
}

/// Forwards bytes in one direction while they pass; bytes read before a cut are held back as well.
async fn forward(source: &TcpStream, sink: &TcpStream, mut passes: watch::Receiver<bool>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        open(&mut passes).await?;
        source.readable().await?;
        let length = match source.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => continue,
            Err(cause) => return Err(cause),
        };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            sink.writable().await?;
            open(&mut passes).await?;
            match sink.try_write(rest) {
                Ok(length) => rest = &rest[length..],
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                Err(cause) => return Err(cause),
            }
        }
    }
}

/// Waits until bytes pass.
async fn open(passes: &mut watch::Receiver<bool>) -> io::Result<()> {
    passes.wait_for(|passes| *passes).await.map(drop).map_err(io::Error::other)
}
