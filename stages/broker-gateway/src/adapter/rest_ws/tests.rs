use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;
use fillstream_schemas::execution::ChildOrder;

/// Answers each connection's one request with the next of `answers`; an empty answer hangs up. Keeps what was asked.
fn server(answers: Vec<(&'static str, &'static str)>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0_u8; 8192];
            let n = stream.read(&mut request).unwrap();
            log.lock().unwrap().push(String::from_utf8_lossy(&request[..n]).into_owned());
            if !status.is_empty() {
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(body.as_bytes()).unwrap();
            }
        }
    });
    (url, asked)
}

fn intent(action: ChildAction) -> Intent {
    let child = ChildOrder {
        action,
        cl_ord_id: "C 1".into(),
        orig_cl_ord_id: (action == ChildAction::Cancel).then(|| "C/0".into()),
        instrument_id: "ACME".into(),
        ord_type: OrdType::Limit,
        quantity: "300".parse().unwrap(),
        limit_price: Some("101.25".parse().unwrap()),
        time_in_force: TimeInForce::Ioc,
        expire_at: TimestampMicros::from_micros(9),
        ..ChildOrder::default()
    };
    Intent { timestamp: TimestampMicros::from_micros(77), child, ..Intent::default() }
}

fn send(answer: (&'static str, &'static str), action: ChildAction) -> (SendOutcome, String) {
    let (url, asked) = server(vec![answer]);
    let adapter = RestWsAdapter::new("ALPHA", &url, Duration::from_secs(5)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(adapter.send(&intent(action), Duration::from_secs(5)));
    let asked = asked.lock().unwrap().first().cloned().unwrap_or_default();
    (outcome, asked)
}

#[test]
fn an_order_carries_the_intents_fields_and_its_time() {
    let (outcome, asked) = send(("202 Accepted", "{}"), ChildAction::New);
    assert_eq!(outcome, SendOutcome::Received);
    assert!(asked.starts_with("POST /v1/sessions/ALPHA/orders HTTP/1.1"), "{asked}");
    let body: serde_json::Value = serde_json::from_str(asked.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["quantity"], &body["limit_price"]), (&"300".into(), &"101.25".into()));
    assert_eq!((&body["sent_at"], &body["expire_at"]), (&77.into(), &serde_json::Value::Null), "an IOC has no end");
}

#[test]
fn a_cancel_names_its_order_in_the_path() {
    let (outcome, asked) = send(("202 Accepted", "{}"), ChildAction::Cancel);
    assert_eq!(outcome, SendOutcome::Received);
    assert!(asked.starts_with("POST /v1/sessions/ALPHA/orders/C%2F0/cancel HTTP/1.1"), "{asked}");
}

#[test]
fn only_a_clear_answer_is_one() {
    let outcome = |status, body| send((status, body), ChildAction::New).0;
    let taken = r#"{"code":"DUPLICATE_CLORDID","message":"","existing":{}}"#;
    assert_eq!(outcome("409 Conflict", taken), SendOutcome::Received);
    let refused = outcome("400 Bad Request", r#"{"code":"BAD_QUANTITY","message":"m"}"#);
    assert_eq!(refused, SendOutcome::Refused { code: "BAD_QUANTITY".into(), text: "m".into() });
    for (status, body) in [
        ("502 Bad Gateway", "<html>"),
        ("404 Not Found", "<html>"),
        ("200 OK", "{}"),
        ("503 Service Unavailable", r#"{"code":"JOURNAL_FAILED","message":""}"#),
        ("", ""),
    ] {
        assert!(matches!(outcome(status, body), SendOutcome::Uncertain { .. }), "{status} {body}");
    }
}

#[test]
fn nobody_listening_means_not_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let adapter = RestWsAdapter::new("ALPHA", &format!("http://{closed}"), Duration::from_secs(5)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(adapter.send(&intent(ChildAction::New), Duration::from_secs(5)));
    assert!(matches!(outcome, SendOutcome::NotSent { .. }), "{outcome:?}");
}

#[test]
fn a_request_without_an_answer_ends_with_its_time_and_is_uncertain() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let adapter = RestWsAdapter::new("ALPHA", &url, Duration::from_secs(30)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(adapter.send(&intent(ChildAction::New), Duration::from_millis(30)));
    assert!(matches!(outcome, SendOutcome::Uncertain { .. }), "{outcome:?}");
}

#[test]
fn only_the_brokers_own_404_means_that_it_does_not_know() {
    let order = r#"{"kind":"ORDER","ord_status":"PARTIALLY_FILLED","cum_qty":"100","last_seq":12,"leaves_qty":"200"}"#;
    let cases = vec![
        ("200 OK", order),
        ("200 OK", r#"{"kind":"CANCEL","orig_client_order_id":"C0"}"#),
        ("404 Not Found", r#"{"code":"UNKNOWN_ORDER","message":""}"#),
        ("404 Not Found", "<html>"),
        ("404 Not Found", r#"{"code":"UNKNOWN_SESSION","message":""}"#),
        ("500 Internal Server Error", "{}"),
    ];
    let (url, _) = server(cases);
    let adapter = RestWsAdapter::new("ALPHA", &url, Duration::from_secs(5)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let next = || runtime.block_on(adapter.status("C1"));
    let cum_qty = Quantity::from_int(100).unwrap();
    let known = OrderStatus { ord_status: Some(OrdStatus::PartiallyFilled), cum_qty, last_seq: 12 };
    assert_eq!(next(), StatusOutcome::Known(known));
    assert!(matches!(next(), StatusOutcome::Known(OrderStatus { ord_status: None, .. })));
    assert_eq!(next(), StatusOutcome::NotFound);
    for _ in 0..3 {
        assert!(matches!(next(), StatusOutcome::NoAnswer { .. }));
    }
}
