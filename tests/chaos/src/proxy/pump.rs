//! Moves the bytes of one connection as its link's rule says.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::hold::Verdict;
use super::{Flow, LinkState, Rule, frame};

const BUFFER: usize = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Requests,
    Responses,
}

impl Way {
    fn flow(self, rule: Rule) -> Flow {
        match self {
            Self::Requests => rule.requests,
            Self::Responses => rule.responses,
        }
    }
}

/// Both directions until both have ended, or the link is cut. `first` was read already.
pub(super) async fn both(link: &LinkState, client: TcpStream, server: TcpStream, first: Vec<u8>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = link.cut.subscribe();
    let requests = Pump::new(link, Way::Requests).run(from_client, to_server, first);
    let responses = Pump::new(link, Way::Responses).run(from_server, to_client, Vec::new());
    tokio::select! {
        _ = async { tokio::join!(requests, responses) } => {}
        _ = cut.changed() => {}
    }
}

struct Pump<'a> {
    link: &'a LinkState,
    way: Way,
    rule: watch::Receiver<Rule>,
}

impl<'a> Pump<'a> {
    fn new(link: &'a LinkState, way: Way) -> Self {
        Self { link, way, rule: link.rule.subscribe() }
    }

    async fn run(mut self, from: OwnedReadHalf, mut to: OwnedWriteHalf, first: Vec<u8>) {
        let half = self.link.half.subscribe();
        let ended = match (self.way, &self.link.hold) {
            (Way::Requests, Some(_)) => self.requests(from, &mut to, first, half).await,
            (Way::Requests | Way::Responses, _) => self.bytes(from, &mut to, first, half).await,
        };
        if ended.is_some() {
            let _ = to.shutdown().await;
        }
    }

    /// Waits until the direction passes; a delay is waited for.
    async fn may_pass(&mut self) {
        loop {
            let flow = self.way.flow(*self.rule.borrow_and_update());
            match flow {
                Flow::Pass => return,
                Flow::Delay(by) => {
                    self.link.disturbed.fetch_add(1, Ordering::Relaxed);
                    return tokio::time::sleep(by).await;
                }
                Flow::Hold => {
                    self.link.disturbed.fetch_add(1, Ordering::Relaxed);
                    if self.rule.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// `None`: the other side does not take it any more.
    async fn bytes(
        &mut self,
        mut from: OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        first: Vec<u8>,
        mut half: watch::Receiver<u64>,
    ) -> Option<()> {
        let mut buffer = vec![0; BUFFER];
        if !first.is_empty() {
            self.may_pass().await;
            to.write_all(&first).await.ok()?;
        }
        loop {
            let n = tokio::select! {
                n = from.read(&mut buffer) => n.unwrap_or(0),
                _ = half.changed(), if self.way == Way::Requests => return swallow(from, to).await,
            };
            self.may_pass().await;
            if n == 0 {
                return Some(());
            }
            to.write_all(buffer.get(..n)?).await.ok()?;
        }
    }

    /// As bytes, but request by request, with the one that is to be held.
    async fn requests(
        &mut self,
        mut from: OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        mut pending: Vec<u8>,
        mut half: watch::Receiver<u64>,
    ) -> Option<()> {
        let hold = self.link.hold.clone()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            while let Some(request) = frame::split(&mut pending) {
                self.may_pass().await;
                match frame::head(&request).map_or(Verdict::Pass, |head| hold.meets(&head)) {
                    Verdict::Pass => to.write_all(&request).await.ok()?,
                    Verdict::Hold => {
                        // The client gives this connection up meanwhile; the broker does not know.
                        hold.released().await;
                        to.write_all(&request).await.ok()?;
                        hold.sent();
                    }
                }
            }
            let n = tokio::select! {
                n = from.read(&mut buffer) => n.unwrap_or(0),
                _ = half.changed() => return swallow(from, to).await,
            };
            if n == 0 {
                self.may_pass().await;
                return Some(());
            }
            pending.extend(buffer.get(..n)?);
        }
    }
}

/// Half closed: the upstream hears the end, what else the client says is lost.
async fn swallow(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf) -> Option<()> {
    let _ = to.shutdown().await;
    let mut buffer = vec![0; BUFFER];
    while from.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    None
}
