//! One trace from a decision to the analysis of its costs: in the headers of all that was written, and in the spans that a
//! collector is told.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use fillstream_tests::{Collector, Demo, Span};

/// (trace, span) of a line of a dump: its last word is the record's `traceparent`.
fn ids(line: &str) -> (String, String) {
    let parent = line.rsplit(' ').next().unwrap();
    let parts: Vec<&str> = parent.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[1].len(), parts[2].len(), parts[3]), (4, "00", 32, 16, "01"), "{line}");
    (parts[1].to_owned(), parts[2].to_owned())
}

/// From a span up to where its trace begins.
fn path<'s>(spans: &'s BTreeMap<(String, String), Span>, trace: &str, id: &str) -> Vec<&'s Span> {
    let mut path = Vec::new();
    let mut at = id.to_owned();
    while !at.is_empty() {
        let span = spans.get(&(trace.to_owned(), at.clone()));
        let span = span.unwrap_or_else(|| panic!("a gap in trace {trace}: span {at} below {path:#?} was not told"));
        path.push(span);
        assert!(path.len() < 1_000, "spans of trace {trace} go round");
        at.clone_from(&span.parent);
    }
    path
}

#[test]
fn one_trace_leads_from_a_decision_to_its_costs_without_a_gap() {
    let collector = Collector::start().unwrap();
    let telemetry = format!("telemetry.otlp_endpoint={}", collector.endpoint());
    let demo = Demo::run(&["--decisions", "20", "--seed", "7", "--set", &telemetry]).unwrap_or_else(|e| panic!("{e}"));
    println!("{}", demo.finished.stderr);
    let checks = demo.json["audit"]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "one_trace_an_order").unwrap();
    assert!(check["examined"].as_u64().unwrap() > 10 && check["violations"] == 0, "{check}");

    let told = collector.spans().unwrap_or_else(|e| panic!("{e}"));
    let spans: BTreeMap<(String, String), Span> =
        told.iter().map(|span| ((span.trace.clone(), span.id.clone()), span.clone())).collect();
    // Nothing was interrupted: each once. An identical repeat of a decision is handled twice in the same span.
    let repeats: Vec<&Span> = told.iter().filter(|s| s.name != "order-management coordination.decisions.v1").collect();
    let distinct: BTreeSet<_> = repeats.iter().map(|s| (&s.trace, &s.id)).collect();
    assert_eq!(distinct.len(), repeats.len());
    let begun_by = |topic: &str| -> BTreeSet<&str> {
        let roots = told.iter().filter(|s| s.parent.is_empty());
        roots
            .filter(|s| s.texts.get("messaging.destination.name").is_some_and(|t| t == topic))
            .map(|s| &*s.trace)
            .collect()
    };
    let decisions = begun_by("coordination.decisions.v1");
    assert!(decisions.len() >= 19, "{}", decisions.len());

    let missing = |topic: &str| {
        let lines = || demo.dump.0[topic].lines().map(ids);
        (lines().filter(|at| !spans.contains_key(at)).count(), lines().count())
    };
    let missing: Vec<_> =
        demo.dump.0.keys().filter(|t| *t != "execution.commands.v1").map(|t| (t, missing(t))).collect();
    assert!(missing.iter().all(|(_, (n, _))| *n == 0), "of {} spans told, not told: {missing:?}", told.len());

    // Every record belongs to the trace of a decision, and was written in a span that was told.
    let mut records = 0;
    for (topic, text) in demo.dump.0.iter().filter(|(topic, _)| *topic != "execution.commands.v1") {
        for line in text.lines() {
            let (trace, span) = ids(line);
            let path = path(&spans, &trace, &span);
            let root = &path.last().unwrap().name;
            records += 1;
            // What a lease that is over returns is of no order.
            if topic.starts_with("execution.limit-") && root == "pre-trade-risk timer" {
                continue;
            }
            assert!(decisions.contains(&*trace), "{topic}: {line}");
            assert_eq!(root, "order-management coordination.decisions.v1", "{topic}: {line}");
        }
    }
    assert!(records > 200, "{records} records");

    // From the costs back to the decision: the timer of the analysis, what ended the order, ..., the decision.
    let quality: Vec<_> = demo.dump.0["execution.quality.v1"].lines().map(ids).collect();
    assert!(
        quality.iter().any(|(trace, id)| {
            let services: BTreeSet<&str> = path(&spans, trace, id).iter().map(|s| &*s.service).collect();
            services.len() == 3
        }),
        "an order that was filled ends by a report: its costs come by way of the gateway"
    );
    for (trace, id) in &quality {
        let path = path(&spans, trace, id);
        assert_eq!((&*path[0].service, &*path[0].name), ("fillstream.tca", "tca timer"), "{path:#?}");
    }

    // Every report comes of a send, that of an intent, that of a child order; one that the gateway refuses comes of the
    // child order itself.
    let reports: Vec<_> = demo.dump.0["execution.reports.v1"].lines().map(ids).collect();
    let mut sent = 0;
    for (trace, id) in &reports {
        let path = path(&spans, trace, id);
        let names: Vec<&str> = path.iter().map(|s| &*s.name).take(4).collect();
        assert_eq!(names[0], "broker-gateway report", "{path:#?}");
        if names[1] == "broker-gateway send" {
            assert_eq!(names[2], "broker-gateway execution.child-orders.v1", "{path:#?}");
            assert!(path[1].texts["fillstream.send.outcome"] == "received" || path[1].status == 2, "{path:#?}");
            assert_eq!(path[1].texts["fillstream.cl_ord_id"], path[2].texts["fillstream.cl_ord_id"]);
            sent += 1;
        }
        let asked = names.iter().position(|name| name.starts_with("child-risk "));
        assert!(matches!(asked, Some(1 | 3)), "{path:#?}");
    }
    assert!(sent > 10, "{sent} of {} reports came of a send", reports.len());
    for span in &told {
        assert!(0 < span.times.0 && span.times.0 <= span.times.1, "{span:?}");
    }
}
