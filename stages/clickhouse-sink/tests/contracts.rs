//! Tables of the real contracts: every contract lands, exactly; tables grow; views count right.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{World, unique};
use fillstream_clickhouse_sink::{Selection, SinkError, TopicContract, table_name, topics_of};
use fillstream_kafka::topics::Catalog;
use fillstream_schemas::execution::{
    AccountAllocation, AuditEntry, ControlAck, ExecutionQuality, ExecutionReport, ExecutionStrategySelected,
    OrderEvent, RiskAlert, RiskOverride, RoutingPlan, ValidatedOrder,
};
use fillstream_schemas::{AvroRecord, contract, coordination, engine, execution, market, reference};
use serde_json::{Value as Json, json};

/// The default record with some fields set.
fn make<T: AvroRecord + Default>(with: Json) -> T {
    let mut record = T::default().to_json();
    merge(&mut record, with);
    T::from_json(&record).unwrap()
}

fn merge(into: &mut Json, with: Json) {
    match (into, with) {
        (Json::Object(into), Json::Object(with)) => {
            for (key, value) in with {
                merge(into.entry(key).or_insert(Json::Null), value);
            }
        }
        (into, with) => *into = with,
    }
}

fn some<T: AvroRecord + Default>(with: Json) -> Json {
    make::<T>(with).to_json()
}

fn catalog() -> Vec<TopicContract> {
    let catalog = Catalog::parse(include_str!("../../../topics.yaml"), |s| contract(s).is_some()).unwrap();
    topics_of(&catalog, &["order-management"], Selection::Everything)
}

#[test]
fn every_contract_of_the_catalog_lands() {
    let contracts: std::collections::BTreeSet<String> = catalog().into_iter().map(|t| t.contract).collect();
    let topics: Vec<(String, String)> = contracts.iter().map(|c| (unique("all"), c.clone())).collect();
    let refs: Vec<(&str, &str, i32)> = topics.iter().map(|(t, c)| (t.as_str(), c.as_str(), 1)).collect();
    let mut world = World::new(&refs);
    world.config.parallel_inserts = 8;
    let mut written = 0;
    macro_rules! write {
        ($($ty:ty),* $(,)?) => {$(
            if let Some((topic, _)) = topics.iter().find(|(_, c)| c == <$ty>::FULL_NAME) {
                let value = world.framed(topic, &<$ty>::default());
                world.write(topic, 0, &[Some(value.clone()), Some(value)], true);
                written += 1;
            }
        )*};
    }
    write!(
        coordination::CoordinatedTradingDecision,
        engine::DeadLetter,
        AccountAllocation,
        AuditEntry,
        execution::ChildOrder,
        execution::Command,
        execution::Control,
        ControlAck,
        ExecutionQuality,
        ExecutionReport,
        ExecutionStrategySelected,
        execution::Intent,
        OrderEvent,
        RiskAlert,
        RiskOverride,
        RoutingPlan,
        execution::Slice,
        execution::StrategyRecommendation,
        execution::StrategyRequest,
        execution::TradeExecuted,
        ValidatedOrder,
        market::NormalizedMarketData,
        reference::Account,
        reference::Broker,
        reference::Calendar,
        reference::Instrument,
        reference::RiskLimit,
        reference::Venue,
    );
    assert_eq!(written, topics.len(), "{contracts:?}");
    world.drain();
    for (topic, contract) in &topics {
        assert_eq!(world.assert_exactly_once(topic), 2, "{contract}");
        assert_eq!(world.query(&format!("SELECT count() FROM {{db}}.{}", table_name(topic))), ["2"], "{contract}");
    }
}

