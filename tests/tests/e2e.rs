//! The whole pipeline by its binary, on Kafka, registry and ClickHouse of its own.
//!
//! `cargo build --release -p fillstream-app && cargo test --release -p fillstream-tests`. With `--nocapture` each run's
//! summary is shown.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use fillstream_tests::{Demo, HarnessError, Kept, fillstream, python, run, workspace};
use serde_json::Value;

const QUICK: Duration = Duration::from_secs(60);
const SIZE: [&str; 4] = ["--decisions", "40", "--seed", "7"];

/// A demo has no poison, and commands are an input that comes by chance; nobody waits for a kill switch to be acknowledged,
/// overrides a check, asks for a strategy or limits several portfolios together.
fn may_be_empty(topic: &str) -> bool {
    let of_people = [
        "commands",
        "control-probes",
        "controls-acks",
        "risk-overrides",
        "strategy-requests",
        "strategy-recommendations",
        "limit-requests",
        "limit-grants",
    ];
    of_people.iter().any(|name| topic == format!("execution.{name}.v1")) || topic.ends_with(".dlq")
}

fn demo(args: &[&str]) -> Demo {
    let demo = Demo::run(args).unwrap_or_else(|e| panic!("{e}"));
    println!("{}", demo.finished.stderr);
    println!("{args:?}: {:.1} s", demo.finished.took.as_secs_f32());
    demo
}

/// The undisturbed run that others are compared with; made once.
static UNDISTURBED: LazyLock<Demo> = LazyLock::new(|| demo(&SIZE));

fn assert_audit_clean(json: &Value) {
    let checks = json["audit"]["checks"].as_array().unwrap();
    assert!(checks.len() >= 20, "{} checks", checks.len());
    for check in checks {
        assert!(check["examined"].as_u64().unwrap() > 0, "examined nothing: {check}");
        assert_eq!(check["violations"], 0, "{check}");
    }
}

fn assert_same_as_undisturbed(run: &Demo) {
    let differences = UNDISTURBED.dump.differences(&run.dump);
    assert!(differences.is_empty(), "undisturbed against {}:\n{}", run.finished.command, differences.join("\n"));
}

