//! Brokers with order entry and status over HTTP with JSON, and reports over a WebSocket.
//!
//! It speaks the protocol of the simulated venue: `POST {url}/v1/sessions/{session}/orders`, `POST .../orders/{id}/cancel`,
//! `GET .../orders/{id}` and the WebSocket `.../reports?from_seq=N`. A later broker of this kind needs its own paths and
//! names of fields; how answers are judged stays: the HTTP status and the code in the body decide, never the words, and a
//! body without a code (a proxy's page) says nothing.

use std::time::Duration;

use fillstream_domain::{AvgPrice, ExecType, LiquidityFlag, Money, OrdStatus, Price, Quantity, TimestampMicros};
use fillstream_domain::{OrdType, Side, TimeInForce};
use fillstream_schemas::execution::{ChildAction, Intent};
use futures_util::StreamExt;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::{BrokerAdapter, BrokerReport, Inbox, OrderStatus, SendOutcome, StatusOutcome, StreamEnd};

/// The close code of a connection that a newer one of the session replaced.
const REPLACED: u16 = 4001;

/// An adapter cannot be made.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct AdapterError(String);

/// A session with a broker that speaks REST and WebSocket.
#[derive(Clone, Debug)]
pub struct RestWsAdapter {
    client: Client,
    base: Url,
    session: String,
    answer_within: Duration,
}

#[derive(Serialize)]
struct OrderBody<'a> {
    client_order_id: &'a str,
    account_id: &'a str,
    instrument_id: &'a str,
    venue: &'a str,
    side: Side,
    ord_type: OrdType,
    quantity: Quantity,
    limit_price: Option<Price>,
    time_in_force: TimeInForce,
    expire_at: Option<i64>,
    sent_at: i64,
}

#[derive(Serialize)]
struct CancelBody<'a> {
    client_order_id: &'a str,
    sent_at: i64,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    last_seq: Option<i64>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "UPPERCASE")]
enum StatusBody {
    Order { ord_status: OrdStatus, cum_qty: Quantity, last_seq: i64 },
    Cancel {},
}

#[derive(Deserialize)]
struct ReportBody {
    seq: i64,
    exec_id: String,
    ref_exec_id: Option<String>,
    cl_ord_id: String,
    orig_cl_ord_id: Option<String>,
    exec_type: ExecType,
    ord_status: OrdStatus,
    ord_qty: Quantity,
    last_qty: Option<Quantity>,
    last_px: Option<Price>,
    cum_qty: Quantity,
    leaves_qty: Quantity,
    avg_px: Option<AvgPrice>,
    fee: Option<Money>,
    fee_currency: Option<String>,
    liquidity: LiquidityFlag,
    transact_at: i64,
    reject_code: Option<String>,
    text: Option<String>,
}

impl From<ReportBody> for BrokerReport {
    fn from(body: ReportBody) -> Self {
        Self {
            seq: body.seq,
            exec_id: body.exec_id,
            ref_exec_id: body.ref_exec_id,
            cl_ord_id: body.cl_ord_id,
            orig_cl_ord_id: body.orig_cl_ord_id,
            exec_type: body.exec_type,
            ord_status: body.ord_status,
            ord_qty: body.ord_qty,
            last_qty: body.last_qty,
            last_px: body.last_px,
            cum_qty: body.cum_qty,
            leaves_qty: body.leaves_qty,
            avg_px: body.avg_px,
            fee: body.fee,
            fee_currency: body.fee_currency,
            liquidity: body.liquidity,
            transact_at: TimestampMicros::from_micros(body.transact_at),
            reject_code: body.reject_code,
            text: body.text,
        }
    }
}

impl RestWsAdapter {
    /// Of `session` at the API under `url`; an answer may take `answer_within`.
    ///
    /// # Errors
    /// The address is none, or no HTTP client can be made.
    pub fn new(session: &str, url: &str, answer_within: Duration) -> Result<Self, AdapterError> {
        let base = Url::parse(url).map_err(|e| AdapterError(format!("{url:?}: {e}")))?;
        if base.cannot_be_a_base() {
            return Err(AdapterError(format!("{url:?} is no address")));
        }
        // A proxy would answer in the broker's place. Redirects would send an order twice.
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(answer_within)
            .build()
            .map_err(|e| AdapterError(e.to_string()))?;
        Ok(Self { client, base, session: session.to_owned(), answer_within })
    }

    /// `{url}/v1/sessions/{session}/...`, each part escaped.
    fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v1", "sessions", &self.session]).extend(parts);
        }
        url
    }

    fn request(&self, intent: &Intent) -> reqwest::RequestBuilder {
        let child = &intent.child;
        let (id, sent_at) = (child.cl_ord_id.as_str(), intent.timestamp.micros());
        match child.action {
            ChildAction::New => self.client.post(self.url(&["orders"])).json(&OrderBody {
                client_order_id: id,
                account_id: &child.account_id,
                instrument_id: &child.instrument_id,
                venue: &child.venue,
                side: child.side,
                ord_type: child.ord_type,
                quantity: child.quantity,
                limit_price: child.limit_price,
                time_in_force: child.time_in_force,
                expire_at: match child.time_in_force {
                    TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd => Some(child.expire_at.micros()),
                    TimeInForce::Ioc | TimeInForce::Fok => None,
                },
                sent_at,
            }),
            ChildAction::Cancel | ChildAction::Replace => {
                let order = child.orig_cl_ord_id.as_deref().unwrap_or_default();
                let body = CancelBody { client_order_id: id, sent_at };
                self.client.post(self.url(&["orders", order, "cancel"])).json(&body)
            }
        }
    }

    fn stream_url(&self, from_seq: i64) -> Result<Url, String> {
        let mut url = self.url(&["reports"]);
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| format!("{url} cannot become a WebSocket address"))?;
        url.set_query(Some(&format!("from_seq={from_seq}")));
        Ok(url)
    }
}