#[test]
fn figures_and_times_stay_exact() {
    let (orders, plans) = (unique("orders"), unique("plans"));
    let world = World::new(&[(&orders, OrderEvent::FULL_NAME, 1), (&plans, RoutingPlan::FULL_NAME, 1)]);
    let quote = json!({"venue": "XNAS", "bid": "9999999999.99999999", "ask": "0.00000001", "bid_size": "12345678901234567890.12345678"});
    let event: OrderEvent = make(json!({
        "timestamp": "2026-11-21T07:08:09.123457Z",
        "account_id": "Zürich 'A' \\ \u{1F600}",
        "ord_qty": "99999999999999999999.99999999",
        "leaves_qty": "0.00000001",
        "fees": "-12345678901234567890.00000001",
        "avg_px": "1234567890123456.123456789012",
        "filled_notional": "9999999999999999.999999999999",
        "child": some::<execution::ChildUpdate>(json!({
            "last_px": "101.00000001", "fee": "-0.00000001", "transact_at": "1970-01-01T00:00:00.000001Z", "ord_status": "FILLED", "exec_type": "TRADE",
        })),
        "terms": some::<execution::OrderTerms>(json!({"venue_restrictions": ["XNYS", "it's"], "quote": quote, "side": null}).as_object().map(|o| {
            let mut o = o.clone(); o.remove("side"); Json::Object(o)
        }).unwrap()),
    }));
    let plain: OrderEvent = make(json!({"timestamp": "2026-11-21T07:08:10Z"}));
    let leg = |n: i32, pct: &str| {
        some::<execution::RouteLeg>(json!({"leg": n, "venue": format!("V{n}"), "quantity": "1.5", "percentage": pct}))
    };
    let candidate =
        some::<execution::RouteCandidate>(json!({"broker": "b", "cost": "-0.000001", "available_qty": "3.25"}));
    let plan: RoutingPlan = make(json!({
        "venue_allocations": [leg(1, "0.333333333"), leg(2, "0.666666667")],
        "candidates": [candidate, some::<execution::RouteCandidate>(json!({}))],
    }));
    world.write(&orders, 0, &[Some(world.framed(&orders, &event)), Some(world.framed(&orders, &plain))], true);
    world.write(&plans, 0, &[Some(world.framed(&plans, &plan))], true);
    world.drain();
    let table = table_name(&orders);
    let row = world.query(&format!(
        "SELECT timestamp, account_id, ord_qty, leaves_qty, fees, avg_px, filled_notional, child_last_px, child_fee, child_transact_at, \
         child_ord_status, child_exec_type, terms_venue_restrictions, terms_quote_bid, terms_quote_ask, terms_quote_bid_size, arrival_mid \
         FROM {{db}}.{table} ORDER BY _offset FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_decimals = 1"
    ));
    let expected = [
        json!([
            "2026-11-21 07:08:09.123457",
            "Zürich 'A' \\ \u{1F600}",
            "99999999999999999999.99999999",
            "0.00000001",
            "-12345678901234567890.00000001",
            "1234567890123456.123456789012",
            "9999999999999999.999999999999",
            "101.00000001",
            "-0.00000001",
            "1970-01-01 00:00:00.000001",
            "FILLED",
            "TRADE",
            ["XNYS", "it's"],
            "9999999999.99999999",
            "0.00000001",
            "12345678901234567890.12345678",
            null
        ]),
        json!([
            "2026-11-21 07:08:10.000000",
            null,
            "0",
            "0",
            "0",
            null,
            "0",
            null,
            null,
            null,
            null,
            null,
            [],
            null,
            null,
            null,
            null
        ]),
    ];
    let found: Vec<Json> = row.iter().map(|r| serde_json::from_str(r).unwrap()).collect();
    assert_eq!(found, expected);
    let legs = world.query(&format!(
        "SELECT l.leg, l.venue, l.quantity, l.percentage FROM {{db}}.{} ARRAY JOIN venue_allocations AS l FORMAT TSV",
        table_name(&plans)
    ));
    assert_eq!(legs, ["1\tV1\t1.5\t0.333333333", "2\tV2\t1.5\t0.666666667"]);
    let candidates = world.query(&format!(
        "SELECT candidates.cost, candidates.available_qty, candidates.eligible FROM {{db}}.{} FORMAT TSV",
        table_name(&plans)
    ));
    assert_eq!(candidates, ["[-0.000001,0]\t[3.25,NULL]\t[false,false]"]);
}

