//! The service on real sockets, with a pipeline that answers from memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fillstream_schemas::execution::{
    Command, ExecutionStrategySelected, OrderEvent, OrderEventType, StrategyRecommendation, StrategyRequest,
};
use fillstream_strategy_api::{ApiConfig, ClickHouseConfig, Desk, OPENAPI, Outbound, ROUTES, Said, Server, serve};
use reqwest::Method;
use serde_json::{Value, json};

const BASE: &str = "/api/v1/execution-strategy";

/// What the pipeline of a test does with what it is sent.
type Reply = Box<dyn Fn(&Desk, Said) + Send>;

struct Rig {
    server: Server,
    desk: Arc<Desk>,
    client: reqwest::Client,
}

/// Nothing listens there.
fn nowhere() -> ClickHouseConfig {
    let url = "http://127.0.0.1:9".to_owned();
    ClickHouseConfig { url, database: "d".into(), user: "u".into(), password: String::new() }
}

fn pump(desk: Arc<Desk>, queue: Receiver<Outbound>, reply: Reply) {
    std::thread::spawn(move || {
        while let Ok(Outbound { said, written }) = queue.recv() {
            let _ = written.send(Ok(()));
            reply(&desk, said);
        }
    });
}

impl Rig {
    fn start(clickhouse: ClickHouseConfig, reply: impl Fn(&Desk, Said) + Send + 'static) -> Self {
        let (desk, queue) = Desk::new();
        pump(Arc::clone(&desk), queue, Box::new(reply));
        let listen = "127.0.0.1:0".parse().unwrap();
        let answer_timeout = Duration::from_millis(300);
        let server = serve(ApiConfig { listen, answer_timeout, clickhouse }, Arc::clone(&desk)).unwrap();
        Self { server, desk, client: reqwest::Client::new() }
    }

    /// A pipeline that says nothing.
    fn silent() -> Self {
        Self::start(nowhere(), |_, _| {})
    }

    async fn send(&self, method: Method, path: &str, body: Option<&str>, key: Option<&str>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.server.address());
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}")))
    }

    async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> (u16, Value) {
        self.send(Method::POST, &format!("{BASE}{path}"), Some(&body.to_string()), key).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, &format!("{BASE}{path}"), None, None).await
    }
}

fn good() -> Value {
    json!({ "order_id": "o1", "instrument_id": "X", "side": "BUY", "quantity": "100", "urgency": "LOW" })
}

