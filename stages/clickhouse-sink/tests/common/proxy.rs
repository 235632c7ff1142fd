//! A way to ClickHouse that can be broken.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    /// Everything passes.
    Open = 0,
    /// Nothing passes.
    Shut = 1,
    /// Requests with rows pass, their answers do not; everything else passes.
    LoseAnswers = 2,
    /// Of requests with rows only the first bytes pass, the rest once it is another way.
    Stall = 3,
}

/// Only requests with rows carry one.
const TOKEN: &[u8] = b"insert_deduplication_token";

pub(crate) struct Proxy {
    pub(crate) url: String,
    way: Arc<AtomicU8>,
    pub(crate) lost: Arc<AtomicU32>,
    /// Requests that were stalled.
    pub(crate) stalled: Arc<AtomicU32>,
}

impl Proxy {
    pub(crate) fn to(url: &str) -> Self {
        let target = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (way, lost) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicU32::new(0)));
        let stalled = Arc::new(AtomicU32::new(0));
        let (w, l, s) = (Arc::clone(&way), Arc::clone(&lost), Arc::clone(&stalled));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, w, l, s) = (target.clone(), Arc::clone(&w), Arc::clone(&l), Arc::clone(&s));
                std::thread::spawn(move || serve(client, &target, &w, &l, &s));
            }
        });
        Self { url, way, lost, stalled }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }
}

fn serve(client: TcpStream, target: &str, way: &Arc<AtomicU8>, lost: &Arc<AtomicU32>, stalled: &Arc<AtomicU32>) {
    let Ok(server) = TcpStream::connect(target) else { return };
    let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (mut down_from, mut down_to) = (server, client);
    let has_rows = Arc::new(AtomicU8::new(0));
    let (rows, shut, stalled) = (Arc::clone(&has_rows), Arc::clone(way), Arc::clone(stalled));
    let upward = std::thread::spawn(move || {
        let mut passed = 0_usize;
        let mut buffer = [0_u8; 65_536];
        while let Ok(n) = up_from.read(&mut buffer) {
            let data = &buffer[..n];
            if n == 0 || shut.load(Ordering::SeqCst) == Way::Shut as u8 {
                break;
            }
            if data.windows(TOKEN.len()).any(|w| w == TOKEN) {
                rows.store(1, Ordering::SeqCst);
            }
            passed += n;
            // Enough for the server to have begun the query.
            let stalls = || {
                rows.load(Ordering::SeqCst) == 1
                    && passed > 1_500_000
                    && shut.load(Ordering::SeqCst) == Way::Stall as u8
            };
            if stalls() {
                stalled.fetch_add(1, Ordering::SeqCst);
            }
            while stalls() {
                std::thread::yield_now();
            }
            if up_to.write_all(data).is_err() {
                break;
            }
        }
        let _ = up_to.shutdown(Shutdown::Both);
    });
    let mut buffer = [0_u8; 65_536];
    while let Ok(n) = down_from.read(&mut buffer) {
        let now = way.load(Ordering::SeqCst);
        let lose = now == Way::LoseAnswers as u8 && has_rows.swap(0, Ordering::SeqCst) == 1;
        if lose {
            lost.fetch_add(1, Ordering::SeqCst);
        }
        if n == 0 || now == Way::Shut as u8 || lose || down_to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = down_from.shutdown(Shutdown::Both);
    let _ = down_to.shutdown(Shutdown::Both);
    let _ = upward.join();
}
