//! The service on a real socket, with a pipeline in memory.
#![allow(dead_code, reason = "not every test looks at all of it")]

use std::sync::Arc;
use std::time::Duration;

use fillstream_kafka::observe::{Health, Metrics};
use fillstream_schemas::execution::{
    ExecutionStrategySelected, OrderEvent, OrderEventType, StrategyRecommendation, StrategyRequest,
};
use fillstream_strategy_api::{Access, ApiConfig, ClickHouseConfig, Desk, Outbound, Said, Server, serve};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) const BASE: &str = "/api/v1/execution-strategy";
/// How long the service waits for the pipeline of a test.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) struct Rig {
    server: Server,
    pub(crate) desk: Arc<Desk>,
    pub(crate) client: reqwest::Client,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    /// What requests say of who sends them.
    pub(crate) authorization: Option<String>,
}

/// Nothing listens there.
pub(crate) fn nowhere() -> ClickHouseConfig {
    let url = "http://127.0.0.1:9".to_owned();
    ClickHouseConfig { url, database: "d".into(), user: "u".into(), password: String::new() }
}

impl Rig {
    pub(crate) fn new(
        access: Access,
        patience: Duration,
        clickhouse: ClickHouseConfig,
        pipeline: impl Fn(Outbound, &Desk) + Send + 'static,
    ) -> Self {
        let (metrics, health) = (Metrics::new(), Health::new());
        let (desk, queue) = Desk::new(&metrics);
        let of_pipeline = Arc::clone(&desk);
        std::thread::spawn(move || {
            while let Ok(outbound) = queue.recv() {
                pipeline(outbound, &of_pipeline);
            }
        });
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ApiConfig { listen, answer_timeout: patience, clickhouse, access };
        let server = serve(config, Arc::clone(&desk), Arc::clone(&metrics), Arc::clone(&health)).unwrap();
        Self { server, desk, client: reqwest::Client::new(), metrics, health, authorization: None }
    }

    /// With a pipeline that takes everything and does `reply`.
    pub(crate) fn start(clickhouse: ClickHouseConfig, reply: impl Fn(&Desk, Said) + Send + 'static) -> Self {
        Self::new(Access::Machine, PATIENCE, clickhouse, move |Outbound { said, written }, desk| {
            let _ = written.send(Ok(()));
            reply(desk, said);
        })
    }

    /// With a pipeline that says nothing.
    pub(crate) fn silent() -> Self {
        Self::start(nowhere(), |_, _| {})
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&str>, key: Option<&str>) -> (u16, Value) {
        let mut request = self.client.request(method, self.url(path));
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}")))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> (u16, Value) {
        self.send(Method::POST, &format!("{BASE}{path}"), Some(&body.to_string()), key).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, &format!("{BASE}{path}"), None, None).await
    }
}

pub(crate) fn good() -> Value {
    json!({ "order_id": "o1", "instrument_id": "X", "side": "BUY", "quantity": "100", "urgency": "LOW" })
}

pub(crate) fn answer_to(q: &StrategyRequest) -> StrategyRecommendation {
    StrategyRecommendation {
        request_id: q.request_id.clone(),
        order_id: q.order_id.clone(),
        attempt_id: q.attempt_id.clone(),
        strategy: Some(ExecutionStrategySelected { rule: "BALANCED".into(), ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn event(order_id: &str, event_type: OrderEventType, command_id: Option<&str>) -> OrderEvent {
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