fn fields(problem: &Value) -> BTreeSet<&str> {
    assert_eq!(problem["code"], "INVALID_REQUEST", "{problem}");
    problem["fields"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect()
}

fn answer_to(q: &StrategyRequest) -> StrategyRecommendation {
    StrategyRecommendation {
        request_id: q.request_id.clone(),
        order_id: q.order_id.clone(),
        attempt_id: q.attempt_id.clone(),
        strategy: Some(ExecutionStrategySelected { rule: "BALANCED".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn event(order_id: &str, event_type: OrderEventType, command_id: Option<&str>) -> OrderEvent {
    OrderEvent {
        event_id: "e1".into(),
        order_id: order_id.into(),
        portfolio_id: "P1".into(),
        event_type,
        revision: 3,
        command_id: command_id.map(str::to_owned),
        ..Default::default()
    }
}

#[tokio::test]
async fn invalid_requests_are_400_with_every_field_named() {
    let rig = Rig::silent();
    let body = json!({ "instrument_id": "X", "side": "UP", "quantity": 0, "urgency": "LOW",
        "constraints": { "max_participation_rate": 2, "speed": 1 }, "market_context": { "liquidity_score": 3 } });
    let (status, problem) = rig.post("/recommend", &body, None).await;
    assert_eq!(status, 400);
    let expected = [
        "constraints.max_participation_rate",
        "constraints.speed",
        "market_context.liquidity_score",
        "order_id",
        "quantity",
        "side",
    ];
    assert_eq!(fields(&problem), BTreeSet::from(expected));
    let (status, problem) = rig.post("/recommend", &good(), Some("a key")).await;
    assert_eq!((status, fields(&problem)), (400, BTreeSet::from(["Idempotency-Key"])));
    let (status, problem) = rig.send(Method::POST, &format!("{BASE}/recommend"), Some("{"), None).await;
    assert_eq!((status, fields(&problem)), (400, BTreeSet::from(["body"])));
    let (status, problem) = rig.post("/o1/adapt", &json!({ "actor": "ann", "speed": 1 }), None).await;
    assert_eq!((status, fields(&problem)), (400, BTreeSet::from(["reason", "speed"])));
    let (status, problem) = rig.get("/performance?start_date=2026-13-01").await;
    assert_eq!((status, fields(&problem)), (400, BTreeSet::from(["start_date", "end_date"])));
    let large = format!("{{\"order_id\":\"{}\"}}", "x".repeat(70_000));
    let (status, _) = rig.send(Method::POST, &format!("{BASE}/recommend"), Some(&large), None).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn a_question_is_written_and_its_answer_told() {
    let (seen, asked) = channel();
    let seen = Mutex::new(seen);
    let rig = Rig::start(nowhere(), move |desk, said| {
        let Said::Question(q) = said else { panic!("{said:?}") };
        seen.lock().unwrap().send((q.request_id.clone(), q.attempt_id.clone())).unwrap();
        // Another asking's answer is nobody's here.
        desk.take_answer(StrategyRecommendation { attempt_id: "other".into(), ..answer_to(&q) });
        desk.take_answer(answer_to(&q));
    });
    let (status, answer) = rig.post("/recommend", &good(), Some("key-1")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["request_id"], &answer["rule"]), (&json!("key-1"), &json!("BALANCED")));
    for field in ["recommended_strategy", "expected_outcomes", "alternative_strategies", "strategy_rationale"] {
        assert!(!answer[field].is_null(), "{field}: {answer}");
    }
    assert!(answer["recommended_strategy"]["time_allocation"].is_array());
    let (first, attempt) = asked.recv().unwrap();
    assert_eq!(first, "key-1");
    // The same key goes out again, as another asking.
    assert_eq!(rig.post("/recommend", &good(), Some("key-1")).await.0, 200);
    let (again, other) = asked.recv().unwrap();
    assert!(again == "key-1" && other != attempt);
    // Without a key one is made, and told.
    let (_, answer) = rig.post("/recommend", &good(), None).await;
    assert_eq!(answer["request_id"], json!(asked.recv().unwrap().0));
}

#[tokio::test]
async fn refusals_have_their_status_and_code() {
    let rig = Rig::start(nowhere(), |desk, said| {
        let Said::Question(q) = said else { panic!("{said:?}") };
        let refusal_code = Some(q.order_id.clone());
        desk.take_answer(StrategyRecommendation { refusal_code, strategy: None, ..answer_to(&q) });
    });
    for (code, expected) in [
        ("IDEMPOTENCY_CONFLICT", 409),
        ("UNKNOWN_INSTRUMENT", 422),
        ("MARKET_CLOSED", 422),
        ("STALE_QUOTE", 503),
        ("TABLES_UNAVAILABLE", 503),
    ] {
        let mut body = good();
        body["order_id"] = json!(code);
        let (status, problem) = rig.post("/recommend", &body, Some("k")).await;
        assert_eq!((status, &problem["code"], &problem["request_id"]), (expected, &json!(code), &json!("k")));
    }
}

#[tokio::test]
async fn silence_is_told_with_the_key_to_ask_again() {
    let rig = Rig::silent();
    let (status, problem) = rig.post("/recommend", &good(), None).await;
    assert_eq!((status, &problem["code"]), (504, &json!("NO_ANSWER")));
    assert!(problem["request_id"].as_str().is_some_and(|id| !id.is_empty()));
    // A pipeline that cannot be written to.
    let (desk, queue) = Desk::new();
    std::thread::spawn(move || {
        while let Ok(Outbound { written, .. }) = queue.recv() {
            let _ = written.send(Err("no broker".into()));
        }
    });
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = ApiConfig { listen, answer_timeout: Duration::from_secs(5), clickhouse: nowhere() };
    let server = serve(config, Arc::clone(&desk)).unwrap();
    let rig = Rig { server, desk, client: reqwest::Client::new() };
    let (status, problem) = rig.post("/recommend", &good(), None).await;
    assert_eq!((status, &problem["code"]), (503, &json!("NOT_WRITTEN")));
    assert!(problem["message"].as_str().unwrap().contains("no broker"));
}

#[tokio::test]
async fn an_adaptation_is_a_command_and_its_event_the_answer() {
    let (seen, commands) = channel::<Command>();
    let seen = Mutex::new(seen);
    let rig = Rig::start(nowhere(), move |desk, said| {
        let Said::Command(c) = said else { panic!("{said:?}") };
        desk.take_event(&event("o1", OrderEventType::ReplaceRequested, Some(&c.command_id)));
        let answer = if c.new_urgency.is_some() { OrderEventType::Replaced } else { OrderEventType::CommandRefused };
        if c.reason != "late" {
            let refused = OrderEvent { reason_code: Some("NOTHING_TO_REPLACE".into()), ..event("o1", answer, None) };
            desk.take_event(&OrderEvent { command_id: Some(c.command_id.clone()), ..refused });
        }
        seen.lock().unwrap().send(*c).unwrap();
    });
    rig.desk.take_event(&event("o1", OrderEventType::Released, None));
    let body = json!({ "actor": "ann", "reason": "news", "urgency": "HIGH" });
    let (status, answer) = rig.post("/o1/adapt", &body, Some("c-1")).await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("ADAPTED")), "{answer}");
    let command = commands.recv().unwrap();
    assert_eq!((command.command_id.as_str(), command.portfolio_id.as_str()), ("c-1", "P1"));
    assert_eq!((command.action.as_str(), command.actor.as_str()), ("ADAPT", "ann"));
    // Asked again it is answered at once, and not sent again.
    assert_eq!(rig.post("/o1/adapt", &body, Some("c-1")).await, (200, answer));
    assert!(commands.try_recv().is_err());
    let slower = json!({ "actor": "ann", "reason": "why", "max_participation_rate": "0.2" });
    let (status, problem) = rig.post("/o1/adapt", &slower, None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("NOTHING_TO_REPLACE")));
    let late = json!({ "actor": "ann", "reason": "late", "urgency": "LOW" });
    let (status, answer) = rig.post("/o1/adapt", &late, Some("c-2")).await;
    assert_eq!((status, answer), (202, json!({ "command_id": "c-2", "order_id": "o1", "outcome": "PENDING" })));
}

#[tokio::test]
async fn status_is_that_of_the_topics_and_otherwise_of_clickhouse() {
    let rig = Rig::silent();
    rig.desk.take_event(&event("o1", OrderEventType::Released, None));
    let strategy =
        ExecutionStrategySelected { order_id: "o1".into(), account_id: Some("A".into()), ..Default::default() };
    rig.desk.take_strategy(&strategy);
    let (status, answer) = rig.get("/o1/status").await;
    assert_eq!((status, &answer["source"], &answer["revision"]), (200, &json!("topics"), &json!(3)));
    assert_eq!(answer["strategies"][0]["account_id"], "A");
    // Nobody knows this one, and ClickHouse does not answer: that is no 404.
    let (status, problem) = rig.get("/o2/status").await;
    assert_eq!((status, &problem["code"]), (503, &json!("ANALYTICS_UNAVAILABLE")));
    let body = json!({ "actor": "ann", "reason": "news", "urgency": "HIGH" });
    assert_eq!(rig.post("/o2/adapt", &body, None).await.0, 503);
    assert_eq!(rig.get("/performance?start_date=2026-03-01&end_date=2026-03-02").await.0, 503);
}

/// A ClickHouse that knows nothing: 404. One that knows a row tells it.
#[tokio::test]
async fn unknown_orders_are_404_and_old_ones_come_from_clickhouse() {
    let url = clickhouse(|sql| {
        assert!(sql.contains("FORMAT JSONEachRow"), "{sql}");
        let is_old = sql.contains("'old'");
        match (is_old, sql.contains("execution_orders_v1")) {
            (true, true) => {
                "{\"order_id\":\"old\",\"portfolio_id\":\"P9\",\"status\":\"FILLED\",\"timestamp\":\"t\"}\n"
            }
            (true, false) => "{\"account_id\":\"A\"}\n",
            (false, _) if sql.contains("strategy_performance") => {
                "{\"strategy_name\":\"TWAP\",\"orders_executed\":2}\n"
            }
            (false, _) => "",
        }
    });
    let rig = Rig::start(ClickHouseConfig { url, ..nowhere() }, |_, _| {});
    let (status, problem) = rig.get("/o2/status").await;
    assert_eq!((status, &problem["code"]), (404, &json!("UNKNOWN_ORDER")));
    let body = json!({ "actor": "ann", "reason": "news", "urgency": "HIGH" });
    assert_eq!(rig.post("/o2/adapt", &body, None).await.0, 404);
    let (status, answer) = rig.get("/old/status").await;
    assert_eq!((status, &answer["source"], &answer["changed_at"]), (200, &json!("clickhouse"), &json!("t")));
    assert_eq!(answer["strategies"], json!([{ "account_id": "A" }]));
    // Sent to the portfolio that ClickHouse names, and nobody answers.
    assert_eq!(rig.post("/old/adapt", &body, None).await.0, 202);
    let (status, answer) = rig.get("/performance?start_date=2026-03-01&end_date=2026-03-02").await;
    assert_eq!((status, &answer["strategies"][0]["strategy_name"]), (200, &json!("TWAP")));
}

/// An HTTP server that answers a POST with what `f` makes of its body.
fn clickhouse(f: fn(&str) -> &'static str) -> String {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = f(std::str::from_utf8(&body).unwrap());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            write!(stream.get_mut(), "{head}{answer}").unwrap();
        }
    });
    url
}

