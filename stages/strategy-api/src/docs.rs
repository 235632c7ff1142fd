//! The OpenAPI document and Swagger UI, both part of the program: the page needs no other server.

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};

use crate::problem::Problem;

/// The OpenAPI document.
pub const OPENAPI: &str = include_str!("../openapi.json");

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/openapi.json", get(document)).route("/docs", get(page)).route("/docs/{file}", get(file))
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn page() -> Response {
    let mut ui = SwaggerUi::new();
    ui.title("fillstream: execution strategies").config().urls(["/openapi.json"]);
    for file in SwaggerUiStaticFile::all() {
        ui.override_file_path(*file, format!("/docs/{}", file.file_name()));
    }
    match ui.serve() {
        Ok(html) => Html(html).into_response(),
        Err(e) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "NO_PAGE", e.to_string()).into_response(),
    }
}

async fn file(Path(name): Path<String>) -> Response {
    let found = SwaggerUi::static_files().iter().find(|(file, _)| file.file_name() == name);
    let Some((_, bytes)) = found else {
        return Problem::new(StatusCode::NOT_FOUND, "UNKNOWN_PATH", "no such file").into_response();
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    };
    ([(header::CONTENT_TYPE, kind)], *bytes).into_response()
}
