//! The real server on a real socket, with real clients: the promises of `PROTOCOL.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

use fillstream_domain::TimestampMicros;
use fillstream_market::{Anchored, DEFAULT_START, MarketSource, SyntheticConfig, SyntheticMarket};
use fillstream_venue::{
    EngineConfig, Line, Misbehaviour, Mode, VenueConfig, VenueError, recorded_session_start, serve,
};
use futures_util::StreamExt;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const DEADLINE: Duration = Duration::from_secs(20);
const START: i64 = DEFAULT_START.micros();

fn config(journal: &Path) -> VenueConfig {
    let engine = EngineConfig {
        sessions: vec!["SIM".to_owned(), "OTHER".to_owned()],
        misbehaviour: Misbehaviour::none(),
        ..EngineConfig::default()
    };
    VenueConfig { mode: Mode::Paced, journal: journal.to_owned(), engine }
}

fn market() -> Box<dyn MarketSource> {
    let config = SyntheticConfig { seed: 5, length_us: 300_000_000, ..SyntheticConfig::default() };
    Box::new(SyntheticMarket::new(config).unwrap())
}

struct Server {
    address: String,
    http: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), VenueError>>,
}

impl Server {
    async fn start(config: VenueConfig, market: Box<dyn MarketSource>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(config, market, listener, async { drop(stopped.await) }));
        Self { address, http: Client::builder().no_proxy().build().unwrap(), stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        drop(self.http);
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.http.post(self.url(path)).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.http.get(self.url(path)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn journal(&self, query: &str) -> Vec<Value> {
        let text = self.http.get(self.url(&format!("/v1/journal{query}"))).send().await.unwrap().text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn reports(&self, session: &str, from: u64) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let url = format!("ws://{}/v1/sessions/{session}/reports?from_seq={from}", self.address);
        connect_async(url).await.unwrap().0
    }
}

async fn next(stream: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Message {
    tokio::time::timeout(DEADLINE, stream.next()).await.expect("a frame in time").unwrap().unwrap()
}

async fn next_reports(stream: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, count: usize) -> Vec<Value> {
    let mut reports = Vec::new();
    while reports.len() < count {
        reports.push(serde_json::from_str(next(stream).await.to_text().unwrap()).unwrap());
    }
    reports
}

fn order(id: &str, sent_ms: i64) -> Value {
    json!({
        "client_order_id": id, "account_id": "ACC", "instrument_id": "ACME", "venue": "XALP", "side": "BUY",
        "ord_type": "MARKET", "quantity": "50", "time_in_force": "DAY", "sent_at": START + sent_ms * 1_000,
    })
}

fn clock(ms: i64, sequence: u64) -> Value {
    json!({"instant": START + ms * 1_000, "sequence": sequence})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_acknowledged_filled_streamed_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(&dir.path().join("j")), market()).await;
    let mut stream = server.reports("SIM", 1).await;
    server.post("/v1/clock", clock(1_000, 1)).await;
    let (status, received) = server.post("/v1/sessions/SIM/orders", order("A", 1_000)).await;
    assert_eq!((status, &received["received"]), (StatusCode::ACCEPTED, &json!("A")));
    assert_eq!(received["arrives_at"], START + 1_100_000);
    let (_, pending) = server.get("/v1/sessions/SIM/orders/A").await;
    assert_eq!((&pending["ord_status"], &pending["last_seq"]), (&json!("PENDING_NEW"), &json!(0)));

    let (_, idle) = server.get("/v1/clock").await;
    assert_eq!(idle["next_event_at"], START + 1_200_000, "arrival and latency");
    let (status, advanced) = server.post("/v1/clock", clock(60_000, 2)).await;
    assert_eq!(status, StatusCode::OK);
    let last = advanced["sessions"]["SIM"].as_u64().unwrap();
    assert!(last >= 2 && advanced["sessions"]["OTHER"] == 0, "{advanced}");
    let reports = next_reports(&mut stream, usize::try_from(last).unwrap()).await;
    assert_eq!(reports[0]["exec_type"], "NEW");
    assert_eq!(reports.last().unwrap()["ord_status"], "FILLED");
    let seqs: Vec<_> = reports.iter().map(|r| r["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
    let (_, filled) = server.get("/v1/sessions/SIM/orders/A").await;
    assert_eq!(
        (&filled["ord_status"], &filled["cum_qty"], &filled["last_seq"]),
        (&json!("FILLED"), &json!("50"), &json!(last))
    );

    // The same advance again changes nothing; another one under its number is refused.
    let (_, again) = server.post("/v1/clock", clock(60_000, 2)).await;
    assert_eq!(again, advanced);
    for conflict in [clock(61_000, 2), clock(60_000, 1), clock(59_000, 3)] {
        let (status, refusal) = server.post("/v1/clock", conflict).await;
        assert_eq!(
            (status, &refusal["code"], &refusal["sequence"]),
            (StatusCode::CONFLICT, &json!("CLOCK_CONFLICT"), &json!(2))
        );
    }

    // A newer connection resumes from any seq and replaces the older.
    let mut second = server.reports("SIM", 2).await;
    assert_eq!(next_reports(&mut second, 1).await[0], reports[1]);
    let Message::Close(Some(frame)) = next(&mut stream).await else { panic!("not closed") };
    assert_eq!(u16::from(frame.code), 4001);
    let refused = connect_async(format!("ws://{}/v1/sessions/SIM/reports?from_seq={}", server.address, last + 2)).await;
    let Err(Error::Http(answer)) = refused else { panic!("connected") };
    assert_eq!(answer.status().as_u16(), 409);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_refused_even_after_a_restart_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (cut, whole) = (dir.path().join("cut"), dir.path().join("whole"));
    let mut journals = Vec::new();
    for (path, restarts) in [(&cut, true), (&whole, false)] {
        let mut server = Server::start(config(path), market()).await;
        for step in 0_i64..8 {
            let id = format!("O{step}");
            let (status, _) = server.post("/v1/sessions/SIM/orders", order(&id, step * 1_000)).await;
            assert_eq!(status, StatusCode::ACCEPTED);
            if restarts {
                server.stop().await;
                // What a crash in the middle of a write leaves.
                use std::io::Write;
                let mut torn = std::fs::OpenOptions::new().append(true).open(path).unwrap();
                torn.write_all(b"{\"n\":99,\"type\":\"ord").unwrap();
                drop(torn);
                server = Server::start(config(path), market()).await;
            }
            let (status, refusal) = server.post("/v1/sessions/SIM/orders", order(&id, step * 1_000)).await;
            assert_eq!((status, &refusal["code"]), (StatusCode::CONFLICT, &json!("DUPLICATE_CLORDID")));
            assert_eq!(refusal["existing"]["ord_status"], "PENDING_NEW");
            let sequence = u64::try_from(step).unwrap() + 1;
            let (status, _) = server.post("/v1/clock", clock((step + 1) * 1_000, sequence)).await;
            assert_eq!(status, StatusCode::OK);
        }
        journals.push(server.journal("").await);
        let (_, health) = server.get("/v1/health").await;
        assert_eq!(health["journal_lines"], journals.last().unwrap().len());
        let tail = server.journal("?from=3&limit=2").await;
        assert_eq!(tail, journals.last().unwrap()[3..5]);
        assert_eq!(server.journal("?from=100000").await, Vec::<Value>::new());
        server.stop().await;
    }
    assert_eq!(journals[0], journals[1], "a restart changed the run");
    let reports = journals[0].iter().filter(|line| line["type"] == "report").count();
    assert!(reports >= 16, "{reports}");
    assert!(journals[0].iter().all(|line| serde_json::from_value::<Line>(line.clone()).is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_torn_off_the_journal_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let server = Server::start(config(&path), market()).await;
    server.post("/v1/sessions/SIM/orders", order("A", 0)).await;
    server.post("/v1/clock", clock(60_000, 1)).await;
    let lines = server.journal("").await;
    server.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 40]).unwrap();
    let server = Server::start(config(&path), market()).await;
    assert_eq!(server.journal("").await, lines);
    let mut stream = server.reports("SIM", 1).await;
    let reports = lines.iter().filter(|line| line["type"] == "report").map(|line| line["report"].clone());
    let reports: Vec<_> = reports.collect();
    assert_eq!(next_reports(&mut stream, reports.len()).await, reports);
    server.stop().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_or_damaged_journal_stops_the_venue() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let server = Server::start(config(&path), market()).await;
    server.post("/v1/sessions/SIM/orders", order("A", 0)).await;
    server.post("/v1/clock", clock(60_000, 1)).await;
    server.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let run = async |config: VenueConfig| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ended = serve(config, market(), listener, std::future::pending());
        tokio::time::timeout(DEADLINE, ended).await.expect("an end in time").unwrap_err()
    };
    let mut other = config(&path);
    other.engine.seed = 99;
    assert!(matches!(run(other).await, VenueError::JournalForeign { what: "configuration", .. }));
    std::fs::write(&path, text.replacen("\"last_qty\":\"50\"", "\"last_qty\":\"51\"", 1)).unwrap();
    assert!(matches!(run(config(&path)).await, VenueError::JournalDiffers { .. }));
    std::fs::write(&path, text.replacen("\"type\":\"order\"", "\"type\":\"odor\"", 1)).unwrap();
    assert!(matches!(run(config(&path)).await, VenueError::JournalDamaged { line: 1, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_with_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(&dir.path().join("j")), market()).await;
    let with = |field: &str, value: Value| {
        let mut order = order("A", 0);
        order[field] = value;
        order
    };
    for (session, body, status, code) in [
        ("SIM", json!([]), 400, "MALFORMED"),
        ("SIM", with("quantity", json!(50)), 400, "MALFORMED"),
        ("SIM", with("quantity", json!("NaN")), 400, "MALFORMED"),
        ("SIM", with("quantity", json!("-5")), 400, "MALFORMED"),
        ("SIM", with("quantity", json!("0")), 400, "BAD_QUANTITY"),
        ("SIM", with("client_order_id", json!("a b")), 400, "MALFORMED"),
        ("SIM", with("limitprice", json!("1")), 400, "MALFORMED"),
        ("SIM", with("side", json!("buy")), 400, "MALFORMED"),
        ("SIM", with("ord_type", json!("LIMIT")), 400, "LIMIT_PRICE_REQUIRED"),
        ("SIM", with("venue", json!("XXXX")), 404, "UNKNOWN_VENUE"),
        ("SIM", with("instrument_id", json!("XXXX")), 404, "UNKNOWN_INSTRUMENT"),
        ("NOBODY", order("A", 0), 404, "UNKNOWN_SESSION"),
    ] {
        let (found, refusal) = server.post(&format!("/v1/sessions/{session}/orders"), body.clone()).await;
        assert_eq!((found.as_u16(), &refusal["code"]), (status, &json!(code)), "{body}");
    }
    let cancel = json!({"client_order_id": "A-X", "sent_at": START});
    let (status, refusal) = server.post("/v1/sessions/SIM/orders/A/cancel", cancel.clone()).await;
    assert_eq!((status, &refusal["code"]), (StatusCode::NOT_FOUND, &json!("UNKNOWN_ORDER")));
    assert_eq!(server.get("/v1/sessions/SIM/orders/A").await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.journal("").await.len(), 1, "a refused request left a trace");

    assert_eq!(server.post("/v1/sessions/SIM/orders", order("A", 0)).await.0, StatusCode::ACCEPTED);
    assert_eq!(server.post("/v1/sessions/OTHER/orders", order("A", 0)).await.0, StatusCode::ACCEPTED);
    assert_eq!(server.post("/v1/sessions/SIM/orders/A/cancel", cancel.clone()).await.0, StatusCode::ACCEPTED);
    let (status, refusal) = server.post("/v1/sessions/SIM/orders/A/cancel", cancel).await;
    assert_eq!((status, &refusal["existing"]["kind"]), (StatusCode::CONFLICT, &json!("CANCEL")));
    let (status, view) = server.get("/v1/sessions/SIM/orders/A-X").await;
    assert_eq!((status, &view["orig_client_order_id"]), (StatusCode::OK, &json!("A")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_mode_follows_the_clock_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    assert_eq!(recorded_session_start(&path).unwrap(), None);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let anchor = TimestampMicros::from_micros(i64::try_from(now).unwrap() - 5_000_000);
    let live = || {
        let mut config = config(&path);
        config.mode = Mode::Live;
        config.engine.grid_us = 1_000;
        config.engine.venues[0].latency_us = 2_000;
        config
    };
    let server = Server::start(live(), Box::new(Anchored::new(market(), anchor))).await;
    let mut stream = server.reports("SIM", 1).await;
    assert_eq!(server.post("/v1/sessions/SIM/orders", order("A", 0)).await.0, StatusCode::ACCEPTED);
    let ack = next_reports(&mut stream, 1).await.remove(0);
    assert_eq!((&ack["exec_type"], &ack["cl_ord_id"]), (&json!("NEW"), &json!("A")));
    assert!(ack["transact_at"].as_i64().unwrap() > anchor.micros() + 5_000_000);
    assert_eq!(server.post("/v1/clock", clock(0, 1)).await.1["code"], "CLOCK_IS_LIVE");
    let before = server.journal("").await;
    server.stop().await;

    assert_eq!(recorded_session_start(&path).unwrap(), Some(anchor));
    let server = Server::start(live(), Box::new(Anchored::new(market(), anchor))).await;
    assert_eq!(server.journal("").await[..before.len()], before);
    assert_eq!(server.post("/v1/sessions/SIM/orders", order("A", 0)).await.0, StatusCode::CONFLICT);
    let mut stream = server.reports("SIM", 1).await;
    assert_eq!(next_reports(&mut stream, 1).await[0], ack);
    server.stop().await;
}
