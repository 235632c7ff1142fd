//! The exporter against real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use fillstream_core::lineage::Lineage;
use fillstream_core::trace::{SpanWork, TraceContext};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

struct Request {
    line: String,
    content_type: String,
    body: Vec<u8>,
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let (mut length, mut content_type) = (0, String::new());
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).unwrap();
        let (name, value) = match header.trim_end().split_once(':') {
            Some((name, value)) => (name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
        match name.as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => content_type = value,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(Request { line: line.trim_end().to_owned(), content_type, body })
}

/// A collector that answers as it is told, then always with the last answer.
fn collector(answers: &'static [&'static str]) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let (to, requests) = channel();
    std::thread::spawn(move || {
        let mut served = 0;
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(request) = read(&mut stream) {
                let answer = answers[served.min(answers.len() - 1)];
                served += 1;
                let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.get_mut().write_all(text.as_bytes()).unwrap();
                if to.send(request).is_err() {
                    return;
                }
            }
        }
    });
    (endpoint, requests)
}

fn start(endpoint: &str) -> (Exporter, Arc<Metrics>) {
    let metrics = Metrics::new();
    let sampler = Sampler::per_million(1_000_000);
    let config = TelemetryConfig { endpoint: endpoint.into(), sampler, instance: "1".into(), version: "0".into() };
    (Exporter::start(config, &metrics).unwrap(), metrics)
}

fn span(n: usize) -> Span {
    let lineage = Lineage::root("t", &n.to_string());
    Span {
        context: TraceContext::enter(None, lineage, "s"),
        parent: None,
        link: None,
        stage: "s",
        key: "k".into(),
        work: SpanWork::Timer,
        outputs: 0,
        poison: None,
    }
}

fn tell(exporter: &Exporter, spans: impl Iterator<Item = usize>) {
    exporter.tracer().tell(&"fillstream.test".into(), (1, 2), spans.map(span).collect());
}

fn holds(body: &[u8], n: usize) -> bool {
    let lineage = Lineage::root("t", &n.to_string());
    body.windows(16).any(|w| w == lineage.as_bytes())
}

#[test]
fn spans_come_by_http_and_those_of_the_end_too() {
    let (endpoint, requests) = collector(&["200 OK"]);
    let (exporter, metrics) = start(&endpoint);
    tell(&exporter, 0..3);
    let first = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (first.line.as_str(), first.content_type.as_str()),
        ("POST /v1/traces HTTP/1.1", "application/x-protobuf")
    );
    assert!((0..3).all(|n| holds(&first.body, n)));
    tell(&exporter, 7..8);
    drop(exporter);
    assert!(holds(&requests.recv_timeout(PATIENCE).unwrap().body, 7), "told before the end");
    assert!(metrics.print().contains("fillstream_spans_exported_total 4\n"), "{}", metrics.print());
}

#[test]
fn what_the_collector_cannot_take_now_comes_again_and_what_it_refuses_is_counted() {
    let (endpoint, requests) = collector(&["503 Service Unavailable", "200 OK", "400 Bad Request"]);
    let (exporter, metrics) = start(&endpoint);
    tell(&exporter, 0..2);
    let (first, again) = (requests.recv_timeout(PATIENCE).unwrap(), requests.recv_timeout(PATIENCE).unwrap());
    assert_eq!(first.body, again.body);
    tell(&exporter, 5..8);
    requests.recv_timeout(PATIENCE).unwrap();
    drop(exporter);
    let text = metrics.print();
    assert!(text.contains("fillstream_spans_exported_total 2\n"), "{text}");
    assert!(text.contains("fillstream_spans_dropped_total{reason=\"not_accepted\"} 3\n"), "{text}");
}

#[test]
fn a_collector_that_never_answers_holds_nobody_up() {
    // It takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (exporter, metrics) = start(&format!("http://{}", listener.local_addr().unwrap()));
    let begun = Instant::now();
    for n in 0..QUEUE / 100 + 100 {
        tell(&exporter, n * 100..(n + 1) * 100);
    }
    // Far less than one answer that does not come.
    assert!(begun.elapsed() < ANSWER, "{:?}", begun.elapsed());
    let text = metrics.print();
    let dropped = text.lines().find_map(|l| l.strip_prefix("fillstream_spans_dropped_total{reason=\"queue_full\"} "));
    let dropped: usize = dropped.unwrap().parse().unwrap();
    // The thread holds a request of them, and what came since then is in the queue.
    assert!((1..=10_000).contains(&dropped), "{text}");
}

#[test]
fn off_tells_nobody_and_wants_nothing() {
    let tracer = Tracer::off();
    assert!(!tracer.sampler().is_on());
    tracer.tell(&"s".into(), (1, 2), vec![span(1)]);
}
