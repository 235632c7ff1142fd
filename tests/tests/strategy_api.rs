//! The strategy API over the topics of a live pipeline: questions, an order that is adapted, and what ClickHouse knows.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fillstream_tests::{Finished, LiveWorld, LocalServices, fillstream, run};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BASE: &str = "/api/v1/execution-strategy";
const LIMIT: Duration = Duration::from_secs(60);

struct Api {
    address: SocketAddr,
    world: Value,
}

impl Api {
    fn send(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> Outcome<(u16, Value)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        write!(
            stream,
            "{method} {BASE}{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{key}content-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok((status, serde_json::from_str(body)?))
    }

    fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Outcome<(u16, Value)> {
        self.send("POST", path, key, &body.to_string())
    }

    fn get(&self, path: &str) -> Outcome<(u16, Value)> {
        self.send("GET", path, None, "")
    }

    /// Runs a command on the world's services.
    fn fillstream(&self, args: &[&str]) -> Outcome<Finished> {
        let mut command = fillstream()?;
        command.args(args);
        for service in ["kafka", "registry", "clickhouse"] {
            let address = self.world[service].as_str().ok_or("no address")?;
            command.env(format!("FILLSTREAM_{}", service.to_uppercase()), address);
        }
        Ok(run(command, LIMIT)?)
    }

    fn topic(&self, topic: &str) -> Outcome<Vec<Value>> {
        let said = self.fillstream(&["tail", topic, "--from", "beginning", "--until-end", "--json"])?.expect_code(0)?;
        let value = |line: &str| serde_json::from_str::<Value>(line).map(|record| record["value"].clone());
        Ok(said.stdout.lines().map(value).collect::<Result<_, _>>()?)
    }

    /// Publishes a decision and gives its order.
    fn decide(&self, dir: &std::path::Path, event_id: &str, decision: &Value) -> Outcome<String> {
        let file = dir.join("decision.json");
        std::fs::write(&file, decision.to_string())?;
        self.fillstream(&["decide", &file.display().to_string()])?.expect_code(0)?;
        let mut order = String::new();
        until("the order", || {
            let events = self.topic("execution.orders.v1")?;
            let released = |e: &&Value| e["decision_event_id"] == *event_id && e["event_type"] == "RELEASED";
            let found = events.iter().find(released);
            order = found.and_then(|e| e["order_id"].as_str()).unwrap_or_default().to_owned();
            Ok(found.is_some())
        })?;
        Ok(order)
    }
}

fn until(what: &str, mut look: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + LIMIT;
    while !look()? {
        if Instant::now() >= deadline {
            return Err(format!("{what}: not within {LIMIT:?}").into());
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    Ok(())
}

fn question() -> Value {
    json!({ "order_id": "question-1", "instrument_id": "ACME", "side": "BUY", "quantity": "500", "urgency": "NORMAL",
        "objective": "MINIMIZE_COST", "constraints": { "time_limit_minutes": 30, "max_participation_rate": 0.2 } })
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

#[test]
fn questions_and_commands_go_over_the_topics() -> Outcome<()> {
    let data = tempfile::tempdir()?;
    let services = LocalServices::up(data.path())?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let listen = format!("api.listen={address}");
    let world = LiveWorld::start(data.path(), &["--set", &listen])?;
    let api = Api { address, world: serde_json::from_str(&world.addresses)? };
    questions(&api)?;
    an_order(&api, data.path())?;
    drop(world);
    drop(services);
    Ok(())
}

/// The same question gets the same answer, another one under its key none; the topics have all of it.
fn questions(api: &Api) -> Outcome<()> {
    let (status, first) = api.post("/recommend", Some("key-1"), &question())?;
    assert_eq!(status, 200, "{first}");
    assert!(first["recommended_strategy"]["algorithm"].is_string(), "{first}");
    assert_eq!(first["alternative_strategies"].as_array().map(Vec::len), Some(8));
    assert_eq!(first["rule"], "OBJECTIVE");
    let (status, again) = api.post("/recommend", Some("key-1"), &question())?;
    assert_eq!((status, &again), (200, &first));
    let mut other = question();
    other["quantity"] = json!("600");
    let (status, conflict) = api.post("/recommend", Some("key-1"), &other)?;
    assert_eq!((status, &conflict["code"]), (409, &json!("IDEMPOTENCY_CONFLICT")));
    other["instrument_id"] = json!("NOTHING");
    let (status, refused) = api.post("/recommend", None, &other)?;
    assert_eq!((status, &refused["code"]), (422, &json!("UNKNOWN_INSTRUMENT")));
    let (status, invalid) = api.post("/recommend", None, &json!({ "side": "BUY" }))?;
    assert_eq!((status, &invalid["code"]), (400, &json!("INVALID_REQUEST")));

    assert_eq!(api.topic("execution.strategy-requests.v1")?.len(), 4);
    let answers = api.topic("execution.strategy-recommendations.v1")?;
    let of_key: Vec<_> = answers.iter().filter(|a| a["request_id"] == "key-1").collect();
    assert_eq!(of_key.len(), 3, "{answers:?}");
    assert_eq!((&of_key[0]["repeat_no"], &of_key[1]["repeat_no"]), (&json!(0), &json!(1)));
    assert_eq!(of_key[0]["strategy"], of_key[1]["strategy"]);
    assert_eq!(of_key[2]["refusal_code"], "IDEMPOTENCY_CONFLICT");
    Ok(())
}

fn an_order(api: &Api, dir: &std::path::Path) -> Outcome<()> {
    let decision = json!({ "event_id": "api-1", "timestamp": now(), "portfolio_id": "P03",
        "decision": { "instrument_id": "ACME", "action": "BUY", "share_quantity": 500, "priority": "NORMAL" },
        "execution_strategy": { "order_type": "MARKET", "execution_algorithm": "TWAP", "urgency": "LOW",
            "time_horizon": "30_minutes" }, "confidence": 0.75 });
    let order = api.decide(dir, "api-1", &decision)?;
    let mut told = Value::Null;
    until("its status", || {
        let (status, found) = api.get(&format!("/{order}/status"))?;
        told = found;
        Ok(status == 200 && told["strategies"].as_array().is_some_and(|s| !s.is_empty()))
    })?;
    assert_eq!((&told["source"], &told["is_terminal"]), (&json!("topics"), &json!(false)), "{told}");
    assert_eq!(told["strategies"][0]["algorithm"], "TWAP");

    let body = json!({ "actor": "ann", "reason": "news", "urgency": "HIGH", "max_participation_rate": "0.5" });
    let (status, adapted) = api.post(&format!("/{order}/adapt"), Some("adapt-1"), &body)?;
    assert_eq!((status, &adapted["outcome"]), (200, &json!("ADAPTED")), "{adapted}");
    assert_eq!(api.post(&format!("/{order}/adapt"), Some("adapt-1"), &body)?, (200, adapted));
    let commands = api.topic("execution.commands.v1")?;
    assert_eq!(commands.iter().filter(|c| c["command_id"] == "adapt-1").count(), 1, "{commands:?}");
    let (status, refused) = api.post(&format!("/{order}/adapt"), Some("adapt-2"), &body)?;
    assert_eq!((status, &refused["code"]), (409, &json!("NOTHING_TO_REPLACE")), "{refused}");
    // The same from the command line.
    let cli = ["orders", "adapt", &order, "--algorithm", "VWAP", "--actor", "bob", "--reason", "volume"];
    api.fillstream(&cli)?.expect_code(0)?;
    until("the change", || {
        let (_, found) = api.get(&format!("/{order}/status"))?;
        Ok(found["strategies"][0]["algorithm"] == "VWAP")
    })?;

    let (status, nobody) = api.get("/nobody/status")?;
    assert_eq!((status, &nobody["code"]), (404, &json!("UNKNOWN_ORDER")));
    assert_eq!(api.post("/nobody/adapt", None, &body)?.0, 404);
    performance(api, dir)
}

/// An order that ends has its TCA, and ClickHouse its strategy's performance.
fn performance(api: &Api, dir: &std::path::Path) -> Outcome<()> {
    let decision = json!({ "event_id": "api-2", "timestamp": now(), "portfolio_id": "P04",
        "decision": { "instrument_id": "ACME", "action": "BUY", "share_quantity": 10, "priority": "NORMAL" },
        "execution_strategy": { "order_type": "MARKET", "execution_algorithm": "MARKET", "urgency": "HIGH" },
        "confidence": 0.75 });
    let order = api.decide(dir, "api-2", &decision)?;
    until("its end", || Ok(api.get(&format!("/{order}/status"))?.1["is_terminal"] == true))?;
    let mut report = Value::Null;
    until("its performance", || {
        let (status, found) = api.get("/performance?start_date=2020-01-01&end_date=2099-12-31")?;
        report = found;
        Ok(status == 200 && report["strategies"].as_array().is_some_and(|rows| !rows.is_empty()))
    })?;
    let row = &report["strategies"][0];
    assert_eq!((&row["strategy_name"], &row["orders_executed"]), (&json!("MARKET"), &json!(1)), "{report}");
    assert!(row["avg_cost_bps"].is_number(), "{report}");
    let (status, empty) = api.get("/performance?start_date=2020-01-01&end_date=2020-01-02")?;
    assert_eq!((status, &empty["strategies"]), (200, &json!([])));
    Ok(())
}
