//! What an operator decides and sees: who may ask, and what is counted. On real sockets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod rig;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fillstream_kafka::observe::{Health, Metrics, Readiness};
use fillstream_schemas::execution::{OrderEventType, StrategyRecommendation};
use fillstream_strategy_api::{Access, ApiConfig, Desk, Outbound, ROUTES, Said, Tokens, serve};
use reqwest::{Method, StatusCode};
use rig::{BASE, PATIENCE, Rig, answer_to, event, good, nowhere};
use serde_json::{Value, json};

/// Ann's token is "abc" (FIPS 180-2, appendix B.1).
fn tokens() -> Access {
    let text = "ann:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    Access::Tokens(Tokens::parse(text).unwrap_or_else(|faults| panic!("{faults:?}")))
}

fn guarded(reply: impl Fn(&Desk, Said) + Send + 'static) -> Rig {
    Rig::new(tokens(), PATIENCE, nowhere(), move |Outbound { said, written }, desk| {
        let _ = written.send(Ok(()));
        reply(desk, said);
    })
}

fn adapt(actor: Option<&str>) -> Value {
    json!({ "actor": actor, "reason": "news", "urgency": "HIGH" })
}

/// How often a test looks.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for a line of the metrics.
async fn counted(rig: &Rig, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !rig.metrics.print().lines().any(|l| l == line) {
        assert!(Instant::now() < deadline, "{line} is missing in\n{}", rig.metrics.print());
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn without_a_token_that_is_known_nothing_is_answered_but_what_is_open() {
    let (seen, said) = channel();
    let seen = Mutex::new(seen);
    let mut rig = guarded(move |_, _| seen.lock().unwrap().send(()).unwrap());
    rig.desk.take_event(&event("o1", OrderEventType::Released, None));
    for (authorization, challenge) in [
        (None, r#"Bearer realm="fillstream""#),
        (Some("Basic abc"), r#"Bearer realm="fillstream""#),
        (Some("abc"), r#"Bearer realm="fillstream""#),
        (Some("Bearer abd"), r#"Bearer realm="fillstream", error="invalid_token""#),
        (Some("Bearer ann"), r#"Bearer realm="fillstream", error="invalid_token""#),
    ] {
        for (method, path) in ROUTES {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let mut request = rig.client.request(method, rig.url(&path.replace("{order_id}", "o1"))).body("{}");
            if let Some(authorization) = authorization {
                request = request.header("Authorization", authorization);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path} {authorization:?}");
            assert_eq!(answer.headers()["www-authenticate"], challenge, "{path} {authorization:?}");
            let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert_eq!(problem["code"], "UNAUTHENTICATED");
        }
    }
    for path in ["/openapi.json", "/docs", "/docs/swagger-ui.css"] {
        assert_eq!(rig.client.get(rig.url(path)).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    assert!(said.try_recv().is_err());
    rig.authorization = Some("bearer abc".to_owned());
    assert_eq!(rig.get("/o1/status").await.0, 200);
    assert_eq!(rig.post("/recommend", &good(), None).await.0, 504);
    said.recv().unwrap();
}

#[tokio::test]
async fn the_tokens_name_is_the_actor_whatever_the_body_says() {
    let (seen, actors) = channel();
    let seen = Mutex::new(seen);
    let mut rig = guarded(move |desk, said| {
        let Said::Command(c) = said else { panic!("{said:?}") };
        desk.take_event(&event("o1", OrderEventType::Replaced, Some(&c.command_id)));
        seen.lock().unwrap().send(c.actor).unwrap();
    });
    rig.desk.take_event(&event("o1", OrderEventType::Released, None));
    rig.authorization = Some("Bearer abc".to_owned());
    for actor in [Some("bob"), None] {
        let (status, answer) = rig.post("/o1/adapt", &adapt(actor), None).await;
        assert_eq!((status, actors.recv().unwrap().as_str()), (200, "ann"), "{answer}");
    }
    // Where nobody is asked for a token, the body has to say who it is.
    let open = Rig::silent();
    open.desk.take_event(&event("o1", OrderEventType::Released, None));
    let (status, problem) = open.post("/o1/adapt", &json!({ "reason": "news", "urgency": "HIGH" }), None).await;
    assert_eq!((status, &problem["fields"][0]["field"]), (400, &json!("actor")));
}

#[test]
fn it_does_not_listen_where_strangers_reach_it_unless_somebody_says_so() {
    let start = |listen: &str, access: Access| {
        let metrics = Metrics::new();
        let (desk, _queue) = Desk::new(&metrics);
        let listen = listen.parse().unwrap();
        let config = ApiConfig { listen, answer_timeout: PATIENCE, clickhouse: nowhere(), access };
        serve(config, desk, metrics, Health::new()).map(|server| server.address())
    };
    let refused = start("0.0.0.0:0", Access::Machine).unwrap_err().to_string();
    assert!(refused.contains("0.0.0.0:0") && refused.contains("api.token_file"), "{refused}");
    for (listen, access) in [("0.0.0.0:0", tokens()), ("0.0.0.0:0", Access::Anyone), ("127.0.0.1:0", Access::Machine)] {
        assert_ne!(start(listen, access).unwrap().port(), 0, "{listen}");
    }
}

#[tokio::test]
async fn health_is_that_of_the_process_and_names_nothing_in_it() {
    let rig = guarded(|_, _| {});
    let (status, problem) = rig.send(Method::GET, "/healthz", None, None).await;
    assert_eq!((status, &problem["code"]), (503, &json!("NOT_READY")));
    rig.health.set("part", Readiness::Ready);
    assert_eq!(rig.send(Method::GET, "/healthz", None, None).await, (200, json!({ "status": "READY" })));
    rig.health.set("secret-part", Readiness::Waiting("why".into()));
    let (status, problem) = rig.send(Method::GET, "/healthz", None, None).await;
    assert!(status == 503 && !problem.to_string().contains("secret-part"), "{problem}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let rig = Rig::start(nowhere(), |desk, said| {
        if let Said::Question(q) = said {
            desk.take_answer(&answer_to(&q));
        }
    });
    for _ in 0..2 {
        assert_eq!(rig.post("/recommend", &good(), None).await.0, 200);
    }
    rig.post("/recommend", &json!({}), None).await;
    rig.get("/o1/status").await;
    rig.get("/nothing/of/this").await;
    let recommend = format!("{BASE}/recommend");
    let status = format!("{BASE}/{{order_id}}/status");
    for (route, status, n) in [(&*recommend, 200, 2), (&*recommend, 400, 1), (&*status, 503, 1), ("other", 404, 1)] {
        counted(&rig, &format!("fillstream_api_requests_total{{route=\"{route}\",status=\"{status}\"}} {n}")).await;
    }
    counted(&rig, &format!("fillstream_api_request_seconds_count{{route=\"{BASE}/recommend\"}} 3")).await;
    counted(&rig, &format!("fillstream_api_request_seconds_bucket{{route=\"{BASE}/recommend\",le=\"10\"}} 3")).await;
    assert!(!rig.metrics.print().contains("o1"), "{}", rig.metrics.print());
}

async fn next(said: &Receiver<Said>) -> Said {
    loop {
        if let Ok(said) = said.try_recv() {
            return said;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn open_waits_and_late_answers_are_seen() {
    let (seen, said) = channel();
    let seen = Mutex::new(seen);
    let rig = Rig::start(nowhere(), move |_, said| seen.lock().unwrap().send(said).unwrap());
    rig.desk.take_event(&event("o1", OrderEventType::Released, None));
    counted(&rig, "fillstream_api_open_waits{kind=\"question\"} 0").await;
    counted(&rig, "fillstream_api_late_answers_total{kind=\"command\"} 0").await;
    let (question, body) = (good(), adapt(Some("ann")));
    let asked = async {
        let Said::Question(q) = next(&said).await else { panic!("no question") };
        counted(&rig, "fillstream_api_open_waits{kind=\"question\"} 1").await;
        q
    };
    let ((status, _), q) = tokio::join!(rig.post("/recommend", &question, None), asked);
    assert_eq!(status, 504);
    counted(&rig, "fillstream_api_open_waits{kind=\"question\"} 0").await;
    // Another service's answer is not late here; ours is, once.
    rig.desk.take_answer(&StrategyRecommendation { attempt_id: "elsewhere".into(), ..answer_to(&q) });
    counted(&rig, "fillstream_api_late_answers_total{kind=\"question\"} 0").await;
    for _ in 0..2 {
        rig.desk.take_answer(&answer_to(&q));
        counted(&rig, "fillstream_api_late_answers_total{kind=\"question\"} 1").await;
    }
    assert_eq!(rig.post("/o1/adapt", &body, Some("c-1")).await.0, 202);
    rig.desk.take_event(&event("o1", OrderEventType::Replaced, Some("c-1")));
    counted(&rig, "fillstream_api_late_answers_total{kind=\"command\"} 1").await;
}

/// Nothing is kept of a request whose sender went away.
#[tokio::test]
async fn a_sender_that_goes_away_leaves_no_wait() {
    let (seen, said) = channel();
    let seen = Mutex::new(seen);
    let rig = Rig::new(Access::Machine, Duration::from_secs(3_600), nowhere(), move |Outbound { said, written }, _| {
        let _ = written.send(Ok(()));
        seen.lock().unwrap().send(said).unwrap();
    });
    let request = rig.client.post(rig.url(&format!("{BASE}/recommend"))).body(good().to_string());
    let asked = async {
        next(&said).await;
        counted(&rig, "fillstream_api_open_waits{kind=\"question\"} 1").await;
    };
    // The request is dropped, and its connection with it, when the question has been asked.
    tokio::select! {
        answer = request.send() => panic!("{answer:?}"),
        () = asked => {}
    }
    counted(&rig, "fillstream_api_open_waits{kind=\"question\"} 0").await;
}
