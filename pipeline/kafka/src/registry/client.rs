//! A caching client of a schema registry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::Duration;

use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id, post_schema};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SuppliedSchema};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

/// Times a question is asked within the wait.
const ATTEMPTS: u32 = 2;

/// How to reach the registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Base address of the Confluent API.
    pub url: String,
    /// Longest wait for an answer, milliseconds. Half of it without one, and the question is asked again on another
    /// connection: a registry may lose a request (Apicurio 3.3.3 does, about one connection in 50,000).
    pub timeout_ms: u64,
    /// User of basic authentication.
    pub user: Option<String>,
    /// Password of basic authentication. Never printed.
    #[serde(skip_serializing)]
    pub password: Option<String>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { url: "http://localhost:8081".into(), timeout_ms: 10_000, user: None, password: None }
    }
}

impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfig")
            .field("url", &self.url)
            .field("timeout_ms", &self.timeout_ms)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}

impl RegistryConfig {
    /// Of the registry at `url`, everything else as by default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// An answer that is no schema.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// The registry says that there is no such id.
    #[error("the registry has no schema with id {0}")]
    UnknownId(u32),
    /// The registry refuses the schema.
    #[error("the registry refuses the schema of {subject}: {text}")]
    Refused {
        /// Subject.
        subject: String,
        /// Its words.
        text: String,
    },
    /// Nothing that could be called an answer.
    #[error("the schema registry did not answer: {0}")]
    Unreachable(String),
}

/// A caching client of a schema registry; its calls block, and may come from any thread.
pub struct SchemaRegistry {
    settings: SrSettings,
    // Always there; an option only so that it can be given up when the client is dropped.
    runtime: Option<Runtime>,
    timeout: Duration,
    by_id: RwLock<BTreeMap<u32, Arc<str>>>,
    // (subject, schema) -> id
    registered: RwLock<BTreeMap<(String, Arc<str>), u32>>,
}

impl SchemaRegistry {
    /// A client of the registry in `config`.
    ///
    /// # Errors
    /// [`RegistryError::Unreachable`] when no client can be made.
    pub fn new(config: &RegistryConfig) -> Result<Arc<Self>, RegistryError> {
        let unusable = |e: &dyn fmt::Display| RegistryError::Unreachable(e.to_string());
        let timeout = Duration::from_millis(config.timeout_ms);
        let mut builder = SrSettings::new_builder(config.url.trim_end_matches('/').to_owned());
        builder.set_timeout(timeout.checked_div(ATTEMPTS).unwrap_or(timeout));
        if let Some(user) = &config.user {
            builder.set_basic_authorization(user, config.password.as_deref());
        }
        let settings = builder.build().map_err(|e| unusable(&e))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("schema-registry")
            .enable_all()
            .build()
            .map_err(|e| unusable(&e))?;
        Ok(Arc::new(Self {
            settings,
            runtime: Some(runtime),
            timeout,
            by_id: RwLock::default(),
            registered: RwLock::default(),
        }))
    }

    /// Registers a schema under a subject; the same schema again gets the same id.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] when it is incompatible or no schema, [`RegistryError::Unreachable`].
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let key = (subject.to_owned(), Arc::from(schema));
        if let Some(id) = self.registered.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(*id);
        }
        let (settings, name) = (self.settings.clone(), subject.to_owned());
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
        let answer = self.ask(move || {
            let (settings, name, supplied) = (settings.clone(), name.clone(), supplied.clone());
            async move { post_schema(&settings, name, supplied).await }
        })?;
        let id = answer.map_err(|e| match error_code(&e) {
            Some(code) if (400..500).contains(&http_status(code)) => {
                RegistryError::Refused { subject: subject.to_owned(), text: words(&e) }
            }
            Some(_) | None => RegistryError::Unreachable(words(&e)),
        })?;
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(id.id, Arc::clone(&key.1));
        self.registered.write().unwrap_or_else(PoisonError::into_inner).insert(key, id.id);
        Ok(id.id)
    }

    /// The schema with an id, where it was asked for before.
    #[must_use]
    pub fn known(&self, id: u32) -> Option<Arc<str>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The schema with an id. Ids are never reused, so an answer holds for ever.
    ///
    /// # Errors
    /// [`RegistryError::UnknownId`] only when the registry itself says so; [`RegistryError::Unreachable`].
    pub fn by_id(&self, id: u32) -> Result<Arc<str>, RegistryError> {
        if let Some(schema) = self.known(id) {
            return Ok(schema);
        }
        let settings = self.settings.clone();
        let answer = self.ask(move || {
            let settings = settings.clone();
            async move { get_schema_by_id(id, &settings).await }
        })?;
        let found = answer.map_err(|e| match error_code(&e) {
            Some(code) if http_status(code) == 404 => RegistryError::UnknownId(id),
            Some(_) | None => RegistryError::Unreachable(words(&e)),
        })?;
        let schema: Arc<str> = Arc::from(found.schema);
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    /// Any question may be asked twice: what is registered already is only told again.
    fn ask<T, Q, F>(&self, question: Q) -> Result<Result<T, SRCError>, RegistryError>
    where
        T: Send + 'static,
        Q: Fn() -> F + Send + 'static,
        F: Future<Output = Result<T, SRCError>> + Send + 'static,
    {
        let (answer, wait) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                let mut told = question().await;
                for _ in 1..ATTEMPTS {
                    if !told.as_ref().is_err_and(timed_out) {
                        break;
                    }
                    told = question().await;
                }
                // The asker may have given up.
                let _ = answer.send(told);
            });
        }
        wait.recv_timeout(self.timeout.saturating_mul(2))
            .map_err(|_| RegistryError::Unreachable(format!("no answer in {:?}", self.timeout)))
    }
}