#[tokio::test]
async fn what_is_not_there_is_said_as_json() {
    let rig = Rig::silent();
    let (status, problem) = rig.get("/nothing").await;
    assert_eq!((status, &problem["code"]), (404, &json!("UNKNOWN_PATH")));
    let (status, problem) = rig.get("/recommend").await;
    assert_eq!((status, &problem["code"]), (405, &json!("WRONG_METHOD")));
}

/// Every operation of the document is a route and every route an operation; every status that these tests met is in it.
#[tokio::test]
async fn the_document_agrees_with_the_routes() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        documented.extend(operations.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    }
    let routes: BTreeSet<_> = ROUTES.iter().map(|(m, p)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(documented, routes);
    let rig = Rig::silent();
    for (method, path) in routes {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let (status, answer) = rig.send(method, &path.replace("{order_id}", "o"), Some("{}"), None).await;
        assert!(status != 405 && answer["code"] != "UNKNOWN_PATH", "{path}: {status} {answer}");
    }
    references(&document, &document);
}

fn references(document: &Value, at: &Value) {
    if let Some(reference) = at.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    at.as_object().into_iter().flat_map(|o| o.values()).for_each(|v| references(document, v));
    at.as_array().into_iter().flatten().for_each(|v| references(document, v));
}

/// The document's request schemas list what the service takes, and its example is taken.
#[tokio::test]
async fn the_documents_examples_are_valid_requests() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let rig = Rig::silent();
    rig.desk.take_event(&event("o1", OrderEventType::Released, None));
    for (method, path) in ROUTES.iter().filter(|(method, _)| *method == "post") {
        let content = &document["paths"][path][method]["requestBody"]["content"]["application/json"];
        let name = content["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let schema = &document["components"]["schemas"][name];
        let target = path.replace("{order_id}", "o1");
        let (status, answer) = rig.send(Method::POST, &target, Some(&content["example"].to_string()), None).await;
        assert!([202, 504].contains(&status), "{path}: {status} {answer}");
        // Each documented field is known, whatever stands in it.
        for field in schema["properties"].as_object().unwrap().keys() {
            let (_, problem) = rig.send(Method::POST, &target, Some(&json!({ field: [] }).to_string()), None).await;
            let faults = problem["fields"].as_array().unwrap();
            assert!(!faults.iter().any(|f| f["problem"] == "unknown field"), "{field}: {problem}");
        }
    }
}

#[tokio::test]
async fn swagger_ui_comes_whole_from_the_program() {
    let rig = Rig::silent();
    let text = async |path: &str| {
        let answer = rig.client.get(format!("http://{}{path}", rig.server.address())).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(text("/openapi.json").await, (200, OPENAPI.to_owned()));
    let (status, page) = text("/docs").await;
    assert!(status == 200 && page.contains("/openapi.json"), "{page}");
    let mut files = 0;
    for part in page.split(['"', '\'']) {
        assert!(!part.starts_with("http://") && !part.starts_with("https://") && !part.starts_with("//"), "{part}");
        if let Some(file) = part.strip_prefix("/docs/").filter(|file| file.ends_with(".js") || file.ends_with(".css")) {
            assert_eq!(text(&format!("/docs/{file}")).await.0, 200, "{file}");
            files += 1;
        }
    }
    assert!(files >= 3, "{page}");
    assert_eq!(text("/docs/nothing.js").await.0, 404);
}
