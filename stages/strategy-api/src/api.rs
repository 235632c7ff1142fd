//! The routes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use fillstream_domain::TimestampMicros;
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, StrategyRecommendation};
use serde_json::{Value, json};

use crate::analytics::{Analytics, NoAnalytics};
use crate::body::{Asking, adaptation, key_fault, question};
use crate::desk::{Desk, Silence};
use crate::docs;
use crate::orders::status_of;
use crate::problem::{FieldFault, Problem};

/// Largest body.
const MOST_BYTES: usize = 64 * 1024;

/// What the handlers share.
pub(crate) struct Service {
    pub desk: Arc<Desk>,
    pub analytics: Analytics,
    pub timeout: Duration,
}

type Shared = Arc<Service>;
type Answer = Result<Response, Problem>;

/// Method and path of every operation of the API, as the OpenAPI document has them.
pub const ROUTES: [(&str, &str); 4] = [
    ("post", "/api/v1/execution-strategy/recommend"),
    ("get", "/api/v1/execution-strategy/{order_id}/status"),
    ("post", "/api/v1/execution-strategy/{order_id}/adapt"),
    ("get", "/api/v1/execution-strategy/performance"),
];

// In the order of the routes.
fn handlers() -> [MethodRouter<Shared>; 4] {
    [post(recommend), get(status), post(adapt), get(performance)]
}

pub(crate) fn router(service: Service) -> Router {
    let router = ROUTES.iter().zip(handlers()).fold(Router::new(), |r, ((_, path), handler)| r.route(path, handler));
    let nothing = || async { Problem::new(StatusCode::NOT_FOUND, "UNKNOWN_PATH", "there is nothing here: see /docs") };
    let method = || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "WRONG_METHOD", "see /docs") };
    router
        .merge(docs::router())
        .fallback(nothing)
        .method_not_allowed_fallback(method)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(Arc::new(service))
}

fn now() -> TimestampMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_micros());
    TimestampMicros::from_micros(since.ok().and_then(|micros| i64::try_from(micros).ok()).unwrap_or(0))
}

/// The key of a request: its header's, or a new one.
fn key(headers: &HeaderMap, new: impl FnOnce() -> String) -> Result<String, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(new()) };
    let text = value.to_str().unwrap_or_default();
    key_fault(text).map_or_else(|| Ok(text.to_owned()), |fault| Err(Problem::of_fields(vec![fault])))
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|e| Problem::new(e.status(), "INVALID_REQUEST", e.body_text()))
}

fn order_of(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Path(order_id) = path.map_err(|_| Problem::of_fields(vec![FieldFault::new("order_id", "is not UTF-8")]))?;
    let fits = (1..=128).contains(&order_id.len());
    if fits { Ok(order_id) } else { Err(Problem::no_order(&order_id)) }
}

async fn recommend(State(service): State<Shared>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Answer {
    let attempt_id = service.desk.new_id();
    let request_id = key(&headers, || attempt_id.clone())?;
    let asking = Asking { request_id: &request_id, attempt_id: &attempt_id, now: now() };
    let request = question(&read(body)?, &asking).map_err(Problem::of_fields)?;
    let answer = service.desk.ask(request, service.timeout).await;
    let answer = answer.map_err(|silence| silent(silence).about(&request_id))?;
    recommended(&answer)
}

fn recommended(answer: &StrategyRecommendation) -> Answer {
    let Some(strategy) = &answer.strategy else {
        let code = answer.refusal_code.as_deref().unwrap_or_default();
        let status = match code {
            "IDEMPOTENCY_CONFLICT" => StatusCode::CONFLICT,
            "TABLES_UNAVAILABLE" | "NO_QUOTE" | "STALE_QUOTE" | "NO_FX_RATE" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let text = answer.refusal_text.clone().unwrap_or_default();
        return Err(Problem::new(status, code, text).about(&answer.request_id));
    };
    let (json, decided) = (strategy.to_json(), answer.decided_at.to_string());
    let of = |name: &str| json.get(name).cloned().unwrap_or_default();
    let mut recommended = of("recommended_strategy");
    if let Some(recommended) = recommended.as_object_mut() {
        recommended.insert("time_allocation".to_owned(), of("time_allocation"));
        recommended.insert("risk_controls".to_owned(), of("risk_controls"));
    }
    let body = json!({
        "request_id": answer.request_id,
        "order_id": answer.order_id,
        "decided_at": decided,
        "recommended_strategy": recommended,
        "strategy_rationale": of("strategy_rationale"),
        "expected_outcomes": of("expected_outcomes"),
        "alternative_strategies": of("alternatives"),
        "confidence": of("confidence"),
        "rule": of("rule"),
        "substitution_code": of("substitution_code"),
        "objective": of("objective"),
        "market_condition": of("market_condition"),
        "market_figures": of("market_figures"),
        "quote": of("quote"),
        "order_value": of("order_value"),
        "starts_at": of("starts_at"),
        "ends_at": of("ends_at"),
    });
    Ok(axum::Json(body).into_response())
}

fn silent(silence: Silence) -> Problem {
    let again = "ask again with this request_id as Idempotency-Key";
    match silence {
        Silence::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY", format!("too many requests: {again}")),
        Silence::NotWritten(why) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_WRITTEN", format!("{why}: {again}"))
        }
        Silence::Late => Problem::new(StatusCode::GATEWAY_TIMEOUT, "NO_ANSWER", format!("no answer in time: {again}")),
    }
}

fn unavailable(e: &NoAnalytics) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ANALYTICS_UNAVAILABLE", e.to_string())
}

