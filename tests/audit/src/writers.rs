//! Whose schema a record was written with: the registry knows it by the id before the record.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fillstream_schemas::{Contract, Schema, Transcoder};
use serde::Deserialize;

use crate::error::AuditError;
use crate::http;

const NOT_FOUND: u16 = 404;

/// What an id means for a contract. Ids are never reused.
#[derive(Clone)]
enum Meaning {
    /// The contract's own schema, or nobody was asked.
    Own,
    /// An older or newer version of it, or another tool's way to write it.
    Other(Rc<Transcoder>),
    /// No record of it can be the contract's.
    None(String),
}

/// The writers' schemas that were met.
#[derive(Default)]
pub(crate) struct Writers {
    /// Base of the Confluent API; empty: records are taken for their contract's own.
    registry: String,
    known: RefCell<BTreeMap<(u32, &'static str), Meaning>>,
    others: Cell<u64>,
    failed: RefCell<Option<AuditError>>,
}

#[derive(Deserialize)]
struct Found {
    schema: String,
}

impl Writers {
    pub(crate) fn new(registry: Option<&str>) -> Self {
        Self { registry: registry.unwrap_or_default().trim_end_matches('/').to_owned(), ..Self::default() }
    }

    /// The record in the contract's own schema.
    ///
    /// # Errors
    /// Why it cannot be that. An answer that did not come is kept for [`Self::end`].
    pub(crate) fn own<'a>(
        &self,
        id: u32,
        contract: &'static Contract,
        record: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, String> {
        match self.meaning(id, contract) {
            Meaning::Own => Ok(Cow::Borrowed(record)),
            Meaning::Other(transcoder) => {
                self.others.set(self.others.get() + 1);
                transcoder.transcode(record).map(Cow::Owned).map_err(|e| e.to_string())
            }
            Meaning::None(why) => Err(why),
        }
    }

    /// Records that another version of their contract was written with.
    ///
    /// # Errors
    /// The registry did not answer.
    pub(crate) fn end(self) -> Result<u64, AuditError> {
        self.failed.into_inner().map_or_else(|| Ok(self.others.get()), Err)
    }

    fn meaning(&self, id: u32, contract: &'static Contract) -> Meaning {
        if self.registry.is_empty() {
            return Meaning::Own;
        }
        let key = (id, contract.full_name);
        if let Some(meaning) = self.known.borrow().get(&key) {
            return meaning.clone();
        }
        let meaning = match self.schema(id) {
            Ok(Some(schema)) => told(&schema, contract).unwrap_or_else(Meaning::None),
            Ok(None) => Meaning::None(format!("the registry has no schema with id {id}")),
            Err(error) => {
                let why = error.to_string();
                self.failed.borrow_mut().get_or_insert(error);
                Meaning::None(why)
            }
        };
        self.known.borrow_mut().insert(key, meaning.clone());
        meaning
    }

    /// `None`: the registry says that there is none. Records are read on the runtime of the caller, so this has its own.
    fn schema(&self, id: u32) -> Result<Option<String>, AuditError> {
        let url = format!("{}/schemas/ids/{id}", self.registry);
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(AuditError::Runtime)?.block_on(http::small(&url))
        };
        let answer = std::thread::scope(|scope| scope.spawn(ask).join());
        match answer {
            Ok(Ok(text)) => match serde_json::from_str::<Found>(&text) {
                Ok(found) => Ok(Some(found.schema)),
                Err(e) => Err(AuditError::Malformed { url, problem: e.to_string() }),
            },
            Ok(Err(AuditError::Refused { status: NOT_FOUND, .. })) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(AuditError::Malformed { url, problem: "asking ended in a panic".to_owned() }),
        }
    }
}

fn told(schema: &str, contract: &'static Contract) -> Result<Meaning, String> {
    let own = contract.parsed().map_err(|e| e.to_string())?;
    if Schema::parse(schema).map_err(|e| e.to_string())?.same(own) {
        return Ok(Meaning::Own);
    }
    let transcoder = contract.transcoder(schema).map_err(|e| e.to_string())?;
    Ok(Meaning::Other(Rc::new(transcoder)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use fillstream_schemas::codec::AvroRecord as _;
    use fillstream_schemas::contract;
    use fillstream_schemas::execution::Command;

    use super::*;

    /// A registry over HTTP that knows the schemas of ids from 1 on; ends with the test.
    fn registry(schemas: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/apis", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 2_048];
                let n = stream.read(&mut request).unwrap();
                let line = String::from_utf8_lossy(&request[..n]).into_owned();
                let id: usize = line.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().parse().unwrap();
                let (status, body) = match schemas.get(id.wrapping_sub(1)) {
                    Some(schema) => ("200 OK", serde_json::json!({ "schema": schema }).to_string()),
                    None => ("404 Not Found", "{}".to_owned()),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        url
    }

    #[test]
    fn a_newer_version_is_read_as_the_contract_and_an_unknown_one_is_not_read() {
        let contract = contract(Command::FULL_NAME).unwrap();
        let mut newer: serde_json::Value = serde_json::from_str(contract.schema).unwrap();
        let field = serde_json::json!({ "name": "note", "type": ["null", "string"], "default": null });
        newer["fields"].as_array_mut().unwrap().push(field);
        let url = registry(vec![contract.schema.to_owned(), newer.to_string(), r#""string""#.to_owned()]);
        let command = Command { command_id: "C1".into(), actor: "ann".into(), ..Command::default() };
        let old = command.to_bytes();
        let new = [old.as_slice(), b"\x02\x04hi"].concat();
        let writers = Writers::new(Some(&url));
        let own = |id, bytes: &[u8]| writers.own(id, contract, bytes).map(Cow::into_owned);
        assert_eq!(own(1, &old).unwrap(), old);
        assert_eq!(own(2, &new).unwrap(), old, "the added field is left out");
        assert!(own(2, &old).is_err(), "it is not of that version");
        assert!(own(3, &old).is_err(), "no record");
        assert!(own(4, &old).unwrap_err().contains("no schema with id 4"));
        assert_eq!(writers.end().unwrap(), 2, "one of them was read");
        assert!(Command::decode(&new).is_err(), "the contract alone does not read it");
    }

    #[test]
    fn a_registry_that_does_not_answer_is_no_verdict() {
        let contract = contract(Command::FULL_NAME).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let writers = Writers::new(Some(&format!("http://127.0.0.1:{port}")));
        assert!(writers.own(1, contract, b"").is_err());
        assert!(matches!(writers.end(), Err(AuditError::Http { .. })));
        assert_eq!(Writers::new(None).own(1, contract, b"x").unwrap(), b"x".as_slice(), "nobody is asked");
    }
}
