//! Bodies of requests: the specification's JSON to records of the contracts, with every fault at once.

use fillstream_domain::{AlgorithmRequest, Quantity, Ratio, TimestampMicros, Urgency};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::codec::Fault;
use fillstream_schemas::execution::{Command, CommandAction, StrategyRequest};
use fillstream_schemas::json::parse_exact;
use serde_json::{Map, Value, json};

use crate::problem::FieldFault;

/// Fields that stand under `constraints`.
const CONSTRAINTS: [&str; 5] =
    ["max_participation_rate", "time_limit_minutes", "price_limit", "venue_restrictions", "dark_pool_preference"];
/// Fields that stand beside it.
const REQUEST: [&str; 8] =
    ["order_id", "portfolio_id", "instrument_id", "side", "quantity", "objective", "urgency", "market_context"];
/// Fields of an adaptation, with those of the command.
const ADAPTATION: [(&str, &str); 5] = [
    ("actor", "actor"),
    ("reason", "reason"),
    ("urgency", "new_urgency"),
    ("algorithm", "new_algorithm"),
    ("max_participation_rate", "new_participation_rate"),
];
/// Longest id or name.
const MOST_CHARS: usize = 128;
/// Longest reason.
const MOST_REASON: usize = 1_000;
/// Most faults that are told.
const MOST_FAULTS: usize = 50;

/// Who asks, when, and under which key.
pub(crate) struct Asking<'a> {
    pub request_id: &'a str,
    pub attempt_id: &'a str,
    pub now: TimestampMicros,
}

/// The question that a body asks.
pub(crate) fn question(body: &[u8], asking: &Asking<'_>) -> Result<StrategyRequest, Vec<FieldFault>> {
    let (mut faults, mut flat) = (Vec::new(), Map::new());
    for (name, value) in object(body)? {
        match (name.as_str(), value) {
            ("constraints", Value::Object(inner)) => {
                for (name, value) in inner {
                    let path = format!("constraints.{name}");
                    take(&mut flat, (&name, &path), value, CONSTRAINTS.contains(&name.as_str()), &mut faults);
                }
            }
            ("constraints", Value::Null) => {}
            ("constraints", _) => faults.push(FieldFault::new("constraints", "expected an object")),
            (known, value) => take(&mut flat, (known, known), value, REQUEST.contains(&known), &mut faults),
        }
    }
    flat.insert("request_id".to_owned(), json!(asking.request_id));
    flat.insert("attempt_id".to_owned(), json!(asking.attempt_id));
    flat.insert("timestamp".to_owned(), json!(asking.now.micros()));
    let named = |field: &str| {
        let top = field.split(['.', '[']).next().unwrap_or_default();
        if CONSTRAINTS.contains(&top) { format!("constraints.{field}") } else { field.to_owned() }
    };
    let request: StrategyRequest = record(flat, named, &mut faults);
    let is_read = |field: &str, faults: &[FieldFault]| !faults.iter().any(|f| f.field == field);
    for (field, text) in [("order_id", &request.order_id), ("instrument_id", &request.instrument_id)] {
        if is_read(field, &faults) {
            faults.extend(name_fault(field, text, MOST_CHARS));
        }
    }
    if is_read("quantity", &faults) && request.quantity <= Quantity::ZERO {
        faults.push(FieldFault::new("quantity", "must be above 0"));
    }
    faults.extend(request.max_participation_rate.and_then(|r| rate_fault("constraints.max_participation_rate", r)));
    if request.time_limit_minutes.is_some_and(|minutes| minutes <= 0) {
        faults.push(FieldFault::new("constraints.time_limit_minutes", "must be above 0"));
    }
    if let Some(context) = &request.market_context {
        let scores = [("liquidity_score", context.liquidity_score), ("news_impact_score", context.news_impact_score)];
        let bad = |score: Ratio| score.is_negative() || score > Ratio::ONE;
        faults.extend(
            scores
                .iter()
                .filter(|(_, score)| score.is_some_and(bad))
                .map(|(name, _)| FieldFault::new(format!("market_context.{name}"), "must be from 0 to 1")),
        );
    }
    if faults.is_empty() { Ok(request) } else { Err(faults) }
}