async fn status(State(service): State<Shared>, path: Result<Path<String>, PathRejection>) -> Answer {
    let order_id = order_of(path)?;
    let (seen, mut strategies) = {
        let orders = service.desk.orders();
        (orders.status(&order_id), orders.strategies(&order_id))
    };
    let source = if seen.is_some() { "topics" } else { "clickhouse" };
    let found = match seen {
        Some(seen) => Some(seen),
        None => service.analytics.status(&order_id).await.map_err(|e| unavailable(&e))?,
    };
    let mut found = found.ok_or_else(|| Problem::no_order(&order_id))?;
    if strategies.is_empty() {
        // Selected before this process began, or not yet: what is known without it is still true.
        strategies = service.analytics.strategies(&order_id).await.unwrap_or_default();
    }
    let changed_at = found.remove("timestamp").unwrap_or_default();
    found.insert("changed_at".to_owned(), changed_at);
    found.insert("strategies".to_owned(), Value::Array(strategies));
    found.insert("source".to_owned(), json!(source));
    Ok(axum::Json(found).into_response())
}

async fn adapt(
    State(service): State<Shared>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let order_id = order_of(path)?;
    let command_id = key(&headers, || service.desk.new_id())?;
    let asking = Asking { request_id: &command_id, attempt_id: "", now: now() };
    let mut command = adaptation(&read(body)?, &order_id, &asking).map_err(Problem::of_fields)?;
    let (portfolio, answer) = {
        let orders = service.desk.orders();
        (orders.portfolio(&order_id), orders.answer(&command_id).filter(|event| event.order_id == order_id))
    };
    if let Some(event) = answer {
        return adapted(&event, &command_id);
    }
    command.portfolio_id = match portfolio {
        Some(portfolio) => portfolio,
        None => {
            let found = service.analytics.status(&order_id).await.map_err(|e| unavailable(&e))?;
            let found = found.ok_or_else(|| Problem::no_order(&order_id))?;
            found.get("portfolio_id").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
    };
    match service.desk.command(command, service.timeout).await {
        Ok(event) => adapted(&event, &command_id),
        Err(Silence::Late) => {
            let body = json!({ "command_id": command_id, "order_id": order_id, "outcome": "PENDING" });
            Ok((StatusCode::ACCEPTED, axum::Json(body)).into_response())
        }
        Err(silence) => Err(silent(silence).about(&command_id)),
    }
}

/// What the event that answers a command says.
fn adapted(event: &OrderEvent, command_id: &str) -> Answer {
    if event.event_type == OrderEventType::CommandRefused {
        let code = event.reason_code.clone().unwrap_or_default();
        let problem = Problem::new(StatusCode::CONFLICT, code, event.reason_text.clone().unwrap_or_default());
        return Err(problem.about(command_id));
    }
    let body = json!({
        "command_id": command_id,
        "order_id": event.order_id,
        "outcome": "ADAPTED",
        "event_id": event.event_id,
        "order": status_of(event),
    });
    Ok(axum::Json(body).into_response())
}

async fn performance(State(service): State<Shared>, RawQuery(query): RawQuery) -> Answer {
    let (from, to) = days(query.as_deref().unwrap_or_default()).map_err(Problem::of_fields)?;
    let rows = service.analytics.performance(&from, &to).await.map_err(|e| unavailable(&e))?;
    Ok(axum::Json(json!({ "start_date": from, "end_date": to, "strategies": rows })).into_response())
}

/// The days of a query, both needed and in order; every fault at once.
fn days(query: &str) -> Result<(String, String), Vec<FieldFault>> {
    let (mut from, mut to, mut faults) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "start_date" => &mut from,
            "end_date" => &mut to,
            other => {
                faults.push(FieldFault::new(other.chars().take(128).collect::<String>(), "unknown parameter"));
                continue;
            }
        };
        // A time that a day begins with is the exact test of a day.
        let is_day = value.len() == 10 && format!("{value}T00:00:00Z").parse::<TimestampMicros>().is_ok();
        if place.is_some() || !is_day {
            faults.push(FieldFault::new(name, "must be one day, as YYYY-MM-DD"));
        }
        *place = Some(value.to_owned());
    }
    for (name, value) in [("start_date", &from), ("end_date", &to)] {
        if value.is_none() {
            faults.push(FieldFault::new(name, "is missing"));
        }
    }
    if faults.is_empty() && from > to {
        faults.push(FieldFault::new("end_date", "must not be before start_date"));
    }
    match (from, to) {
        (Some(from), Some(to)) if faults.is_empty() => Ok((from, to)),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_checked_by_name() {
        assert_eq!(days("start_date=2026-02-28&end_date=2026-03-01").unwrap().1, "2026-03-01");
        let fields = |query: &str| days(query).unwrap_err().into_iter().map(|f| f.field).collect::<Vec<_>>();
        assert_eq!(fields(""), ["start_date", "end_date"]);
        assert_eq!(fields("start_date=2026-02-30&end_date=x&z=1"), ["start_date", "end_date", "z"]);
        assert_eq!(fields("start_date=2026-03-02&end_date=2026-03-01"), ["end_date"]);
        assert_eq!(fields("start_date=2026-03-01&start_date=2026-03-01&end_date=2026-03-01"), ["start_date"]);
    }
}
