//! From the bytes of a record to Avro in our own schema, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_schemas::{Schema, Transcoder, contract, wire};

use super::client::{RegistryError, SchemaRegistry};
use super::{state_subject, value_subject};

/// Time between two questions for an id to a registry that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// A value as read from a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Avro in our own schema.
    Ours(&'a [u8]),
    /// Avro of another writer's schema, written again in ours.
    Resolved(Vec<u8>),
    /// Not readable, now and for ever.
    Unreadable(Unreadable),
}

/// Why a value can never be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Closed reason code: `BAD_FRAME`, `UNKNOWN_SCHEMA_ID`, `INCOMPATIBLE_SCHEMA` or `DECODE`.
    pub code: &'static str,
    /// The error in words.
    pub text: String,
}

/// What a schema id means for a contract. Ids are never reused, so this holds for ever.
#[derive(Clone)]
enum Meaning {
    Same,
    Other(Arc<Transcoder>),
    Incompatible(String),
}

/// Reads and writes the wire format for one thread, with the meaning of every schema id that it has met.
pub struct Framing {
    registry: Arc<SchemaRegistry>,
    known: BTreeMap<(&'static str, u32), Meaning>,
    ids: BTreeMap<&'static str, BTreeMap<String, u32>>,
    value_ids: BTreeMap<(&'static str, &'static str), u32>,
    state_ids: BTreeMap<&'static str, u32>,
    /// Ids that the registry did not answer, since when, and what came instead.
    silent: BTreeMap<u32, (Instant, String)>,
}

impl Framing {
    /// Nothing met yet.
    #[must_use]
    pub fn new(registry: Arc<SchemaRegistry>) -> Self {
        let (known, ids) = (BTreeMap::new(), BTreeMap::new());
        Self { registry, known, ids, value_ids: BTreeMap::new(), state_ids: BTreeMap::new(), silent: BTreeMap::new() }
    }

    /// Reads a value whose contract has the full name `name`.
    ///
    /// # Errors
    /// [`RegistryError::Unreachable`]: not known now; ask again.
    pub fn read<'a>(&mut self, name: &'static str, value: &'a [u8]) -> Result<Frame<'a>, RegistryError> {
        let (id, record) = match wire::split(value) {
            Ok(parts) => parts,
            Err(e) => return Ok(unreadable("BAD_FRAME", e)),
        };
        let meaning = match self.known.get(&(name, id)) {
            Some(meaning) => meaning.clone(),
            None => match self.writer_schema(id) {
                Ok(schema) => {
                    let meaning = Self::meaning(name, &schema);
                    self.known.insert((name, id), meaning.clone());
                    meaning
                }
                Err(e @ RegistryError::UnknownId(_)) => return Ok(unreadable("UNKNOWN_SCHEMA_ID", e)),
                Err(e @ (RegistryError::Unreachable(_) | RegistryError::Refused { .. })) => return Err(e),
            },
        };
        Ok(match meaning {
            Meaning::Same => Frame::Ours(record),
            Meaning::Other(transcoder) => match transcoder.transcode(record) {
                Ok(ours) => Frame::Resolved(ours),
                Err(e) => unreadable("DECODE", e),
            },
            Meaning::Incompatible(text) => unreadable("INCOMPATIBLE_SCHEMA", text),
        })
    }

    /// Whether a value can be read without asking the registry.
    #[must_use]
    pub fn is_known(&self, name: &'static str, value: Option<&[u8]>) -> bool {
        value.and_then(|v| wire::split(v).ok()).is_none_or(|(id, _)| self.known.contains_key(&(name, id)))
    }

    // A question may take long, and is asked for every partition that waits for its answer.
    fn writer_schema(&mut self, id: u32) -> Result<Arc<str>, RegistryError> {
        if let Some((since, text)) = self.silent.get(&id)
            && since.elapsed() < PAUSE
        {
            return self.registry.known(id).ok_or_else(|| RegistryError::Unreachable(text.clone()));
        }
        self.silent.remove(&id);
        self.registry.by_id(id).inspect_err(|error| {
            if let RegistryError::Unreachable(text) = error {
                self.silent.insert(id, (Instant::now(), text.clone()));
            }
        })
    }

    /// Id of the contract `name` under `subject`, registering it the first time.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn id(&mut self, subject: &str, name: &'static str) -> Result<u32, RegistryError> {
        if let Some(id) = self.ids.get(name).and_then(|of_name| of_name.get(subject)) {
            return Ok(*id);
        }
        let schema = contract(name).map(|c| c.schema).ok_or_else(|| RegistryError::Refused {
            subject: subject.to_owned(),
            text: format!("{name} is no contract"),
        })?;
        let id = self.registry.register(subject, schema)?;
        self.ids.entry(name).or_default().insert(subject.to_owned(), id);
        Ok(id)
    }

    /// Id of the contract `name` for values of `topic`, as [`Self::id`] gives it; made for every record.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn value_id(&mut self, topic: &'static str, name: &'static str) -> Result<u32, RegistryError> {
        if let Some(id) = self.value_ids.get(&(topic, name)) {
            return Ok(*id);
        }
        let id = self.id(&value_subject(topic), name)?;
        self.value_ids.insert((topic, name), id);
        Ok(id)
    }

    /// Id of a contract of state or of the engine, under its own subject, as [`Self::id`] gives it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn state_id(&mut self, name: &'static str) -> Result<u32, RegistryError> {
        if let Some(id) = self.state_ids.get(name) {
            return Ok(*id);
        }
        let id = self.id(&state_subject(name), name)?;
        self.state_ids.insert(name, id);
        Ok(id)
    }

    fn meaning(name: &'static str, writer_schema: &str) -> Meaning {
        let found = || -> Result<Meaning, String> {
            let contract = contract(name).ok_or_else(|| format!("{name} is no contract"))?;
            let ours = contract.parsed().map_err(|e| e.to_string())?;
            if Schema::parse(writer_schema).map_err(|e| e.to_string())?.same(ours) {
                return Ok(Meaning::Same);
            }
            contract.transcoder(writer_schema).map(|t| Meaning::Other(Arc::new(t))).map_err(|e| e.to_string())
        };
        found().unwrap_or_else(Meaning::Incompatible)
    }
}

impl fmt::Debug for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framing").field("known", &self.known.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

fn unreadable(code: &'static str, text: impl fmt::Display) -> Frame<'static> {
    Frame::Unreadable(Unreadable { code, text: text.to_string() })
}

/// A value in the wire format.
#[must_use]
pub fn framed(id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wire::HEADER_LEN + payload.len());
    wire::frame(id, &mut out);
    out.extend_from_slice(payload);
    out
}