/// The command that a body asks for.
pub(crate) fn adaptation(body: &[u8], order_id: &str, asking: &Asking<'_>) -> Result<Command, Vec<FieldFault>> {
    let (mut faults, mut flat) = (Vec::new(), Map::new());
    for (name, value) in object(body)? {
        let known = ADAPTATION.iter().find(|(ours, _)| *ours == name);
        let field = known.map_or("", |(_, field)| *field);
        take(&mut flat, (field, &name), value, known.is_some(), &mut faults);
    }
    let fixed = [
        ("command_id", json!(asking.request_id)),
        ("timestamp", json!(asking.now.micros())),
        ("portfolio_id", json!("")),
        ("order_id", json!(order_id)),
        ("action", json!(CommandAction::Adapt.as_str())),
    ];
    flat.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    let named = |field: &str| {
        let ours = ADAPTATION.iter().find(|(_, theirs)| *theirs == field);
        ours.map_or(field, |(ours, _)| *ours).to_owned()
    };
    let command: Command = record(flat, named, &mut faults);
    let is_read = |field: &str, faults: &[FieldFault]| !faults.iter().any(|f| f.field == field);
    for (field, text, most) in [("actor", &command.actor, MOST_CHARS), ("reason", &command.reason, MOST_REASON)] {
        if is_read(field, &faults) {
            faults.extend(name_fault(field, text, most));
        }
    }
    if let Some(Err(e)) = command.new_urgency.as_deref().map(Urgency::parse_alias) {
        faults.push(FieldFault::new("urgency", e.to_string()));
    }
    if let Some(Err(e)) = command.new_algorithm.as_deref().map(AlgorithmRequest::parse) {
        faults.push(FieldFault::new("algorithm", e.to_string()));
    }
    faults.extend(command.new_participation_rate.and_then(|r| rate_fault("max_participation_rate", r)));
    let nothing =
        command.new_urgency.is_none() && command.new_algorithm.is_none() && command.new_participation_rate.is_none();
    if nothing && faults.is_empty() {
        let text = "one of urgency, algorithm and max_participation_rate is needed";
        faults.extend(["urgency", "algorithm", "max_participation_rate"].map(|f| FieldFault::new(f, text)));
    }
    if faults.is_empty() { Ok(command) } else { Err(faults) }
}

