//! The proxy between real sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fillstream_chaos::proxy::{Answering, Flow, Link, Proxy, Rule};

const SOON: Duration = Duration::from_secs(10);

/// Sends back what it hears; per connection, everything it heard.
fn echo() -> (u16, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut all = Vec::new();
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                all.extend(&buffer[..n]);
                let _ = stream.write_all(&buffer[..n]);
            }
            let last = all == b"last";
            heard.push(all);
            if last {
                return heard;
            }
        }
        heard
    });
    (port, thread)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn world() -> (Proxy, u16, Link, JoinHandle<Vec<Vec<u8>>>) {
    let (server, heard) = echo();
    let proxy = Proxy::start().unwrap();
    let (port, link) = proxy.link("test", None).unwrap();
    port.upstream.set(server);
    (proxy, port.number, link, heard)
}

#[test]
fn what_passes_comes_back_and_a_cut_ends_what_is_open() {
    let (_proxy, port, link, _) = world();
    let mut stream = connect(port);
    assert_eq!(ask(&mut stream, "hello").unwrap(), "hello");
    assert_eq!((link.open(), link.disturbed()), (1, 0));
    assert_eq!(link.cut(), 1);
    let ended = stream.read(&mut [0; 1]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    until("the connection counts as closed", || link.open() == 0);
    assert_eq!(ask(&mut connect(port), "again").unwrap(), "again");
    assert_eq!(link.disturbed(), 1);
}

#[test]
fn a_refused_connection_ends_at_once_and_a_healed_link_takes_new_ones() {
    let (_proxy, port, link, _) = world();
    link.set(Rule::REFUSE);
    let ended = connect(port).read(&mut [0; 1]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(link.disturbed(), 1);
    link.set(Rule::PASS);
    assert_eq!(ask(&mut connect(port), "hello").unwrap(), "hello");
}

#[test]
fn held_answers_wait_and_none_is_lost() {
    let (_proxy, port, link, _) = world();
    let mut stream = connect(port);
    ask(&mut stream, "warm").unwrap();
    link.set(Rule::NO_RESPONSES);
    stream.write_all(b"question").unwrap();
    until("the answer is held", || link.disturbed() > 0);
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err(), "nothing comes while it is held");
    link.set(Rule::PASS);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"question");
}

#[test]
fn a_request_of_somebody_who_gave_up_arrives_when_the_link_heals() {
    let (_proxy, port, link, heard) = world();
    link.set(Rule::NO_REQUESTS);
    let mut stream = connect(port);
    stream.write_all(b"last").unwrap();
    until("the request is held", || link.disturbed() > 0);
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    assert!(!heard.is_finished());
    link.set(Rule::PASS);
    until("the server has heard it", || heard.is_finished());
    assert_eq!(heard.join().unwrap().pop().unwrap(), b"last");
}

#[test]
fn a_delay_delays() {
    let (_proxy, port, link, _) = world();
    let mut stream = connect(port);
    ask(&mut stream, "warm").unwrap();
    link.set(Rule { responses: Flow::Delay(Duration::from_millis(200)), ..Rule::PASS });
    let began = Instant::now();
    assert_eq!(ask(&mut stream, "late").unwrap(), "late");
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_half_closed_connection_ends_for_the_server_only_and_its_requests_are_lost() {
    let (_proxy, port, link, heard) = world();
    let mut stream = connect(port);
    ask(&mut stream, "last").unwrap();
    assert_eq!(link.half_close(), 1);
    until("the server has heard the end", || heard.is_finished());
    assert_eq!(heard.join().unwrap(), [b"last"], "and nothing behind it");
}

/// An HTTP server that counts what it was asked and answers each with its number.
fn counting() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    sender.send(String::from_utf8_lossy(&buffer[..n]).into_owned()).unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                }
            });
        }
    });
    (port, receiver)
}

#[test]
fn an_insert_is_carried_out_though_its_answer_is_a_failure_or_lost() {
    let (server, asked) = counting();
    let proxy = Proxy::start().unwrap();
    let (port, link) = proxy.http("clickhouse").unwrap();
    port.upstream.set(server);
    let insert = "POST /?query=INSERT+INTO+t HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let select = "GET /?query=SELECT+1 HTTP/1.1\r\n\r\n";
    let answer = |request: &str| {
        let mut stream = connect(port.number);
        stream.write_all(request.as_bytes()).unwrap();
        let mut buffer = [0; 256];
        let n = stream.read(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    for (answering, expected) in [(Answering::Right, "200"), (Answering::Failure, "500"), (Answering::Nothing, "")] {
        link.set(answering);
        let got = answer(insert);
        assert!(if expected.is_empty() { got.is_empty() } else { got.contains(expected) }, "{answering:?}: {got:?}");
        assert_eq!(asked.recv_timeout(SOON).unwrap(), insert, "{answering:?}");
        assert!(answer(select).contains("200"), "others are answered");
        asked.recv_timeout(SOON).unwrap();
    }
    link.set(Answering::Refused);
    assert_eq!(answer(insert), "");
    assert!(asked.recv_timeout(Duration::from_millis(50)).is_err(), "not passed on");
    assert_eq!((link.inserts(), link.disturbed()), (4, 3));
}
