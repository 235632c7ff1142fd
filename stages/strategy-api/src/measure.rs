//! What an operator sees of the service.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use fillstream_kafka::observe::{Counter, Gauge, Metric, Metrics};

use crate::api::{ROUTES, Shared};

/// Requests without an answer that are remembered, so that a late one is known as such.
const KEPT: usize = 10_000;

/// Counts a request and its time.
pub(crate) async fn measured(State(service): State<Shared>, request: Request, next: Next) -> Response {
    let (route, begun) = (route_of(request.uri().path()), Instant::now());
    let answer = next.run(request).await;
    let status = answer.status();
    service.metrics.counter(Metric::ApiRequests, &[("route", route), ("status", status.as_str())]).add(1);
    service.metrics.histogram(Metric::ApiRequestSeconds, &[("route", route)]).observe(begun.elapsed());
    answer
}

/// The route of a path as the OpenAPI document has it; "other" for what is none of them, so that no sender makes labels.
fn route_of(path: &str) -> &'static str {
    let fits = |template: &str| {
        let (wanted, given) = (template.split('/'), path.split('/'));
        wanted.clone().count() == given.clone().count()
            && wanted.zip(given).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
    };
    ROUTES.iter().find(|(_, template)| fits(template)).map_or("other", |(_, template)| template)
}

/// Waits for answers of one kind.
#[derive(Debug)]
pub(crate) struct Waits {
    open: Gauge,
    late: Counter,
    given_up: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Waits {
    pub(crate) fn new(metrics: &Metrics, kind: &'static str) -> Self {
        let labels = [("kind", kind)];
        let (open, late) =
            (metrics.gauge(Metric::ApiOpenWaits, &labels), metrics.counter(Metric::ApiLateAnswers, &labels));
        Self { open, late, given_up: BTreeSet::new(), order: VecDeque::new() }
    }

    /// So many ids are waited for.
    pub(crate) fn open(&self, ids: usize) {
        self.open.set(i64::try_from(ids).unwrap_or(i64::MAX));
    }

    /// Nobody waits for it any more.
    pub(crate) fn given_up(&mut self, id: String) {
        if self.given_up.insert(id.clone()) {
            self.order.push_back(id);
        }
        while self.order.len() > KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.given_up.remove(&oldest);
            }
        }
    }

    /// An answer came: late where its request was given up here, and of no concern where another service asked.
    pub(crate) fn answered(&mut self, id: &str) {
        if self.given_up.remove(id) {
            self.order.retain(|other| other != id);
            self.late.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_under_its_route_and_a_strange_one_under_none() {
        let base = "/api/v1/execution-strategy";
        assert_eq!(route_of(&format!("{base}/recommend")), ROUTES[0].1);
        assert_eq!(route_of(&format!("{base}/o%2F1/status")), ROUTES[1].1);
        assert_eq!(route_of(&format!("{base}/o1/adapt")), ROUTES[2].1);
        assert_eq!(route_of(&format!("{base}/performance")), ROUTES[3].1);
        for path in ["/docs", "/", "", "/api/v1/execution-strategy/a/b/status", "/api/v1/execution-strategy/recommend/"]
        {
            assert_eq!(route_of(path), "other", "{path}");
        }
    }

    #[test]
    fn only_what_was_given_up_here_is_late_once_and_no_more_is_kept_than_said() {
        let metrics = Metrics::new();
        let mut waits = Waits::new(&metrics, "question");
        waits.answered("elsewhere");
        for n in 0..=KEPT {
            waits.given_up(format!("q{n}"));
            waits.given_up(format!("q{n}"));
        }
        assert_eq!((waits.given_up.len(), waits.order.len()), (KEPT, KEPT));
        for id in ["q0", "q1", "q1", "q2"] {
            waits.answered(id);
        }
        assert_eq!((waits.late.get(), waits.order.len()), (2, KEPT - 2));
    }
}
