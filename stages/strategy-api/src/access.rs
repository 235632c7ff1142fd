//! Who may ask: bearer tokens, from a file that has only their hashes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use crate::api::Shared;
use crate::problem::Problem;

/// Longest name: as an actor's.
const MOST_CHARS: usize = 128;

type Hash = [u8; 32];

/// Tokens, each with the name of whoever has it.
#[derive(Clone)]
pub struct Tokens(Vec<(Arc<str>, Hash)>);

impl Tokens {
    /// Reads lines `name:hash`, the hash being SHA-256 of the token in hexadecimal digits; empty lines and those that begin
    /// with # say nothing. A name may have several tokens, so that a new one can take the place of an old one.
    ///
    /// # Errors
    /// Every fault, with the number of its line and never with its text. No token at all is one.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut tokens, mut faults) = (Vec::<(Arc<str>, Hash)>::new(), Vec::new());
        for (n, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Ok((_, hash)) if tokens.iter().any(|(_, other)| *other == hash) => {
                    faults.push(format!("line {n}: the token of another line"));
                }
                Ok(token) => tokens.push(token),
                Err(fault) => faults.push(format!("line {n}: {fault}")),
            }
        }
        if tokens.is_empty() && faults.is_empty() {
            faults.push("there is no token in it".to_owned());
        }
        if faults.is_empty() { Ok(Self(tokens)) } else { Err(faults) }
    }

    // Looks at every token, and at every byte of its hash, whichever it is.
    fn owner(&self, token: &str) -> Option<&Arc<str>> {
        let given: Hash = Sha256::digest(token.as_bytes()).into();
        self.0.iter().fold(None, |owner, (name, hash)| if same(&given, hash) { Some(name) } else { owner })
    }
}

fn entry(line: &str) -> Result<(Arc<str>, Hash), &'static str> {
    let (name, digits) = line.rsplit_once(':').ok_or("expected name:hash")?;
    let fits = !name.trim().is_empty() && name.chars().count() <= MOST_CHARS && !name.chars().any(char::is_control);
    if !fits {
        return Err("the name must be 1 to 128 characters");
    }
    let hash = hash_of(digits.trim()).ok_or("the hash must be 64 hexadecimal digits: SHA-256 of the token")?;
    Ok((name.trim().into(), hash))
}

fn hash_of(digits: &str) -> Option<Hash> {
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = Hash::default();
    for (n, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn same(a: &Hash, b: &Hash) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| std::hint::black_box(differs | (a ^ b))) == 0
}

/// Who may ask.
#[derive(Clone)]
pub enum Access {
    /// Whoever has a token.
    Tokens(Tokens),
    /// Whoever is on this machine.
    Machine,
    /// Whoever reaches the address.
    Anyone,
}

impl Access {
    /// Why the service must not listen there.
    #[must_use]
    pub fn fault(&self, listen: SocketAddr) -> Option<String> {
        let others_reach_it = !listen.ip().is_loopback();
        match self {
            Self::Machine if others_reach_it => Some(format!(
                "api.listen {listen} can be reached from other machines, and whoever reaches it commands orders: name an \
                 api.token_file, or set api.allow_anonymous = true"
            )),
            Self::Tokens(_) | Self::Machine | Self::Anyone => None,
        }
    }
}

/// Whose token came with a request; `None`: nobody is asked for one.
#[derive(Clone)]
pub(crate) struct Caller(pub Option<Arc<str>>);

/// Lets pass who may ask, and says to the handlers who it is.
pub(crate) async fn admit(State(service): State<Shared>, mut request: Request, next: Next) -> Response {
    let caller = match &service.access {
        Access::Machine | Access::Anyone => None,
        Access::Tokens(tokens) => {
            let given = bearer(request.headers());
            match given.and_then(|token| tokens.owner(token)) {
                Some(name) => Some(Arc::clone(name)),
                None => return stranger(given.is_some()),
            }
        }
    };
    request.extensions_mut().insert(Caller(caller));
    next.run(request).await
}

// RFC 6750, section 2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

// RFC 6750, section 3: an error is told only to who gave a token.
fn stranger(has_token: bool) -> Response {
    let text = if has_token { "nobody has this token" } else { "a bearer token is needed" };
    let asked =
        if has_token { r#"Bearer realm="fillstream", error="invalid_token""# } else { r#"Bearer realm="fillstream""# };
    let mut answer = Problem::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", text).into_response();
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(asked));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_token_is_its_owners_and_nobody_elses() {
        let other = Sha256::digest(b"other").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = format!("# who may ask\n\nann:{ABC}\r\n desk: 7 : {} \nann:{}\n", ABC.replace("ba", "BB"), other);
        let tokens = Tokens::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let owner = |token: &str| tokens.owner(token).map(|name| name.to_string());
        assert_eq!((owner("abc").as_deref(), owner("other").as_deref()), (Some("ann"), Some("ann")));
        assert_eq!(tokens.0.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["ann", "desk: 7", "ann"]);
        for token in ["", "ab", "abc ", "ABC", ABC] {
            assert_eq!(owner(token), None, "{token}");
        }
        let hash = hash_of(ABC).unwrap();
        for n in 0..32 {
            let mut near = hash;
            near[n] ^= 1;
            assert!(!same(&hash, &near));
        }
    }

    #[test]
    fn every_fault_of_a_file_is_told_without_its_text() {
        let text =
            format!("secret\n:{ABC}\nann:12\nann:{ABC}\nbob:{ABC}\neve:{}\n{}:{ABC}", "g".repeat(64), "x".repeat(129));
        let faults = Tokens::parse(&text).err().unwrap();
        let lines: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(lines, ["line 1", "line 2", "line 3", "line 5", "line 6", "line 7"], "{faults:?}");
        assert!(!faults.iter().any(|fault| fault.contains("secret") || fault.contains("eve")), "{faults:?}");
        for nothing in ["", "# ann\n"] {
            assert_eq!(Tokens::parse(nothing).err().unwrap(), ["there is no token in it"]);
        }
    }

    #[test]
    fn strangers_from_other_machines_need_somebodys_word() {
        let tokens =
            || Access::Tokens(Tokens::parse(&format!("ann:{ABC}")).unwrap_or_else(|faults| panic!("{faults:?}")));
        for (listen, is_open) in
            [("127.0.0.1:1", false), ("[::1]:1", false), ("0.0.0.0:1", true), ("[::]:1", true), ("10.0.0.1:1", true)]
        {
            let listen = listen.parse().unwrap();
            assert_eq!(Access::Machine.fault(listen).is_some(), is_open, "{listen}");
            assert_eq!((tokens().fault(listen), Access::Anyone.fault(listen)), (None, None));
        }
    }
}
