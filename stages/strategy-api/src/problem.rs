//! What is told instead of an answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A field of a request, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldFault {
    pub field: String,
    pub problem: String,
}

impl FieldFault {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// The body of every answer that is no success.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldFault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), fields: Vec::new(), request_id: None }
    }

    /// Fields that are missing, unknown or wrong.
    pub(crate) fn of_fields(fields: Vec<FieldFault>) -> Self {
        let names: Vec<&str> = fields.iter().map(|f| f.field.as_str()).collect();
        let message = format!("invalid: {}", names.join(", "));
        Self { fields, ..Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message) }
    }

    pub(crate) fn no_order(order_id: &str) -> Self {
        let shown: String = order_id.chars().take(128).collect();
        Self::new(StatusCode::NOT_FOUND, "UNKNOWN_ORDER", format!("no order {shown:?}"))
    }

    /// The same, with the key under which it may be asked again.
    pub(crate) fn about(self, request_id: &str) -> Self {
        Self { request_id: Some(request_id.to_owned()), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self)).into_response()
    }
}
