//! The whole life of an order in plain words, from the records about it. Pure.

use serde_json::Value;

/// The records about one order, each as JSON by its writer's schema, in the order of their topic.
#[derive(Debug, Default)]
pub struct Life {
    /// Order events.
    pub events: Vec<Value>,
    /// Answers of parent risk.
    pub verdicts: Vec<Value>,
    /// Selections of an algorithm.
    pub strategies: Vec<Value>,
    /// Routing plans.
    pub plans: Vec<Value>,
    /// Risk alerts.
    pub alerts: Vec<Value>,
    /// Statements of the trade.
    pub trades: Vec<Value>,
    /// Cost analyses.
    pub quality: Vec<Value>,
    /// Entries of the audit chain.
    pub audit: Vec<Value>,
}

/// What happened at a time.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// When, ISO 8601.
    pub at: String,
    /// What, in words.
    pub text: String,
}

/// A field as text; empty where it is null or missing.
pub fn text_of<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A field of any kind as text; empty where it is null or missing.
fn show(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// `before` + the field + `after`, or nothing where the field is null or missing.
fn part(value: &Value, pointer: &str, before: &str, after: &str) -> String {
    let text = show(value, pointer);
    if text.is_empty() { text } else { format!("{before}{text}{after}") }
}

/// Microseconds as a length of time that is easy to read.
fn span(value: &Value, pointer: &str) -> String {
    let us = value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let (hours, minutes, millis) = (us / 3_600_000_000, us / 60_000_000 % 60, us / 1_000 % 60_000);
    match (hours, minutes) {
        (0, 0) => format!("{}.{:03} s", millis / 1_000, millis % 1_000),
        (0, _) => format!("{minutes} min {} s", millis / 1_000),
        _ => format!("{hours} h {minutes} min"),
    }
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Code and words of an event's reason.
fn because(event: &Value) -> String {
    match (text_of(event, "reason_code"), text_of(event, "reason_text")) {
        ("", _) => String::new(),
        (code, "") => format!(": {code}"),
        (code, text) => format!(": {code}, {text}"),
    }
}

fn terms(event: &Value) -> String {
    format!(
        "{}{}{}, {}, {}, over {}, ends {}",
        show(event, "/terms/ord_type"),
        part(event, "/terms/stop_price", " set off at ", ""),
        part(event, "/terms/limit_price", " at ", " or better"),
        show(event, "/terms/time_in_force"),
        show(event, "/terms/algorithm"),
        span(event, "/terms/horizon_us"),
        show(event, "/terms/expire_at"),
    )
}

fn figures(event: &Value) -> String {
    format!(
        "filled {} of {}{}, open {}{}",
        show(event, "/cum_qty"),
        show(event, "/ord_qty"),
        part(event, "/avg_px", " at ", ""),
        show(event, "/leaves_qty"),
        match text_of(event, "cancelled_qty") {
            "" | "0" => String::new(),
            quantity => format!(", cancelled {quantity}"),
        },
    )
}

fn child(event: &Value) -> String {
    let (id, status) = (show(event, "/child/cl_ord_id"), show(event, "/child/ord_status"));
    let filled = format!("{} of {}", show(event, "/child/cum_qty"), show(event, "/child/ord_qty"));
    let deal = format!("{}{}", part(event, "/child/last_qty", " ", ""), part(event, "/child/last_px", " at ", ""));
    let fee = part(event, "/child/fee", ", fee ", &part(event, "/child/fee_currency", " ", ""));
    let says = match show(event, "/child/exec_type").as_str() {
        "TRADE" => format!("child {id} filled{deal}{fee}: {filled} filled, {status}"),
        "TRADE_CANCEL" => format!("child {id}: fill busted{deal}: {filled} filled, {status}"),
        "TRADE_CORRECT" => format!("child {id}: fill corrected to{deal}{fee}: {filled} filled, {status}"),
        _ if id.is_empty() => "a report changed nothing".to_owned(),
        _ => format!("child {id} is {status}{}", part(event, "/child/reject_code", ": ", "")),
    };
    format!("{says}{}; order {}", because(event), figures(event))
}

/// What an event says, in words.
pub fn what(event: &Value) -> String {
    let why = because(event);
    match text_of(event, "event_type") {
        "CREATED" => format!(
            "created: {} {} {}, {}; decided at {} ({}), quote {} / {}{why}",
            show(event, "/side"),
            show(event, "/ord_qty"),
            show(event, "/instrument_id"),
            terms(event),
            show(event, "/terms/decision_price"),
            show(event, "/terms/decision_price_source"),
            show(event, "/terms/quote/bid"),
            show(event, "/terms/quote/ask"),
        ),
        "RELEASED" => format!(
            "released{}{}",
            part(event, "/account_id", " for account ", ""),
            part(event, "/arrival/mid", ", arrival mid ", "")
        ),
        "ROUTED" => format!(
            "child {} of {}{} goes to {} by {} (slice {}, leg {})",
            show(event, "/child/cl_ord_id"),
            show(event, "/child/ord_qty"),
            part(event, "/child/limit_price", " at ", " or better"),
            show(event, "/child/venue"),
            show(event, "/child/broker"),
            show(event, "/child/slice_no"),
            show(event, "/child/leg"),
        ),
        "CHILD_UPDATED" => child(event),
        "REJECTED" => format!("rejected{why}"),
        "CANCEL_REQUESTED" => format!("is being ended{why}"),
        "COMMAND_REFUSED" => format!("command{} refused{why}", part(event, "/command_id", " ", "")),
        "SUSPENDED" => format!("suspended{why}"),
        "RESUMED" => format!("resumed{why}"),
        "REPLACE_REQUESTED" => format!("replace asked for: {}, {}{why}", show(event, "/new_ord_qty"), terms(event)),
        "REPLACED" => format!("replaced: {}, {}; {}", show(event, "/new_ord_qty"), terms(event), figures(event)),
        "FILLED" => format!("ended FILLED: {}{}", figures(event), fees(event)),
        "CANCELLED" => format!("ended CANCELLED: {}{}{why}", figures(event), fees(event)),
        "EXPIRED" => format!("ended EXPIRED: {}{}{why}", figures(event), fees(event)),
        "AMENDED" => format!("amended after its end: {}{}{why}", figures(event), fees(event)),
        "OVERFILL" => format!("OVERFILLED by {}{why}", show(event, "/overfill_qty")),
        other => format!("{other}{why}"),
    }
}

fn fees(event: &Value) -> String {
    part(event, "/fees", ", fees ", &part(event, "/fee_currency", " ", ""))
}

fn verdict(verdict: &Value) -> String {
    let checks = list(verdict, "validation_results");
    let failed: Vec<String> = checks
        .iter()
        .filter(|check| check.get("passed") == Some(&Value::Bool(false)))
        .map(|check| {
            let (figure, limit) = (show(check, "/figure"), show(check, "/limit"));
            format!(
                "{} {figure} against {limit} {} ({})",
                show(check, "/code"),
                text_of(check, "unit"),
                text_of(check, "scope")
            )
        })
        .collect();
    let approved = verdict.get("is_approved") == Some(&Value::Bool(true));
    let about = if show(verdict, "/revision").trim_start_matches('0').is_empty() { "" } else { " the replace" };
    let score = part(verdict, "/risk_score", ", score ", "");
    let value = part(verdict, "/order_value", ", worth ", "");
    if approved {
        format!("risk passed{about}: {} checks{score}{value}", checks.len())
    } else {
        format!("risk refused{about}: {}{score}{value}", failed.join("; "))
    }
}

fn strategy(selected: &Value) -> String {
    let (wanted, used) = (text_of(selected, "requested"), text_of(selected, "used"));
    format!(
        "strategy {used} (asked for {wanted}, selection says {}{}): {}",
        text_of(selected, "selected"),
        part(selected, "/substitution_code", ", ", ""),
        text_of(selected, "strategy_rationale"),
    )
}

fn plan(plan: &Value) -> String {
    let legs: Vec<String> = list(plan, "venue_allocations")
        .iter()
        .map(|leg| format!("{} at {} by {}", show(leg, "/quantity"), text_of(leg, "venue"), text_of(leg, "broker")))
        .collect();
    let legs = if legs.is_empty() { "nothing".to_owned() } else { legs.join(", ") };
    let unrouted = match text_of(plan, "unrouted_qty") {
        "" | "0" => String::new(),
        quantity => format!("; {quantity} not routed{}", part(plan, "/unrouted_code", ": ", "")),
    };
    let last = if plan.get("is_last") == Some(&Value::Bool(true)) { " (the last)" } else { "" };
    format!("slice {}{last} of {} routed: {legs}{unrouted}", show(plan, "/slice_no"), show(plan, "/quantity"))
}

fn alert(alert: &Value) -> String {
    format!("alert {} {}: {}", text_of(alert, "severity"), text_of(alert, "code"), text_of(alert, "text"))
}

fn trade(trade: &Value) -> String {
    format!(
        "trade stated (revision {}): {} at {}, {} {}, mostly at {} by {}",
        show(trade, "/revision"),
        show(trade, "/execution/executed_quantity"),
        show(trade, "/execution/average_fill_price"),
        show(trade, "/execution/total_amount"),
        show(trade, "/execution/currency"),
        show(trade, "/execution/execution_venue"),
        show(trade, "/execution/broker"),
    )
}

fn costs(quality: &Value) -> String {
    format!(
        "cost analysis ({}, revision {}): implementation shortfall {} bps, total {} {}",
        text_of(quality, "stage"),
        show(quality, "/revision"),
        show(quality, "/implementation_shortfall_bps"),
        show(quality, "/costs/total_cost"),
        text_of(quality, "currency"),
    )
}

impl Life {
    /// The order.
    pub fn order_id(&self) -> &str {
        self.events.first().map_or("", |event| text_of(event, "order_id"))
    }

    /// Every line of its life, in the order of time; at one time what decides before what follows from it.
    pub fn story(&self) -> Vec<Line> {
        let mut lines: Vec<(u8, Line)> = Vec::new();
        let mut tell = |rank: u8, records: &[Value], words: &dyn Fn(&Value) -> String| {
            let line = |value: &Value| Line { at: text_of(value, "timestamp").to_owned(), text: words(value) };
            lines.extend(records.iter().map(|value| (rank, line(value))));
        };
        tell(0, &self.verdicts, &verdict);
        tell(1, &self.events, &|event| self.event(event));
        tell(2, &self.strategies, &strategy);
        tell(3, &self.plans, &plan);
        tell(4, &self.alerts, &alert);
        tell(5, &self.trades, &trade);
        tell(6, &self.quality, &costs);
        // Times always have six digits: texts sort like times. The creation comes before its verdict.
        let created = lines.iter().position(|(rank, _)| *rank == 1);
        if let Some((rank, _)) = created.and_then(|at| lines.get_mut(at)) {
            *rank = 0;
        }
        if let Some(at) = created {
            lines.get_mut(..=at).into_iter().for_each(|head| head.rotate_right(1));
        }
        lines.sort_by(|(a, x), (b, y)| (&x.at, a).cmp(&(&y.at, b)));
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// An event with its number, and who made it so.
    fn event(&self, event: &Value) -> String {
        let id = text_of(event, "event_id");
        let entry = self.audit.iter().find(|entry| text_of(entry, "order_event_id") == id);
        let by = entry.map_or_else(String::new, |entry| {
            format!(" [{}, audit entry {}]", text_of(entry, "actor"), show(entry, "/sequence"))
        });
        format!("#{} {}{by}", show(event, "/revision"), what(event))
    }

    /// The life for people: who it is, how it stands, then line by line.
    pub fn told(&self) -> Vec<String> {
        let (Some(first), Some(last)) = (self.events.first(), self.events.last()) else { return Vec::new() };
        let suspended = last.get("is_suspended") == Some(&Value::Bool(true));
        let mut lines = vec![
            format!(
                "Order {} of decision {}, portfolio {}",
                self.order_id(),
                text_of(first, "decision_event_id"),
                text_of(first, "portfolio_id")
            ),
            format!(
                "{} {} {}: {}{}, {}{}",
                show(last, "/side"),
                show(last, "/ord_qty"),
                show(last, "/instrument_id"),
                show(last, "/status"),
                if suspended { " (suspended)" } else { "" },
                figures(last),
                fees(last),
            ),
        ];
        lines.extend(self.story().into_iter().map(|line| format!("{}  {}", line.at, line.text)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use fillstream_schemas::AvroRecord as _;
    use fillstream_schemas::execution::OrderEvent;
    use serde_json::json;

    use super::*;

    fn event(revision: i32, at: &str, event_type: &str, more: Value) -> Value {
        let mut event = json!({
            "event_id": format!("e{revision}"), "timestamp": at, "order_id": "O1", "portfolio_id": "P1",
            "instrument_id": "ACME", "decision_event_id": "D1", "revision": revision, "event_type": event_type,
            "status": "WORKING", "side": "BUY", "ord_qty": "100", "cum_qty": "0", "leaves_qty": "100",
            "cancelled_qty": "0", "overfill_qty": "0", "avg_px": null, "fees": "0", "fee_currency": null,
            "reason_code": null, "reason_text": null, "child": null, "terms": null,
        });
        let fields = event.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        event
    }

    const T: &str = "2026-11-18T12:00:00.000000Z";

    fn life() -> Life {
        let terms = json!({
            "ord_type": "LIMIT", "limit_price": "101", "time_in_force": "DAY", "algorithm": "TWAP",
            "horizon_us": 1_800_000_000_i64, "expire_at": "2026-11-18T16:00:00.000000Z", "decision_price": "99",
            "decision_price_source": "MID_AT_DECISION", "quote": { "bid": "99", "ask": "101" },
        });
        let child = json!({
            "cl_ord_id": "C1", "ord_qty": "100", "cum_qty": "40", "venue": "XA", "broker": "b1", "slice_no": 1, "leg": 1,
            "ord_status": "PARTIALLY_FILLED", "exec_type": "TRADE", "last_qty": "40", "last_px": "100.5", "fee": "0.5",
            "fee_currency": "USD", "limit_price": null,
        });
        let cancelled = json!({
            "status": "CANCELLED", "cum_qty": "40", "leaves_qty": "0", "cancelled_qty": "60", "avg_px": "100.5",
            "fees": "0.5", "fee_currency": "USD", "reason_code": "CANCEL_COMMAND", "reason_text": "CANCEL by bob: no",
        });
        Life {
            events: vec![
                event(1, T, "CREATED", json!({ "terms": terms })),
                event(2, T, "RELEASED", json!({ "account_id": "A1", "arrival": { "mid": "100" } })),
                event(3, "2026-11-18T12:00:01.000000Z", "CHILD_UPDATED", json!({ "child": child, "cum_qty": "40" })),
                event(4, "2026-11-18T12:00:09.000000Z", "CANCELLED", cancelled),
            ],
            verdicts: vec![json!({ "timestamp": T, "is_approved": true, "validation_results": [{}, {}],
                "risk_score": "12", "order_value": "10000", "revision": 0 })],
            audit: vec![json!({ "order_event_id": "e4", "actor": "bob", "sequence": 7 })],
            ..Life::default()
        }
    }

    #[test]
    fn a_stop_is_told_with_the_order_type() {
        let told = |terms: Value| what(&event(1, T, "CREATED", json!({ "terms": terms })));
        let stop = told(json!({ "ord_type": "STOP_LIMIT", "stop_price": "102", "limit_price": "104" }));
        assert!(stop.contains("STOP_LIMIT set off at 102 at 104 or better"), "{stop}");
        assert!(!told(json!({ "ord_type": "MARKET", "stop_price": null })).contains("set off"));
    }

    #[test]
    fn a_life_is_told_in_plain_words_with_times_and_figures() {
        let told = life().told();
        let expected = [
            "Order O1 of decision D1, portfolio P1",
            "BUY 100 ACME: CANCELLED, filled 40 of 100 at 100.5, open 0, cancelled 60, fees 0.5 USD",
            "2026-11-18T12:00:00.000000Z  #1 created: BUY 100 ACME, LIMIT at 101 or better, DAY, TWAP, over 30 min 0 s, \
             ends 2026-11-18T16:00:00.000000Z; decided at 99 (MID_AT_DECISION), quote 99 / 101",
            "2026-11-18T12:00:00.000000Z  risk passed: 2 checks, score 12, worth 10000",
            "2026-11-18T12:00:00.000000Z  #2 released for account A1, arrival mid 100",
            "2026-11-18T12:00:01.000000Z  #3 child C1 filled 40 at 100.5, fee 0.5 USD: 40 of 100 filled, \
             PARTIALLY_FILLED; order filled 40 of 100, open 100",
            "2026-11-18T12:00:09.000000Z  #4 ended CANCELLED: filled 40 of 100 at 100.5, open 0, cancelled 60, \
             fees 0.5 USD: CANCEL_COMMAND, CANCEL by bob: no [bob, audit entry 7]",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_refusal_names_every_failed_check_with_its_figures() {
        let refused = json!({
            "is_approved": false, "revision": 5, "risk_score": "100", "order_value": null,
            "validation_results": [
                { "passed": true, "code": null },
                { "passed": false, "code": "MAX_ORDER_VALUE", "figure": "7", "limit": "5", "unit": "USD", "scope": "portfolio/P1" },
            ],
        });
        let expected = "risk refused the replace: MAX_ORDER_VALUE 7 against 5 USD (portfolio/P1), score 100";
        assert_eq!(verdict(&refused), expected);
    }

    #[test]
    fn every_kind_of_event_has_words_of_its_own() {
        let schema: Value = serde_json::from_str(OrderEvent::SCHEMA).unwrap();
        let fields = schema["fields"].as_array().unwrap();
        let event_type = fields.iter().find(|field| field["name"] == "event_type").unwrap();
        let symbols: Vec<_> =
            event_type["type"]["symbols"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(symbols.len() > 15);
        for symbol in symbols {
            let words = what(&event(1, T, symbol, json!({})));
            assert_eq!(words == symbol, symbol == "OTHER", "{symbol}: {words}");
        }
    }
}