#[test]
fn a_grown_contract_grows_its_table_and_nothing_else_changes() {
    let topic = unique("grown");
    let world = World::new(&[(&topic, ExecutionQuality::FULL_NAME, 1)]);
    let quality: ExecutionQuality =
        make(json!({"shares": [some::<execution::ExecutionShare>(json!({"venue": "A", "fills": 3}))]}));
    let value = world.framed(&topic, &quality);
    world.write(&topic, 0, &[Some(value.clone())], true);
    let first = world.sink().migrate().unwrap();
    assert_eq!(first.tables.len(), 2);
    assert_eq!(world.sink().migrate().unwrap(), fillstream_clickhouse_sink::Migrated::default());
    world.drain();
    let table = table_name(&topic);
    // As an older version would have made it.
    for column in ["withdrawn_qty", "`shares.fills`"] {
        world.query(&format!("ALTER TABLE {{db}}.{table} DROP COLUMN {column}"));
    }
    world.query(&format!("ALTER TABLE {{db}}.{table} MODIFY SETTING non_replicated_deduplication_window = 5"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    assert!(matches!(world.sink().run(&stop), Err(SinkError::TableDiffers { .. })));
    let again = world.sink().migrate().unwrap();
    assert_eq!(again.columns, [format!("{table}.shares.fills"), format!("{table}.withdrawn_qty")]);
    world.write(&topic, 0, &[Some(value)], true);
    world.drain();
    let rows = world.query(&format!(
        "SELECT shares.venue, shares.fills, withdrawn_qty FROM {{db}}.{table} ORDER BY _offset FORMAT TSV"
    ));
    assert_eq!(rows, ["['A']\t[0]\t\\N", "['A']\t[3]\t\\N"]);
    let comment = world.query(&format!(
        "SELECT comment FROM system.columns WHERE database = '{{db}}' AND table = '{table}' AND name = 'withdrawn_qty'"
    ));
    assert!(comment[0].contains("amendments"), "{comment:?}");

    world.query(&format!("ALTER TABLE {{db}}.{table} MODIFY SETTING non_replicated_deduplication_window = 5"));
    let error = world.sink().run(&stop).unwrap_err();
    assert!(matches!(error, SinkError::Window { has: 5, .. }), "{error}");
    world.query(&format!("ALTER TABLE {{db}}.{table} MODIFY COLUMN interval_prints String"));
    assert!(matches!(world.sink().migrate(), Err(SinkError::TableDiffers { .. })));
}

/// O1's strategy, its allocation of 100 of 125 to A1, and its plan over V1 and V2.
fn planned(world: &World, strategies: &str, allocations: &str, plans: &str) {
    let strategy = json!({
        "event_id": "S-1", "order_id": "O1", "portfolio_id": "P1", "timestamp": "2026-11-20T15:00:01Z", "used": "TWAP",
        "rule": "BALANCED", "order_value": "10000", "starts_at": "2026-11-20T15:00:01Z", "ends_at": "2026-11-20T15:10:01Z",
        "recommended_strategy": some::<execution::RecommendedStrategy>(json!({"strategy_name": "ADAPTIVE_TWAP"})),
        "expected_outcomes": some::<execution::ExpectedOutcomes>(json!({"estimated_cost": "90"})),
    });
    world.write(strategies, 0, &[Some(world.framed(strategies, &make::<ExecutionStrategySelected>(strategy)))], true);
    let allocation = json!({
        "event_id": "A-1", "order_id": "O1", "portfolio_id": "P1", "account_id": "A1", "rule": "EQUAL", "quantity": "100",
        "parent_qty": "125", "allocated_qty": "100", "unallocated_qty": "25", "unallocated_code": "NO_ELIGIBLE_ACCOUNT",
        "order_value": "12500",
    });
    world.write(allocations, 0, &[Some(world.framed(allocations, &make::<AccountAllocation>(allocation)))], true);
    let leg = |venue: &str, quantity: &str| {
        some::<execution::RouteLeg>(json!({
            "cl_ord_id": format!("O1-{venue}"), "broker": "B1", "venue": venue, "quantity": quantity, "percentage": "0.5",
        }))
    };
    let candidate = |venue: &str, cost: &str| {
        some::<execution::RouteCandidate>(json!({"broker": "B1", "venue": venue, "cost": cost}))
    };
    let plan = json!({
        "event_id": "R-1", "order_id": "O1", "portfolio_id": "P1", "account_id": "A1", "slice_no": 1, "quantity": "115",
        "venue_allocations": [leg("V1", "60"), leg("V2", "50")], "candidates": [candidate("V1", "2"), candidate("V2", "4")],
        "unrouted_qty": "5", "unrouted_code": "DEPTH_EXHAUSTED",
    });
    world.write(plans, 0, &[Some(world.framed(plans, &make::<RoutingPlan>(plan)))], true);
}

/// Three entries of P1's chain, the third of which does not follow, and a first one of P2.
fn audited(world: &World, audit: &str) {
    let entry = |portfolio: &str, sequence: i64, before: u8, own: u8| {
        let entry: AuditEntry = make(json!({
            "portfolio_id": portfolio, "sequence": sequence, "order_id": "O1", "action": "CREATED", "actor": "ada",
            "reason_code": "CHANGED_MIND", "evidence": {"ord_qty": "100"},
        }));
        let entry = AuditEntry { prev_hash: vec![before; 32], hash: vec![own; 32], ..entry };
        Some(world.framed(audit, &entry))
    };
    let entries = [entry("P1", 1, 0, 1), entry("P2", 1, 0, 7), entry("P1", 2, 1, 2), entry("P1", 3, 9, 3)];
    world.write(audit, 0, &entries, true);
}

/// A kill that two partitions and a session acknowledge, one of them twice; its release, which one partition does. Two
/// requests for an override, one of which is answered.
fn stopped_and_overridden(world: &World, acks: &str, overrides: &str) {
    let ack = |version: i64, phase: &str, of: Json, open: Json, at: &str| {
        let mut all = json!({
            "control": "STRATEGY/s", "scope": "STRATEGY", "scope_id": "s", "version": version, "phase": phase,
            "set_at": "2026-11-20T15:00:00Z", "open_children": open, "acknowledged_at": at,
        });
        merge(&mut all, of);
        Some(world.framed(acks, &make::<ControlAck>(all)))
    };
    let partition = |n: i32| json!({"partition": n, "stage": "child-risk"});
    let session = json!({"session": "ib", "stage": "broker-gateway"});
    let all = [
        ack(1, "KILLED", partition(0), json!(3), "2026-11-20T15:00:00.040Z"),
        ack(1, "KILLED", partition(0), json!(0), "2026-11-20T15:00:09Z"),
        ack(1, "KILLED", partition(1), json!(1), "2026-11-20T15:00:00.055Z"),
        ack(1, "KILLED", session, Json::Null, "2026-11-20T15:00:00.070Z"),
        ack(2, "RELEASED", partition(0), json!(0), "2026-11-20T15:00:00.030Z"),
    ];
    world.write(acks, 0, &all, true);
    let asked = |order: &str| {
        let request = json!({
            "event_id": format!("override/{order}"), "portfolio_id": "P1", "order_id": order, "code": "PRICE_COLLAR",
            "actor": "ada", "second_actor": "bob", "reason": "by and by", "requested_at": "2026-11-20T15:01:00Z",
            "expires_at": "2026-11-20T15:06:00.000001Z",
        });
        Some(world.framed(overrides, &make::<RiskOverride>(request)))
    };
    world.write(overrides, 0, &[asked("O1"), asked("O2")], true);
}

/// Two parents: O1 buys 100 at an arrival mid of 100 (fills 60 @ 101 at V1/B1, 40 @ 100.5 at V2/B1, one more fill busted), O2
/// sells 10 at 50 (10 @ 49.5 at V2/B2), O3 is refused.
fn tiny(world: &World, topics: &[String; 11]) {
    let [orders, reports, quality, validated, alerts, strategies, allocations, plans, audit, acks, overrides] = topics;
    audited(world, audit);
    stopped_and_overridden(world, acks, overrides);
    planned(world, strategies, allocations, plans);
    let event = |order: &str, revision: i32, kind: &str, status: &str, with: Json| -> Option<Vec<u8>> {
        let mut all = json!({"order_id": order, "revision": revision, "event_type": kind, "status": status, "portfolio_id": "P1",
            "instrument_id": "ACME", "timestamp": format!("2026-11-20T15:00:0{revision}Z"), "event_id": format!("{order}-{revision}")});
        merge(&mut all, with);
        Some(world.framed(orders, &make::<OrderEvent>(all)))
    };
    let terms = |strategy: &str| {
        some::<execution::OrderTerms>(
            json!({"strategy_id": strategy, "quote_currency": "USD", "ord_type": "LIMIT", "limit_price": "102"}),
        )
    };
    let arrival = |mid: &str| some::<execution::Arrival>(json!({"mid": mid}));
    world.write(orders, 0, &[
        event("O1", 1, "CREATED", "PENDING_RISK", json!({"side": "BUY", "ord_qty": "100", "leaves_qty": "100", "terms": terms("S1")})),
        event("O1", 2, "RELEASED", "WORKING", json!({"side": "BUY", "ord_qty": "100", "leaves_qty": "100", "arrival": arrival("100")})),
        event("O1", 3, "FILLED", "FILLED", json!({"side": "BUY", "ord_qty": "100", "cum_qty": "100", "avg_px": "100.8", "filled_notional": "10080", "is_terminal": true})),
        event("O2", 1, "CREATED", "PENDING_RISK", json!({"side": "SELL", "ord_qty": "10", "terms": terms("S2")})),
        event("O2", 2, "RELEASED", "WORKING", json!({"side": "SELL", "ord_qty": "10", "arrival": arrival("50")})),
        event("O3", 1, "CREATED", "PENDING_RISK", json!({"side": "BUY", "ord_qty": "5", "terms": terms("S1")})),
        event("O3", 2, "REJECTED", "REJECTED", json!({"side": "BUY", "ord_qty": "5", "reason_code": "MAX_VALUE", "is_terminal": true})),
    ], true);
    let report = |exec: &str,
                  order: &str,
                  side: &str,
                  kind: &str,
                  at: (&str, &str),
                  fill: (&str, &str, &str),
                  refers: Option<&str>| {
        Some(world.framed(reports, &make::<ExecutionReport>(json!({
            "exec_id": exec, "order_id": order, "account_id": "A1", "cl_ord_id": format!("{order}-{}", at.0), "side": side, "exec_type": kind, "venue": at.0, "broker": at.1, "last_qty": fill.0,
            "last_px": fill.1, "fee": fill.2, "ref_exec_id": refers, "liquidity": "TAKER",
        }))))
    };
    world.write(
        reports,
        0,
        &[
            report("E1", "O1", "BUY", "TRADE", ("V1", "B1"), ("60", "101", "0.6"), None),
            report("E2", "O1", "BUY", "TRADE", ("V2", "B1"), ("40", "100.5", "0.4"), None),
            report("E3", "O1", "BUY", "TRADE", ("V1", "B1"), ("7", "109", "0.1"), None),
            report("E4", "O1", "BUY", "TRADE_CANCEL", ("V1", "B1"), ("7", "109", "0.1"), Some("E3")),
            // The same ExecID of another broker is another fill; a repeated report is not.
            report("E1", "O2", "SELL", "TRADE", ("V2", "B2"), ("10", "49.5", "0.5"), None),
            report("E1", "O2", "SELL", "TRADE", ("V2", "B2"), ("10", "49.5", "0.5"), None),
            report("E9", "O2", "SELL", "NEW", ("V2", "B2"), ("0", "0", "0"), None),
        ],
        true,
    );
    let tca = |order: &str, revision: i32, strategy: &str, pd: &str, q: &str, total: &str| {
        Some(world.framed(quality, &make::<ExecutionQuality>(json!({
            "order_id": order, "revision": revision, "strategy_id": strategy, "algorithm": "TWAP", "currency": "USD",
            "decision_price": pd, "ord_qty": q, "filled_qty": q, "implementation_shortfall_bps": total, "costs": {"total_cost": total, "fees": "1"},
            "efficiency_metrics": {"fill_rate": "1"}, "shares": [some::<execution::ExecutionShare>(json!({"venue": "V1", "quantity": q}))],
        }))))
    };
    world.write(
        quality,
        0,
        &[
            tca("O1", 1, "S1", "100", "100", "500"),
            tca("O1", 2, "S1", "100", "100", "80"),
            tca("O2", 1, "S2", "50", "10", "5"),
        ],
        true,
    );
    let check = |name: &str, passed: bool, code: Json| {
        some::<execution::RiskCheck>(
            json!({"name": name, "passed": passed, "code": code, "figure": "600", "limit": "500", "unit": "USD"}),
        )
    };
    world.write(
        validated,
        0,
        &[Some(world.framed(
            validated,
            &make::<ValidatedOrder>(json!({
                "order_id": "O3", "is_approved": false, "reason_codes": ["MAX_VALUE"],
                "validation_results": [check("value", false, json!("MAX_VALUE")), check("quantity", true, Json::Null)],
            })),
        ))],
        true,
    );
    world.write(
        alerts,
        0,
        &[Some(world.framed(
            alerts,
            &make::<RiskAlert>(json!({
                "order_id": "O1", "cl_ord_id": "C1", "alert_type": "CHILD_REJECTED", "code": "COLLAR",
            })),
        )), Some(world.framed(
            alerts,
            &make::<RiskAlert>(json!({
                "order_id": "O1", "alert_type": "OVERRIDE", "code": "OVERRIDE_ACCEPTED", "timestamp": "2026-11-20T15:01:02Z",
                "text": "PRICE_COLLAR of order O1 until 2026-11-20T15:06:00.000001Z by \"ada\" and \"bob\": by and by",
            })),
        ))],
        true,
    );
}

#[test]
fn views_give_the_figures_of_a_tiny_day_and_every_documented_query_runs() {
    let real = [
        "execution.orders.v1",
        "execution.reports.v1",
        "execution.quality.v1",
        "execution.validated-orders.v1",
        "execution.risk-alerts.v1",
        "execution.strategies.v1",
        "execution.allocations.v1",
        "execution.routing-plans.v1",
        "execution.audit.v1",
        "execution.controls-acks.v1",
        "execution.risk-overrides.v1",
    ];
    let topics: [String; 11] = std::array::from_fn(|_| unique("tiny"));
    let catalog = catalog();
    let named: Vec<(&str, &str, i32)> = real
        .iter()
        .zip(&topics)
        .map(|(r, t)| (t.as_str(), catalog.iter().find(|c| c.topic == *r).unwrap().contract.as_str(), 1))
        .collect();
    let mut world = World::new(&named);
    tiny(&world, &topics);
    world.drain();
    // The views stand on the tables of the real topics, which other tests and programs write too: take them from ours.
    let ours = std::mem::replace(&mut world.topics, catalog);
    let migrated = world.sink().migrate().unwrap();
    assert_eq!(migrated.views.len(), 18);
    for (own, real) in ours.iter().zip(real) {
        world.query(&format!(
            "INSERT INTO {{db}}.{} SELECT * FROM {{db}}.{}",
            table_name(real),
            table_name(&own.topic)
        ));
    }
    let rows = |sql: &str| world.query(&format!("{sql} FORMAT TSV"));
    assert_eq!(
        rows("SELECT what FROM {db}.order_timeline WHERE order_id = 'O1' ORDER BY revision")[0],
        "CREATED BUY 100 ACME LIMIT @ 102"
    );
    assert_eq!(
        rows(
            "SELECT order_id, status, cum_qty, avg_px, strategy_id, arrival_mid, reason_code FROM {db}.orders ORDER BY order_id"
        ),
        [
            "O1\tFILLED\t100\t100.8\tS1\t100\t\\N",
            "O2\tWORKING\t0\t\\N\tS2\t50\t\\N",
            "O3\tREJECTED\t0\t\\N\tS1\t\\N\tMAX_VALUE",
        ]
    );
    assert_eq!(
        rows("SELECT exec_id, broker, notional, round(slippage_bps, 6) FROM {db}.fills ORDER BY broker, exec_id"),
        ["E1\tB1\t6060\t100", "E2\tB1\t4020\t50", "E1\tB2\t495\t100",]
    );
    // 500 of revision 1 is restated to 80: 80 of 100 x 100 is 80 bps.
    assert_eq!(
        rows(
            "SELECT strategy_id, orders, total_cost, fees, shortfall_bps FROM {db}.tca_by_strategy ORDER BY strategy_id"
        ),
        ["S1\t1\t80\t1\t80", "S2\t1\t5\t1\t100",]
    );
    // V2: 4020 at 50 bps and 495 at 100 bps.
    assert_eq!(
        rows(
            "SELECT venue, fills, orders, notional, fees, round(arrival_slippage_bps, 4) FROM {db}.tca_by_venue ORDER BY venue"
        ),
        ["V1\t1\t1\t6060\t0.6\t100", "V2\t2\t2\t4515\t0.9\t55.4817",]
    );
    assert_eq!(
        rows(
            "SELECT broker, fills, notional, round(arrival_slippage_bps, 4), maker_share FROM {db}.tca_by_broker ORDER BY broker"
        ),
        ["B1\t2\t10080\t80.0595\t0", "B2\t1\t495\t100\t0",]
    );
    assert_eq!(
        rows("SELECT level, order_id, code, figure, check_limit FROM {db}.risk_rejections ORDER BY level"),
        ["CHILD\tO1\tCOLLAR\t\\N\t\\N", "PARENT\tO3\tMAX_VALUE\t600\t500",]
    );
    // Expected 90 bps; realised 80 (revision 2 of O1).
    assert_eq!(
        rows(
            "SELECT order_id, strategy_name, expected_cost_bps, actual_cost_bps, fill_rate FROM {db}.strategy_selections ORDER BY order_id"
        ),
        ["O1\tADAPTIVE_TWAP\t90\t80\t1"]
    );
    assert_eq!(
        rows(
            "SELECT strategy_name, execution_date, orders_executed, avg_cost_bps, success_rate FROM {db}.strategy_performance"
        ),
        ["ADAPTIVE_TWAP\t2026-11-20\t1\t80\t1"]
    );
    assert_eq!(
        rows("SELECT algorithm, rule, orders, expected_bps, realised_bps, mean_error_bps FROM {db}.algorithm_costs"),
        ["TWAP\tBALANCED\t1\t90\t80\t-10"]
    );
    assert_eq!(
        rows("SELECT step, what, code, orders FROM {db}.order_funnel ORDER BY step, code"),
        [
            "2\torder created\t\t3",
            "3\trefused by risk\tMAX_VALUE\t1",
            "4\tapproved\t\t0",
            "5\tnot or not wholly allocated\tNO_ELIGIBLE_ACCOUNT\t1",
            "6\tallocated\tEQUAL\t1",
            "7\ta slice could not be routed\tDEPTH_EXHAUSTED\t1",
            "8\tended FILLED\t\t1",
        ]
    );
    assert_eq!(
        rows("SELECT check_name, passed, utilisation FROM {db}.limit_utilisation ORDER BY check_name"),
        ["quantity\ttrue\t1.2", "value\tfalse\t1.2"]
    );
    // 100 of 125 of a value of 12,500; O1's fills are those of A1.
    assert_eq!(
        rows(
            "SELECT account, rule, orders, mean_share, allocated_value, delayed, fills, fill_rate FROM {db}.allocation_by_account"
        ),
        ["A1\tEQUAL\t1\t0.8\t10000\t0\t2\t1"]
    );
    assert_eq!(
        rows(
            "SELECT venue, broker, children, routed, fill_rate, round(arrival_slippage_bps, 4), rejected FROM {db}.venue_quality ORDER BY venue"
        ),
        ["V1\tB1\t1\t60\t1\t100\t0", "V2\tB1\t1\t50\t0.8\t50\t0"]
    );
    assert_eq!(
        rows("SELECT broker, orders, fills, fees_paid, estimated_cost_bps FROM {db}.broker_costs ORDER BY broker"),
        ["B1\t1\t2\t1\t3", "B2\t1\t1\t0.5\t\\N"]
    );
    assert_eq!(
        rows(
            "SELECT portfolio_id, sequence, actor, evidence['ord_qty'], substring(entry_hash, 1, 4), follows FROM {db}.audit_trail ORDER BY portfolio_id, sequence"
        ),
        [
            "P1\t1\tada\t100\t0101\ttrue",
            "P1\t2\tada\t100\t0202\ttrue",
            "P1\t3\tada\t100\t0303\tfalse",
            "P2\t1\tada\t100\t0707\ttrue"
        ]
    );
    // The first answer of a partition counts.
    assert_eq!(
        rows(
            "SELECT control, version, phase, partitions, sessions, open_children, partitions_ms, sessions_ms, elapsed_ms FROM {db}.kill_switch ORDER BY version"
        ),
        ["STRATEGY/s\t1\tKILLED\t2\t1\t4\t55\t70\t70", "STRATEGY/s\t2\tRELEASED\t1\t0\t0\t30\t\\N\t30"]
    );
    assert_eq!(
        rows(
            "SELECT order_id, code, actor, second_actor, reason, answer, answered_at FROM {db}.risk_overrides ORDER BY order_id"
        ),
        [
            "O1\tPRICE_COLLAR\tada\tbob\tby and by\tOVERRIDE_ACCEPTED\t2026-11-20 15:01:02.000000",
            "O2\tPRICE_COLLAR\tada\tbob\tby and by\t\\N\t\\N",
        ]
    );
    let document = include_str!("../QUERIES.md");
    let queries: Vec<&str> = document.split("```sql\n").skip(1).map(|part| part.split("```").next().unwrap()).collect();
    assert!(queries.len() >= 21);
    for query in queries {
        assert!(!world.query(&query.replace("fillstream.", "{db}.")).is_empty(), "{query}");
    }
    assert!(world.sink().migrate().unwrap().views.is_empty(), "views are applied once");
}
