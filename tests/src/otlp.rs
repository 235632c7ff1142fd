//! A collector: takes spans by OTLP over HTTP, as protobuf, with a reader of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::HarnessError;

/// A span as it came.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// `service.name`.
    pub service: String,
    /// Trace id, hex.
    pub trace: String,
    /// Span id, hex.
    pub id: String,
    /// Parent's span id, hex; empty: none.
    pub parent: String,
    /// Name.
    pub name: String,
    /// Start and end, nanoseconds since 1970.
    pub times: (u64, u64),
    /// Attributes with a text.
    pub texts: BTreeMap<String, String>,
    /// Code of the status: 2 is an error.
    pub status: u64,
}

/// A collector at work.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    taken: Arc<Mutex<Vec<Result<Span, String>>>>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// None is to be had.
    pub fn start() -> Result<Self, HarnessError> {
        let failed = || HarnessError::io("the collector's socket");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed())?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(failed())?);
        let taken = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let to = Arc::clone(&to);
                std::thread::spawn(move || serve(stream, &to));
            }
        });
        Ok(Self { endpoint, taken })
    }

    /// Where spans go.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Every span taken so far.
    ///
    /// # Errors
    /// A request was no request for spans.
    pub fn spans(&self) -> Result<Vec<Span>, HarnessError> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().cloned().collect::<Result<_, _>>().map_err(|problem| HarnessError::Failed {
            command: "spans".to_owned(),
            problem,
            said: String::new(),
        })
    }
}

fn serve(stream: TcpStream, to: &Mutex<Vec<Result<Span, String>>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some((line, body))) = request(&mut stream) {
        let spans = if line.starts_with("POST /v1/traces ") {
            spans(&body).ok_or_else(|| format!("{} bytes that are no ExportTraceServiceRequest", body.len()))
        } else {
            Err(line)
        };
        let mut taken = to.lock().unwrap_or_else(PoisonError::into_inner);
        match spans {
            Ok(spans) => taken.extend(spans.into_iter().map(Ok)),
            Err(problem) => taken.push(Err(problem)),
        }
        drop(taken);
        if stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn request(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let (mut length, mut header) = (0, String::new());
    while stream.read_line(&mut header)? > 2 {
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        header.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((line, body)))
}

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => &[],
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(n) => *n,
            Self::Bytes(_) => 0,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            1 => {
                let (eight, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Field::Number(u64::from_le_bytes(*eight))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Field::Bytes(inner)
            }
            5 => {
                let (four, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Field::Number(u64::from(u32::from_le_bytes(*four)))
            }
            _ => return None,
        };
        found.push((tag >> 3, field));
    }
    Some(found)
}

fn attribute(bytes: &[u8]) -> Option<(String, String)> {
    let (mut key, mut value) = (String::new(), None);
    for (number, field) in fields(bytes)? {
        match number {
            1 => key = field.text(),
            2 => value = fields(field.bytes())?.into_iter().find(|(n, _)| *n == 1).map(|(_, text)| text.text()),
            _ => {}
        }
    }
    value.map(|value| (key, value))
}

fn spans(request: &[u8]) -> Option<Vec<Span>> {
    let mut found = Vec::new();
    for (_, of_resource) in fields(request)? {
        let of_resource = fields(of_resource.bytes())?;
        let mut service = String::new();
        for (_, resource) in of_resource.iter().filter(|(number, _)| *number == 1) {
            let attributes = fields(resource.bytes())?;
            let named = attributes.iter().filter_map(|(_, a)| attribute(a.bytes())).find(|(k, _)| k == "service.name");
            service = named.map(|(_, name)| name).unwrap_or_default();
        }
        for (_, of_scope) in of_resource.iter().filter(|(number, _)| *number == 2) {
            for (_, span) in fields(of_scope.bytes())?.into_iter().filter(|(number, _)| *number == 2) {
                found.push(span_of(&service, span.bytes())?);
            }
        }
    }
    Some(found)
}

fn span_of(service: &str, bytes: &[u8]) -> Option<Span> {
    let mut span = Span { service: service.to_owned(), ..Span::default() };
    for (number, field) in fields(bytes)? {
        match number {
            1 => span.trace = field.hex(),
            2 => span.id = field.hex(),
            4 => span.parent = field.hex(),
            5 => span.name = field.text(),
            7 => span.times.0 = field.number(),
            8 => span.times.1 = field.number(),
            9 => span.texts.extend(attribute(field.bytes())),
            15 => {
                let code = fields(field.bytes())?.into_iter().find(|(n, _)| *n == 3);
                span.status = code.map_or(0, |(_, code)| code.number());
            }
            _ => {}
        }
    }
    (span.trace.len() == 32 && span.id.len() == 16).then_some(span)
}