fn uncertain(text: impl ToString) -> SendOutcome {
    SendOutcome::Uncertain { text: text.to_string() }
}

async fn judge(response: Response) -> SendOutcome {
    let status = response.status();
    if status == StatusCode::ACCEPTED {
        return SendOutcome::Received;
    }
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(error) => return uncertain(error),
    };
    match serde_json::from_slice::<RefusalBody>(&body) {
        // The id is taken: by an earlier attempt of this very intent, because ids are never used for anything else.
        Ok(refusal) if status == StatusCode::CONFLICT && refusal.code == "DUPLICATE_CLORDID" => SendOutcome::Received,
        Ok(refusal) if status.is_client_error() => SendOutcome::Refused { code: refusal.code, text: refusal.message },
        Ok(refusal) => uncertain(format!("{status}: {}", refusal.code)),
        Err(_) => uncertain(format!("{status} without a code")),
    }
}

impl BrokerAdapter for RestWsAdapter {
    async fn send(&self, intent: &Intent, within: Duration) -> SendOutcome {
        if intent.child.action == ChildAction::Replace {
            return SendOutcome::NotSent { text: "this adapter has no replace".to_owned() };
        }
        let request = self.request(intent).timeout(within.min(self.answer_within));
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) if error.is_connect() || error.is_builder() => SendOutcome::NotSent { text: error.to_string() },
            Err(error) => uncertain(error),
        }
    }

    async fn status(&self, cl_ord_id: &str) -> StatusOutcome {
        let no_answer = |text: String| StatusOutcome::NoAnswer { text };
        let response = match self.client.get(self.url(&["orders", cl_ord_id])).send().await {
            Ok(response) => response,
            Err(error) => return no_answer(error.to_string()),
        };
        let status = response.status();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return no_answer(error.to_string()),
        };
        if status == StatusCode::OK {
            return match serde_json::from_slice(&body) {
                Ok(StatusBody::Order { ord_status, cum_qty, last_seq }) => {
                    StatusOutcome::Known(OrderStatus { ord_status: Some(ord_status), cum_qty, last_seq })
                }
                Ok(StatusBody::Cancel {}) => {
                    StatusOutcome::Known(OrderStatus { ord_status: None, cum_qty: Quantity::ZERO, last_seq: 0 })
                }
                Err(error) => no_answer(error.to_string()),
            };
        }
        match serde_json::from_slice::<RefusalBody>(&body) {
            Ok(refusal) if status == StatusCode::NOT_FOUND && refusal.code == "UNKNOWN_ORDER" => {
                StatusOutcome::NotFound
            }
            Ok(refusal) => no_answer(format!("{status}: {}", refusal.code)),
            Err(_) => no_answer(format!("{status} without a code")),
        }
    }

    async fn reports(&self, next: &mut i64, into: &Inbox) -> StreamEnd {
        let closed = |text: String| StreamEnd::Closed { text };
        let url = match self.stream_url(*next) {
            Ok(url) => url,
            Err(text) => return closed(text),
        };
        let mut stream = match tokio::time::timeout(self.answer_within, connect_async(url.as_str())).await {
            Err(_) => return closed("no answer to the upgrade".to_owned()),
            Ok(Ok((stream, _))) => stream,
            Ok(Err(error)) => return too_far(&error).unwrap_or_else(|| closed(error.to_string())),
        };
        into.opened();
        loop {
            let text = match stream.next().await {
                None => return closed("the stream ended".to_owned()),
                Some(Err(error)) => return closed(error.to_string()),
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map(|f| u16::from(f.code));
                    return if code == Some(REPLACED) { StreamEnd::Replaced } else { closed(format!("{frame:?}")) };
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            };
            let report = match serde_json::from_str::<ReportBody>(text.as_str()) {
                Ok(body) => BrokerReport::from(body),
                Err(error) => return StreamEnd::Malformed { text: error.to_string() },
            };
            let seq = report.seq;
            if !into.put(report).await {
                return StreamEnd::Unwanted;
            }
            *next = seq.saturating_add(1);
        }
    }
}

/// The broker's refusal of a stream that starts beyond its last report.
fn too_far(error: &WsError) -> Option<StreamEnd> {
    let WsError::Http(response) = error else { return None };
    let body: RefusalBody = serde_json::from_slice(response.body().as_deref()?).ok()?;
    (body.code == "SEQ_TOO_HIGH").then_some(StreamEnd::TooFar { last_seq: body.last_seq? })
}

#[cfg(test)]
mod tests;
