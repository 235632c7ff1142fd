//! TCP between everything, on purpose: each link can be cut, refused, delayed, held in one direction, or half closed.
//!
//! A held direction loses nothing: what was sent stays in the sockets and arrives when the link heals, as packets of a
//! network do; also what a client sent before it gave the connection up.

mod frame;
mod hold;
mod http;
mod pump;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::error::ChaosError;
pub use hold::{HeldEndTxn, HoldStage};
pub use http::{Answering, HttpLink};

/// How bytes of one direction pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// At once.
    #[default]
    Pass,
    /// Not before the rule changes.
    Hold,
    /// Later.
    Delay(Duration),
}

/// What a link does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// New connections are closed at once.
    pub refuses: bool,
    /// From the one who connects.
    pub requests: Flow,
    /// To the one who connected.
    pub responses: Flow,
}

impl Rule {
    /// Everything passes.
    pub const PASS: Self = Self { refuses: false, requests: Flow::Pass, responses: Flow::Pass };
    /// Nothing passes, and nobody is told.
    pub const PARTITION: Self = Self { refuses: false, requests: Flow::Hold, responses: Flow::Hold };
    /// Questions arrive, answers do not.
    pub const NO_RESPONSES: Self = Self { refuses: false, requests: Flow::Pass, responses: Flow::Hold };
    /// Questions do not arrive.
    pub const NO_REQUESTS: Self = Self { refuses: false, requests: Flow::Hold, responses: Flow::Pass };
    /// Nobody listens.
    pub const REFUSE: Self = Self { refuses: true, requests: Flow::Pass, responses: Flow::Pass };
}

#[derive(Debug)]
struct LinkState {
    name: String,
    rule: watch::Sender<Rule>,
    /// Counts up: every open connection ends.
    cut: watch::Sender<u64>,
    /// Counts up: every open connection is closed towards the upstream, and only there.
    half: watch::Sender<u64>,
    open: AtomicU64,
    /// Bytes that met a rule that was not to pass them at once, and connections that were cut or refused.
    disturbed: AtomicU64,
    hold: Option<Arc<HeldEndTxn>>,
}

/// One way between two parties.
#[derive(Clone, Debug)]
pub struct Link(Arc<LinkState>);

impl Link {
    fn new(name: String, hold: Option<Arc<HeldEndTxn>>) -> Self {
        Self(Arc::new(LinkState {
            name,
            rule: watch::Sender::new(Rule::PASS),
            cut: watch::Sender::new(0),
            half: watch::Sender::new(0),
            open: AtomicU64::new(0),
            disturbed: AtomicU64::new(0),
            hold,
        }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Changes what it does, for open connections too.
    pub fn set(&self, rule: Rule) {
        self.0.rule.send_replace(rule);
    }

    /// Ends every open connection. How many there were.
    pub fn cut(&self) -> u64 {
        let open = self.0.open.load(Ordering::Relaxed);
        self.0.disturbed.fetch_add(open, Ordering::Relaxed);
        self.0.cut.send_modify(|n| *n += 1);
        open
    }

    /// Closes every open connection towards the upstream only. How many there were.
    pub fn half_close(&self) -> u64 {
        let open = self.0.open.load(Ordering::Relaxed);
        self.0.disturbed.fetch_add(open, Ordering::Relaxed);
        self.0.half.send_modify(|n| *n += 1);
        open
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// How often a rule was felt: connections cut, half closed or refused, reads held or delayed.
    #[must_use]
    pub fn disturbed(&self) -> u64 {
        self.0.disturbed.load(Ordering::Relaxed)
    }
}

/// The address that a port leads to, set once it is known.
#[derive(Clone, Debug, Default)]
pub struct Upstream(Arc<Mutex<Option<SocketAddr>>>);

impl Upstream {
    /// Leads to this port of the loopback from now on.
    pub fn set(&self, port: u16) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }

    fn get(&self) -> Option<SocketAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port that listens.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Where it leads.
    pub upstream: Upstream,
}

/// Who connects decides the link.
#[derive(Clone)]
enum Lanes {
    One(Link),
    /// By the number of the Kafka node, which its client ids name; the first is of nobody known.
    ByNode(Link, Arc<BTreeMap<u8, Link>>),
}

/// Runs the ports; they close with it.
#[derive(Debug)]
pub struct Proxy {
    runtime: Runtime,
}

impl Proxy {
    /// Without ports yet.
    ///
    /// # Errors
    /// Threads cannot be started.
    pub fn start() -> Result<Self, ChaosError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("proxy").enable_all().build();
        Ok(Self { runtime: runtime.map_err(ChaosError::io("starting the proxy"))? })
    }

    /// A port with one link. `hold` follows the Kafka requests that pass.
    ///
    /// # Errors
    /// No port is free.
    pub fn link(&self, name: &str, hold: Option<&Arc<HeldEndTxn>>) -> Result<(Port, Link), ChaosError> {
        let link = Link::new(name.to_owned(), hold.map(Arc::clone));
        Ok((self.listen(Lanes::One(link.clone()))?, link))
    }

    /// A port of a Kafka node for the other nodes, with a link for each that connects.
    ///
    /// # Errors
    /// No port is free.
    pub fn links_of_nodes(&self, name: &str, nodes: &[u8]) -> Result<(Port, BTreeMap<u8, Link>), ChaosError> {
        let links: BTreeMap<u8, Link> =
            nodes.iter().map(|node| (*node, Link::new(format!("node-{node} to {name}"), None))).collect();
        let other = Link::new(format!("somebody to {name}"), None);
        Ok((self.listen(Lanes::ByNode(other, Arc::new(links.clone())))?, links))
    }

    /// A port before an HTTP server.
    ///
    /// # Errors
    /// No port is free.
    pub fn http(&self, name: &str) -> Result<(Port, HttpLink), ChaosError> {
        let (listener, port) = self.bind()?;
        let link = HttpLink::new(name.to_owned());
        self.runtime.spawn(http::serve(listener, port.upstream.clone(), link.clone()));
        Ok((port, link))
    }

    fn bind(&self) -> Result<(TcpListener, Port), ChaosError> {
        let bound = self.runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = bound.map_err(ChaosError::io("opening a port"))?;
        let number = listener.local_addr().map_err(ChaosError::io("opening a port"))?.port();
        Ok((listener, Port { number, upstream: Upstream::default() }))
    }

    fn listen(&self, lanes: Lanes) -> Result<Port, ChaosError> {
        let (listener, port) = self.bind()?;
        let upstream = port.upstream.clone();
        self.runtime.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => drop(tokio::spawn(take(client, upstream.clone(), lanes.clone()))),
                    // Too many open files, most likely: some close again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Ok(port)
    }
}

async fn take(mut client: TcpStream, upstream: Upstream, lanes: Lanes) {
    let _ = client.set_nodelay(true);
    let (link, first) = match lanes {
        Lanes::One(link) => (link, Vec::new()),
        Lanes::ByNode(other, links) => {
            let Some(first) = frame::read(&mut client).await else { return };
            let node = frame::client_id(&first).and_then(frame::node_of);
            (node.and_then(|n| links.get(&n).cloned()).unwrap_or(other), first)
        }
    };
    if link.0.rule.borrow().refuses {
        link.0.disturbed.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let Some(address) = upstream.get() else { return };
    let Ok(server) = TcpStream::connect(address).await else { return };
    let _ = server.set_nodelay(true);
    link.0.open.fetch_add(1, Ordering::Relaxed);
    pump::both(&link.0, client, server, first).await;
    link.0.open.fetch_sub(1, Ordering::Relaxed);
}