#[test]
fn a_demo_run_is_clean_and_says_so() {
    let demo = &*UNDISTURBED;
    assert_audit_clean(&demo.json);
    assert_eq!((&demo.json["decisions"], &demo.json["seed"]), (&Value::from(40), &Value::from(7)));
    for count in ["child_orders", "fills", "tca_rows"] {
        assert!(demo.json[count].as_u64().unwrap() > 0, "{count}: {}", demo.json[count]);
    }
    assert_eq!(demo.json["dead_letters"], 0);
    let orders = demo.json["orders"].as_object().unwrap();
    // One of the 40 is an identical repeat.
    assert_eq!(orders.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 39, "{orders:?}");
    assert!(orders["FILLED"].as_u64().unwrap() > 0 && orders["REJECTED"].as_u64().unwrap() > 0, "{orders:?}");
    let latency = &demo.json["latency_ms"]["decision_to_child_order"];
    let (p50, p99) = (latency["p50"].as_f64().unwrap(), latency["p99"].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{latency}");
    for service in ["kafka", "registry", "clickhouse"] {
        assert!(demo.json["services"][service].as_str().is_some_and(|address| address.contains(':')), "{service}");
    }
    assert!(demo.dump.0.len() >= 12, "{:?}", demo.dump.0.keys());
    // All of the local profile.
    assert_eq!(demo.json["partitions"].as_array().map(Vec::len), Some(6));
    for topic in demo.dump.0.keys() {
        assert!(may_be_empty(topic) || demo.dump.records(topic) > 0, "{topic} is empty");
    }
}

#[test]
fn the_summary_has_a_table_for_each_question() {
    let demo = &*UNDISTURBED;
    let rows = |name: &str| demo.json["tables"][name].as_array().unwrap_or_else(|| panic!("no table {name}")).clone();
    let sum = |name: &str, column: &str| rows(name).iter().map(|row| row[column].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("portfolios", "orders"), 39);
    let refused: u64 = demo.json["refusals"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(sum("portfolios", "refused"), refused);
    for name in ["accounts", "venues", "brokers"] {
        assert_eq!(sum(name, "child_orders"), demo.json["child_orders"].as_u64().unwrap(), "{name}");
        assert_eq!(sum(name, "fills"), demo.json["fills"].as_u64().unwrap(), "{name}");
    }
    let by = |level: &str| rows("rejections").iter().filter(|row| row["what"] == level).count();
    assert!(by("order") > 3 && by("child order") > 3, "{:?}", rows("rejections"));

    // One strategy is stopped, what it has open is cancelled, what it wants is refused; two people let it go on.
    let [killed, pending, released] = &rows("kill_switch")[..] else { panic!("{:?}", rows("kill_switch")) };
    let state = |row: &Value| row["state"].as_str().unwrap().to_owned();
    assert_eq!([state(killed), state(pending), state(released)], ["KILLED", "RELEASE_PENDING", "RELEASED"]);
    let figure = |row: &Value, column: &str| row[column].as_u64().unwrap();
    assert!(figure(killed, "cancelled") > 0 && figure(killed, "last_after_s") <= 30, "{killed}");
    let killed_codes = demo.json["refusals"]["KILLED"].as_u64().unwrap();
    assert!(killed_codes > 0);
    assert_eq!(figure(killed, "refused") + figure(pending, "refused"), killed_codes);
    for stopped in [killed, pending] {
        assert_eq!(figure(stopped, "accepted"), 0, "{stopped}");
        assert!(figure(stopped, "others_accepted") > 0, "{stopped}");
    }
    assert!(figure(released, "accepted") > 0 && figure(released, "refused") == 0, "{released}");
    let (first, second) = released["by"].as_str().unwrap().split_once(" and ").unwrap();
    assert_ne!(first, second);

    // What prefers a dark pool finds something there; three lit venues have the rest.
    let venues: Vec<_> = rows("venues").iter().map(|row| row["venue"].as_str().unwrap().to_owned()).collect();
    assert_eq!(venues, ["XALP", "XBET", "XDRK", "XGAM"]);
    assert!(rows("venues").iter().all(|row| figure(row, "fills") > 0), "{:?}", rows("venues"));

    // Six brokers, and what one venue sends back another gets.
    assert_eq!(rows("brokers").len(), 6);
    assert!(rows("brokers").iter().all(|row| figure(row, "child_orders") > 0), "{:?}", rows("brokers"));
    assert!(rows("brokers").iter().any(|row| row["next_best"].is_string() && row["saved_against_it"] != "0"));
    let moved = |row: &&Value| row["went_to"].as_str().is_some_and(|to| to != row["came_back_from"]);
    assert!(rows("reroutes").iter().filter(moved).count() > 3, "{:?}", rows("reroutes"));
    assert!(demo.json["first_reroute"].as_str().unwrap().contains("attempt"), "{}", demo.json["first_reroute"]);
}

/// Exactly once: killed in the middle of transactions and between an intent and its answer, every output topic is what
/// it is without.
#[test]
fn kill_minus_nine_changes_nothing() {
    let killed = demo(&[&SIZE[..], &["--kills", "6"]].concat());
    assert_audit_clean(&killed.json);
    let phases = killed.kills();
    assert_eq!(phases.len(), 6, "{phases:?}");
    for phase in ["transaction", "between intent and answer"] {
        assert!(phases.iter().any(|p| p.contains(phase)), "no kill hit {phase:?}: {phases:?}");
    }
    assert_same_as_undisturbed(&killed);
}

/// Transactions by our own producer, of every part that writes any.
#[test]
fn another_protocol_of_transactions_changes_nothing() {
    let run = demo(&[&SIZE[..], &["--kills", "4", "--set", "kafka.transaction_version=2"]].concat());
    assert_audit_clean(&run.json);
    assert_eq!(run.kills().len(), 4);
    assert_same_as_undisturbed(&run);
}

/// The tasks of every path spread over processes, any of which dies.
#[test]
fn instances_that_die_change_nothing() {
    let shared = demo(&[&SIZE[..], &["--instances", "3", "--kills", "6"]].concat());
    assert_audit_clean(&shared.json);
    assert_kills(&shared, 6);
    assert_same_as_undisturbed(&shared);
}

/// Every stage a consumer group of its own, its tasks spread over processes, any of which dies. Five groups one after
/// another make five ticks of an instant, so the run is a short one.
#[test]
fn split_groups_that_die_change_nothing() {
    const SHORT: [&str; 4] = ["--decisions", "15", "--seed", "7"];
    let fused = demo(&SHORT);
    let split = demo(&[&SHORT[..], &["--split", "--instances", "2", "--kills", "4"]].concat());
    assert_audit_clean(&split.json);
    assert_kills(&split, 4);
    let differences = fused.dump.differences(&split.dump);
    assert!(differences.is_empty(), "fused against split:\n{}", differences.join("\n"));
}

/// So many kills, some of them in a transaction, and not all of one instance.
fn assert_kills(run: &Demo, wanted: usize) {
    let kills = run.kills();
    assert_eq!(kills.len(), wanted, "{kills:?}");
    assert!(kills.iter().any(|k| k.contains("transaction")), "{kills:?}");
    let victims: BTreeSet<&str> = kills.iter().filter_map(|k| k.split(' ').next()).collect();
    assert!(victims.len() > 1, "{kills:?}");
}

#[test]
fn batch_limits_change_nothing() {
    let small = demo(&[&SIZE[..], &["--max-units", "3"]].concat());
    assert_audit_clean(&small.json);
    assert_same_as_undisturbed(&small);
}

#[test]
fn another_seed_gives_other_figures() {
    let other = demo(&["--decisions", "40", "--seed", "8"]);
    assert_audit_clean(&other.json);
    let differing = UNDISTURBED.dump.differences(&other.dump);
    assert!(differing.iter().any(|d| d.starts_with("execution.orders.v1")), "{differing:?}");
    for figure in ["child_orders", "fills_by_venue"] {
        assert_ne!(UNDISTURBED.json[figure], other.json[figure], "{figure}");
    }
}

/// Three minutes of two symbols, with what real files have: equal times, locked and crossed quotes, one-sided quotes,
/// a gap, a second venue that is not the reference.
fn write_market(path: &Path) {
    const START: i64 = 1_723_161_255_000_000;
    let mut text = String::from("ts_us,symbol,kind,bid,ask,bid_size,ask_size,price,size,venue\n");
    let mut state = 7_u64;
    let mut below = move |n: u64| {
        // Knuth's MMIX generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % n).unwrap()
    };
    let cents = |value: i64| format!("{}.{:02}", value / 100, value % 100);
    let size = |milli: i64| format!("{}.{:03}", milli / 1000, milli % 1000);
    let mut mids = [6_183_763_i64, 268_381];
    let mut ts = START;
    while ts < START + 180_000_000 {
        // Every seventh row or so shares its time with the one before; once nothing comes for five seconds.
        ts += if below(7) == 0 { 0 } else { 1 + below(60_000) };
        if (START + 90_000_000..START + 95_000_000).contains(&ts) {
            ts = START + 95_000_000;
        }
        let i = usize::try_from(below(2)).unwrap();
        let symbol = ["BTCUSDT", "ETHUSDT"][i];
        mids[i] += below(401) - 200;
        let spread = match below(50) {
            0 => 0,
            1 => -3,
            n => 1 + n % 9,
        };
        let (bid, ask) = (cents(mids[i]), cents(mids[i] + spread));
        let venue = if below(5) == 0 { "OTHER" } else { "BINANCE" };
        let (bid_size, ask_size) = (size(200 + below(9_000)), size(200 + below(9_000)));
        let _ = match below(20) {
            0..5 => writeln!(text, "{ts},{symbol},trade,,,,,{ask},{},{venue}", size(1 + below(900))),
            5 => writeln!(text, "{ts},{symbol},quote,{bid},,{bid_size},,,,OTHER"),
            _ => writeln!(text, "{ts},{symbol},quote,{bid},{ask},{bid_size},{ask_size},,,{venue}"),
        };
    }
    std::fs::write(path, text).unwrap();
}

/// Arrival mids exactly, interval VWAP and TWAP to 1e-9, from the market file alone, by a program that shares nothing
/// with the pipeline. FILLSTREAM_MARKET_FILE replays that file instead, with 300 decisions.
#[test]
fn benchmarks_recomputed_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (market, decisions, least) = match std::env::var("FILLSTREAM_MARKET_FILE") {
        Ok(file) => (file.into(), "300", "200"),
        Err(_) => (dir.path().join("market.csv"), "40", "20"),
    };
    if market.starts_with(dir.path()) {
        write_market(&market);
    }
    let market = market.to_str().unwrap();
    let kept =
        Kept::run(&["--decisions", decisions, "--seed", "7", "--market", market]).unwrap_or_else(|e| panic!("{e}"));
    println!("{}", kept.finished.stderr);
    assert_audit_clean(&kept.json);
    let rows = dir.path().join("quality.jsonl");
    std::fs::write(&rows, kept.tail("execution.quality.v1").unwrap_or_else(|e| panic!("{e}"))).unwrap();
    kept.stop().unwrap_or_else(|e| panic!("{e}"));

    let recompute = |rows: &Path| {
        let mut command = python("recompute.py");
        command.args(["--min-orders", least, market]).arg(rows);
        run(command, QUICK).unwrap_or_else(|e| panic!("{e}"))
    };
    let found = recompute(&rows);
    println!("{}{}", found.stdout, found.stderr);
    assert_eq!(found.status.code(), Some(0));

    // The script can fail: each figure, off by little, is found.
    for (field, factor) in [("arrival_mid", 1e-6), ("interval_vwap", 1e-8), ("interval_twap_mid", 1e-8)] {
        let wrong = dir.path().join("wrong.jsonl");
        std::fs::write(&wrong, with_one_off(&std::fs::read_to_string(&rows).unwrap(), field, factor)).unwrap();
        let found = recompute(&wrong);
        assert_eq!(found.status.code(), Some(1), "{field}: {}{}", found.stdout, found.stderr);
        assert!(found.stdout.contains(field), "{}", found.stdout);
    }
}

/// Across its kills, and with one rule changed.
#[test]
fn a_killed_run_replays_byte_for_byte_and_another_rule_decides_otherwise() {
    let kept = Kept::run(&["--decisions", "40", "--seed", "7", "--kills", "4"]).unwrap_or_else(|e| panic!("{e}"));
    assert_audit_clean(&kept.json);
    let replay = |args: &[&str], config: &Path| -> (Option<i32>, Value) {
        let args = [&["replay", "--json", "--config", config.to_str().unwrap()], args].concat();
        let found = kept.fillstream(&args).unwrap_or_else(|e| panic!("{e}"));
        let said = found.stdout.lines().last().unwrap_or_else(|| panic!("{}", found.stderr));
        (found.status.code(), serde_json::from_str(said).unwrap())
    };
    for group in ["order-path", "tca"] {
        let (code, said) = replay(&["--group", group], &kept.config());
        assert_eq!((code, &said["identical"]), (Some(0), &Value::from(true)), "{group}: {said}");
        let tasks = said["tasks"].as_array().unwrap();
        let sum = |figure: &str| tasks.iter().map(|t| t[figure].as_u64().unwrap()).sum::<u64>();
        println!("{group}: {} batches, {} records, {} states", sum("batches"), sum("records"), sum("states"));
        assert!(sum("batches") > 100 && sum("records") > 100 && sum("states") > 0, "{said}");
    }
    // Left-overs of a schedule are released only once.
    let config = std::fs::read_to_string(kept.config()).unwrap();
    let section = "[stages.execution-strategy]\n";
    assert!(config.contains(section), "{config}");
    let other = kept.config().with_file_name("other.toml");
    std::fs::write(&other, config.replace(section, &format!("{section}max_completions = 1\n"))).unwrap();
    let (code, said) = replay(&["--group", "order-path", "--what-if"], &other);
    assert_eq!((code, &said["identical"]), (Some(3), &Value::from(false)), "{said}");
    let differs = |what: &str| {
        let found = said["differences"].as_array().unwrap().iter();
        found.filter(|d| d["topic"] == "execution.slices.v1" && d["what"] == what).count()
    };
    assert_eq!((differs("is_last"), differs("not written again")), (1, 1), "{said}");
    // Proving is not asking.
    let refused = kept.fillstream(&["replay", "--group", "order-path", "--config", other.to_str().unwrap()]);
    let refused = refused.unwrap_or_else(|e| panic!("{e}"));
    assert!(refused.stderr.contains("was decided by version"), "{}", refused.stderr);
    kept.stop().unwrap_or_else(|e| panic!("{e}"));
}

/// The rows with one value of `field` larger by `factor` of it.
fn with_one_off(rows: &str, field: &str, factor: f64) -> String {
    let mut done = false;
    let mut out = String::new();
    for line in rows.lines() {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let value = &mut record["value"][field];
        if let (false, Some(number)) = (done, value.as_str().and_then(|text| text.parse::<f64>().ok())) {
            *value = format!("{:.12}", number * (1.0 + factor)).into();
            done = true;
        }
        let _ = writeln!(out, "{record}");
    }
    assert!(done, "no row has {field}");
    out
}

fn succeeds(args: &[&str]) -> Result<String, HarnessError> {
    let mut command = fillstream()?;
    command.args(args);
    Ok(run(command, QUICK)?.expect_code(0)?.stdout)
}

#[test]
fn contracts_fit_their_released_versions() {
    let said = succeeds(&["schemas", "check"]).unwrap_or_else(|e| panic!("{e}"));
    assert!(said.lines().last().is_some_and(|line| line.ends_with(" 0 breaks")), "{said}");
    assert!(!said.contains("\n0 released versions compared") && !said.starts_with("0 released"), "{said}");
}

#[test]
fn the_readme_shows_the_topology_there_is() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let (_, after) =
        readme.split_once("<!-- generated by `fillstream topology --mermaid` -->").expect("the mark of the diagram");
    let (between, _) = after.split_once("<!-- end -->").expect("its end");
    let shown = between.trim().trim_start_matches("```mermaid").trim_end_matches("```").trim();
    let generated = succeeds(&["topology", "--mermaid"]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(shown, generated.trim(), "put the output of `fillstream topology --mermaid` into README.md");
}
