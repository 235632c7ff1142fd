//! The routes of `PROTOCOL.md`.

use crate::journal::read_lines;
use crate::request::{Refusal, RefusalCode};
use crate::server::{Answer, Ask, Command, SessionLog, Shared};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Close code of a connection that a newer one replaced.
const REPLACED: u16 = 4001;
/// Close code of a server that stops.
const GOING_AWAY: u16 = 1001;
/// Most reports taken from the log at a time.
const CHUNK: usize = 256;
/// Most journal lines in an answer.
const MOST_LINES: usize = 10_000;

pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/sessions/{session}/orders", post(place))
        .route("/v1/sessions/{session}/orders/{id}", get(status))
        .route("/v1/sessions/{session}/orders/{id}/cancel", post(cancel))
        .route("/v1/sessions/{session}/reports", get(reports))
        .route("/v1/clock", get(show_clock).post(advance))
        .route("/v1/health", get(health))
        .route("/v1/journal", get(journal))
        .with_state(shared)
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response()
    }
}

async fn ask(shared: Shared, ask: Ask) -> Answer {
    let (reply, answer) = oneshot::channel();
    if shared.commands.send(Command { ask, reply }).await.is_ok()
        && let Ok(answer) = answer.await
    {
        return answer;
    }
    Answer::refused(&Refusal::new(RefusalCode::ShuttingDown, "the venue is stopping"))
}

async fn place(State(shared): State<Shared>, Path(session): Path<String>, body: Bytes) -> Answer {
    ask(shared, Ask::Order { session, body: body.to_vec() }).await
}

async fn cancel(State(shared): State<Shared>, Path((session, order)): Path<(String, String)>, body: Bytes) -> Answer {
    ask(shared, Ask::Cancel { session, order, body: body.to_vec() }).await
}

async fn status(State(shared): State<Shared>, Path((session, id)): Path<(String, String)>) -> Answer {
    ask(shared, Ask::Status { session, id }).await
}

async fn advance(State(shared): State<Shared>, body: Bytes) -> Answer {
    ask(shared, Ask::Advance { body: body.to_vec() }).await
}

async fn show_clock(State(shared): State<Shared>) -> Answer {
    ask(shared, Ask::Clock).await
}

async fn health(State(shared): State<Shared>) -> Answer {
    ask(shared, Ask::Health).await
}

#[derive(Deserialize)]
struct JournalQuery {
    #[serde(default)]
    from: u64,
    #[serde(default)]
    limit: Option<usize>,
}

async fn journal(State(shared): State<Shared>, Query(query): Query<JournalQuery>) -> Response {
    let limit = query.limit.unwrap_or(MOST_LINES).min(MOST_LINES);
    let read = move || read_lines(&shared.journal, &shared.offsets, query.from, limit);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(lines)) => ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
        Ok(Err(_)) | Err(_) => {
            let refusal = Refusal::new(RefusalCode::JournalFailed, "the journal cannot be read");
            Answer::refused(&refusal).into_response()
        }
    }
}

#[derive(Deserialize)]
struct ReportsQuery {
    #[serde(default = "first_seq")]
    from_seq: u64,
}

const fn first_seq() -> u64 {
    1
}

async fn reports(
    State(shared): State<Shared>,
    Path(session): Path<String>,
    Query(query): Query<ReportsQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(log) = shared.logs.get(&session).map(Arc::clone) else {
        return Answer::refused(&Refusal::unknown_session(&session)).into_response();
    };
    let (from, last_seq) = (query.from_seq.max(1), log.last_seq());
    if from > last_seq + 1 {
        let refusal = Refusal {
            last_seq: Some(last_seq),
            ..Refusal::new(RefusalCode::SeqTooHigh, format!("the last report of the session is {last_seq}"))
        };
        return Answer::refused(&refusal).into_response();
    }
    let stopping = shared.stopping.clone();
    // The state's sender must not live as long as the socket: the worker ends with the last one.
    drop(shared);
    upgrade.on_upgrade(move |socket| stream(socket, log, from, stopping))
}

/// Why a stream of reports ends.
enum End {
    Replaced,
    Stopping,
    ClientGone,
}

/// Sends the session's reports from `next` on, until the client, a newer client or the venue ends it.
async fn stream(mut socket: WebSocket, log: Arc<SessionLog>, next: u64, stopping: watch::Receiver<bool>) {
    let (code, reason) = match send_reports(&mut socket, &log, next, stopping).await {
        End::Replaced => (REPLACED, "replaced"),
        End::Stopping => (GOING_AWAY, "stopping"),
        End::ClientGone => return,
    };
    // The client may be gone already.
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}

async fn send_reports(
    socket: &mut WebSocket,
    log: &SessionLog,
    mut next: u64,
    mut stopping: watch::Receiver<bool>,
) -> End {
    let (number, mut logon) = log.log_on();
    let mut published = log.watch();
    loop {
        for report in log.from(next, CHUNK) {
            tokio::select! {
                biased;
                _ = logon.wait_for(|current| *current != number) => return End::Replaced,
                sent = socket.send(Message::Text(Utf8Bytes::from(&*report))) => if sent.is_err() {
                    return End::ClientGone;
                },
            }
            next += 1;
        }
        tokio::select! {
            _ = logon.wait_for(|current| *current != number) => return End::Replaced,
            _ = stopping.wait_for(|stopping| *stopping) => return End::Stopping,
            _ = published.wait_for(|last| *last >= next) => {},
            message = socket.recv() => match message {
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {},
                Some(Ok(Message::Close(_)) | Err(_)) | None => return End::ClientGone,
            },
        }
    }
}