/// A key of a request: what a header says, if it may be one.
pub(crate) fn key_fault(key: &str) -> Option<FieldFault> {
    let fits = (1..=MOST_CHARS).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    (!fits).then(|| FieldFault::new("Idempotency-Key", "must be 1 to 128 visible ASCII characters"))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Vec<FieldFault>> {
    let fault = |text: String| vec![FieldFault::new("body", text)];
    let text = std::str::from_utf8(body).map_err(|e| fault(e.to_string()))?;
    match parse_exact(text).map_err(|e| fault(e.to_string()))? {
        Value::Object(fields) => Ok(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(fault("expected an object".to_owned()))
        }
    }
}

fn take(
    flat: &mut Map<String, Value>,
    (field, shown): (&str, &str),
    value: Value,
    is_known: bool,
    faults: &mut Vec<FieldFault>,
) {
    if is_known {
        flat.insert(field.to_owned(), value);
    } else if faults.len() < MOST_FAULTS {
        faults.push(FieldFault::new(shown.chars().take(MOST_CHARS).collect::<String>(), "unknown field"));
    }
}

/// Reads a record. Each fault is put down and mended, so that the next is found; what was mended has its default.
fn record<R: AvroRecord + Default>(
    fields: Map<String, Value>,
    named: impl Fn(&str) -> String,
    faults: &mut Vec<FieldFault>,
) -> R {
    let (mut json, usual) = (Value::Object(fields), R::default().to_json());
    while faults.len() < MOST_FAULTS {
        let error = match R::from_json(&json) {
            Ok(record) => return record,
            Err(error) => error,
        };
        let path = error.path();
        let is_missing = *error.fault() == Fault::Missing;
        let problem = if is_missing { "is missing".to_owned() } else { error.fault().to_string() };
        faults.push(FieldFault::new(named(&path), problem));
        if !mend(&mut json, &path, &usual) {
            break;
        }
    }
    R::default()
}

/// Puts the usual value in the place of a wrong one. Of a record in a record the field goes: all of them have defaults.
fn mend(json: &mut Value, path: &str, usual: &Value) -> bool {
    let Some(fields) = json.as_object_mut() else { return false };
    if let Some((outer, inner)) = path.split_once('.') {
        return fields.get_mut(outer).and_then(Value::as_object_mut).is_some_and(|f| f.remove(inner).is_some());
    }
    let top = path.split('[').next().unwrap_or_default();
    match usual.get(top) {
        Some(value) => fields.insert(top.to_owned(), value.clone()).as_ref() != Some(value),
        None => fields.remove(top).is_some(),
    }
}

fn name_fault(field: &str, text: &str, most: usize) -> Option<FieldFault> {
    let fits = !text.trim().is_empty() && text.chars().count() <= most;
    (!fits).then(|| FieldFault::new(field, format!("must be 1 to {most} characters")))
}

fn rate_fault(field: &str, rate: Ratio) -> Option<FieldFault> {
    let fits = rate.is_positive() && rate <= Ratio::ONE;
    (!fits).then(|| FieldFault::new(field, "must be above 0 and at most 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::{ExecutionObjective, Side};

    const ASKING: Asking<'static> =
        Asking { request_id: "r1", attempt_id: "a1", now: TimestampMicros::from_micros(7_000_000) };

    fn fields(faults: &[FieldFault]) -> Vec<&str> {
        faults.iter().map(|f| f.field.as_str()).collect()
    }

    #[test]
    fn the_specifications_request_is_read_exactly() {
        let body = br#"{"order_id": "o1", "instrument_id": "X", "side": "BUY", "quantity": 1000.10000001,
            "objective": "MINIMIZE_COST", "urgency": "HIGH",
            "constraints": {"max_participation_rate": 0.15, "time_limit_minutes": 45, "price_limit": "100.5",
                "venue_restrictions": ["V"], "dark_pool_preference": true},
            "market_context": {"current_conditions": "HIGH_VOLATILITY", "volatility_regime": "high", "liquidity_score": 0.7,
                "news_impact_score": 0.1, "time_of_day": "morning"}}"#;
        let request = question(body, &ASKING).unwrap();
        assert_eq!((request.request_id.as_str(), request.attempt_id.as_str()), ("r1", "a1"));
        assert_eq!((request.side, request.quantity), (Side::Buy, "1000.10000001".parse().unwrap()));
        assert_eq!(request.objective, Some(ExecutionObjective::MinimizeCost));
        assert_eq!(request.max_participation_rate, "0.15".parse().ok());
        assert_eq!((request.time_limit_minutes, request.dark_pool_preference), (Some(45), true));
        let context = request.market_context.unwrap();
        assert_eq!(context.news_impact_score, "0.1".parse().ok());
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let body = br#"{"instrument_id": "", "side": "UP", "quantity": -5, "urgency": "SOON", "speed": 1,
            "constraints": {"max_participation_rate": 1.5, "time_limit_minutes": 0, "venues": []},
            "market_context": {"liquidity_score": 2, "mood": "bad", "current_conditions": "ODD"}}"#;
        let faults = question(body, &ASKING).unwrap_err();
        let mut named = fields(&faults);
        named.sort_unstable();
        let expected = [
            "constraints.max_participation_rate",
            "constraints.time_limit_minutes",
            "constraints.venues",
            "instrument_id",
            "market_context.current_conditions",
            "market_context.liquidity_score",
            "market_context.mood",
            "order_id",
            "quantity",
            "side",
            "speed",
            "urgency",
        ];
        assert_eq!(named, expected, "{faults:?}");
        assert!(faults.iter().any(|f| f.field == "order_id" && f.problem == "is missing"));
    }

    #[test]
    fn what_is_no_object_is_a_fault_of_the_body() {
        for body in [&b"[1]"[..], b"{", b"\xff", b"", b"null"] {
            assert_eq!(fields(&question(body, &ASKING).unwrap_err()), ["body"]);
        }
        let wrong = br#"{"order_id": "o", "instrument_id": "X", "side": "BUY", "quantity": 1, "urgency": "LOW", "constraints": 1}"#;
        assert_eq!(fields(&question(wrong, &ASKING).unwrap_err()), ["constraints"]);
        // What the service sets itself is not taken from outside.
        let own = br#"{"order_id": "o", "instrument_id": "X", "side": "BUY", "quantity": 1, "urgency": "LOW", "request_id": "x"}"#;
        assert_eq!(fields(&question(own, &ASKING).unwrap_err()), ["request_id"]);
    }

    #[test]
    fn an_adaptation_is_a_command_of_somebody_for_a_reason() {
        let body = br#"{"actor": "ann", "reason": "news", "urgency": "HIGH", "max_participation_rate": 0.2}"#;
        let command = adaptation(body, "o1", &ASKING).unwrap();
        assert_eq!((command.command_id.as_str(), command.order_id.as_str()), ("r1", "o1"));
        assert_eq!((command.action, command.new_urgency.as_deref()), (CommandAction::Adapt, Some("HIGH")));
        assert_eq!(command.new_participation_rate, "0.2".parse().ok());
        let faults =
            adaptation(br#"{"reason": " ", "algorithm": "FAST", "urgency": "SOON", "rate": 1}"#, "o1", &ASKING);
        let faults = faults.unwrap_err();
        let mut named = fields(&faults);
        named.sort_unstable();
        assert_eq!(named, ["actor", "algorithm", "rate", "reason", "urgency"]);
        let nothing = adaptation(br#"{"actor": "ann", "reason": "why"}"#, "o1", &ASKING).unwrap_err();
        assert_eq!(fields(&nothing), ["urgency", "algorithm", "max_participation_rate"]);
    }

    #[test]
    fn a_key_is_short_and_visible() {
        assert_eq!(key_fault("a-1"), None);
        for key in ["", "a b", "\u{e4}", &"x".repeat(129)] {
            assert_eq!(key_fault(key).unwrap().field, "Idempotency-Key");
        }
    }
}