impl Drop for SchemaRegistry {
    fn drop(&mut self) {
        // A plain drop waits for its threads, which is forbidden inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry").finish_non_exhaustive()
    }
}

fn timed_out(error: &SRCError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The registry's own code, only there when the registry itself answered: a proxy's error page is none.
fn error_code(error: &SRCError) -> Option<u32> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(raw) = cause.downcast_ref::<RawError>() {
            return (raw.error_code != 0).then_some(raw.error_code);
        }
        source = cause.source();
    }
    None
}

/// Codes are HTTP's own, or those with two more digits.
fn http_status(code: u32) -> u32 {
    if code >= 10_000 { code / 100 } else { code }
}

fn words(error: &SRCError) -> String {
    match &error.cause {
        Some(cause) => format!("{}: {cause}", error.error),
        None => error.error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers each request with the next of `answers` (status line and body).
    fn server(answers: Vec<(&'static str, &'static str)>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0u8; 4096];
                let _ = stream.read(&mut request).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(body.as_bytes()).unwrap();
            }
        });
        (url, asked)
    }

    const SCHEMA: &str = r#"{"schema":"{\"type\":\"string\"}"}"#;

    #[test]
    fn only_the_registrys_own_404_makes_an_id_unknown_and_no_error_is_remembered() {
        let (url, asked) = server(vec![
            ("502 Bad Gateway", "<html>"),
            ("404 Not Found", "<html>not found</html>"),
            ("500 Internal Server Error", r#"{"error_code":50001,"message":"store"}"#),
            ("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#),
            ("200 OK", SCHEMA),
        ]);
        let registry = SchemaRegistry::new(&RegistryConfig::new(url)).unwrap();
        for _ in 0..3 {
            assert!(matches!(registry.by_id(7), Err(RegistryError::Unreachable(_))));
        }
        assert_eq!(registry.by_id(7), Err(RegistryError::UnknownId(7)));
        for _ in 0..3 {
            assert_eq!(&*registry.by_id(7).unwrap(), r#"{"type":"string"}"#);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 5, "an answer is kept, an error is not");
    }

    #[test]
    fn a_lost_request_is_made_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (_lost, _) = listener.accept().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0u8; 4096];
            let _ = stream.read(&mut request).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{SCHEMA}", SCHEMA.len());
            stream.write_all(head.as_bytes()).unwrap();
        });
        let config = RegistryConfig { timeout_ms: 1_000, ..RegistryConfig::new(url) };
        let registry = SchemaRegistry::new(&config).unwrap();
        assert_eq!(&*registry.by_id(7).unwrap(), r#"{"type":"string"}"#);
    }

    #[test]
    fn nobody_listening_is_unreachable() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let registry = SchemaRegistry::new(&RegistryConfig::new(format!("http://{closed}"))).unwrap();
        assert!(matches!(registry.by_id(1), Err(RegistryError::Unreachable(_))));
        assert!(matches!(registry.register("s", "{}"), Err(RegistryError::Unreachable(_))));
    }

    #[test]
    fn a_refused_schema_is_told_from_silence() {
        let (url, _) = server(vec![("409 Conflict", r#"{"error_code":409,"message":"incompatible"}"#)]);
        let registry = SchemaRegistry::new(&RegistryConfig::new(url)).unwrap();
        assert!(matches!(registry.register("s", "{}"), Err(RegistryError::Refused { .. })));
    }

    #[test]
    fn passwords_are_not_printed() {
        let config = RegistryConfig { password: Some("hunter2".into()), ..RegistryConfig::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
