//! The walk over two schemas that names each break.

use std::collections::BTreeSet;

use crate::schema::{Field, Id, Logical, Named, Node, Schema};

/// What keeps a reader from taking every record of a writer at its meaning: path and reason.
pub(super) fn walk(writer: &Schema, reader: &Schema) -> Vec<(String, String)> {
    let mut walk = Walk { writer, reader, seen: BTreeSet::new(), found: Vec::new() };
    walk.pair(writer.root(), reader.root(), "$");
    walk.found
}

struct Walk<'s> {
    writer: &'s Schema,
    reader: &'s Schema,
    /// Recursive types end here.
    seen: BTreeSet<(Id, Id, String)>,
    found: Vec<(String, String)>,
}

impl Walk<'_> {
    fn found(&mut self, at: &str, reason: String) {
        self.found.push((at.to_owned(), reason));
    }

    fn pair(&mut self, writer: Id, reader: Id, at: &str) {
        if at.len() > 4096 || !self.seen.insert((writer, reader, at.to_owned())) {
            return;
        }
        let (from, to) = (self.writer.node(writer), self.reader.node(reader));
        if let (Some(from), Some(to)) = (from.name(), to.name()) {
            self.names(from, to, at);
        }
        match (from, to) {
            (Node::Union(from), Node::Union(to)) => {
                for branch in from {
                    self.branch(*branch, to, at);
                }
            }
            (Node::Union(from), _) => {
                for branch in from {
                    self.pair(*branch, reader, at);
                }
            }
            (_, Node::Union(to)) => self.branch(writer, to, at),
            (Node::Array(from), Node::Array(to)) => self.pair(*from, *to, &format!("{at}[]")),
            (Node::Map(from), Node::Map(to)) => self.pair(*from, *to, &format!("{at}{{}}")),
            (Node::Record { fields: from, .. }, Node::Record { fields: to, .. }) => self.fields(from, to, at),
            (Node::Enum { symbols: from, .. }, Node::Enum { symbols: to, default, .. }) => {
                for symbol in from.iter().filter(|symbol| !to.contains(symbol)) {
                    if default.is_none() {
                        self.found(at, format!("the reader lacks the symbol {symbol} and has no default symbol"));
                    }
                }
            }
            (
                Node::Decimal { precision: p, scale: s, fixed: f },
                Node::Decimal { precision: q, scale: t, fixed: g },
            ) => {
                if p != q {
                    self.found(at, format!("precision {p} is read as {q}"));
                }
                if s != t {
                    self.found(at, format!("scale {s} is read as {t}"));
                }
                if f.as_ref().map(|(_, size)| size) != g.as_ref().map(|(_, size)| size) {
                    self.found(at, "a decimal is held in bytes on one side, in a fixed on the other".to_owned());
                }
            }
            (Node::Fixed { size: a, logical: l, .. }, Node::Fixed { size: b, logical: k, .. }) => {
                if a != b {
                    self.found(at, format!("{a} bytes are read as {b}"));
                }
                self.logical(*l, *k, at);
            }
            (from, to) => self.primitives(from, to, at),
        }
    }

    fn primitives(&mut self, from: &Node, to: &Node, at: &str) {
        let promoted = matches!(
            (from, to),
            (Node::Null, Node::Null)
                | (Node::Boolean, Node::Boolean)
                | (Node::Int(_), Node::Int(_) | Node::Long(_) | Node::Float | Node::Double)
                | (Node::Long(_), Node::Long(_) | Node::Float | Node::Double)
                | (Node::Float, Node::Float | Node::Double)
                | (Node::Double, Node::Double)
                | (Node::Bytes(_), Node::Bytes(_))
                | (Node::Text(_), Node::Text(_))
        );
        if promoted {
            self.logical(logical(from), logical(to), at);
        } else {
            self.found(at, format!("{} is read as {}", from.describe(), to.describe()));
        }
    }

    fn logical(&mut self, from: Logical, to: Logical, at: &str) {
        let shown = |logical: Logical| if logical == Logical::None { "no logical type" } else { logical.name() };
        if from != to {
            self.found(at, format!("{} is read as {}", shown(from), shown(to)));
        }
    }

    /// One branch of the writer must do with one of the reader's.
    fn branch(&mut self, writer: Id, branches: &[Id], at: &str) {
        let mut tried = Vec::new();
        for reader in branches {
            let mut attempt =
                Walk { writer: self.writer, reader: self.reader, seen: self.seen.clone(), found: Vec::new() };
            attempt.pair(writer, *reader, at);
            if attempt.found.is_empty() {
                return;
            }
            // The branch of the same type says what is wrong; the others only that they are others.
            let alike = same_kind(self.writer.node(writer), self.reader.node(*reader));
            tried.push((!alike, attempt.found));
        }
        tried.sort_by_key(|(other, _)| *other);
        match tried.into_iter().next() {
            Some((false, found)) => self.found.extend(found),
            Some((true, _)) | None => {
                let reason = format!("the reader has no branch for {}", self.writer.node(writer).describe());
                self.found(at, reason);
            }
        }
    }

    fn fields(&mut self, from: &[Field], to: &[Field], at: &str) {
        for field in to {
            let at = format!("{at}.{}", field.name);
            let by_alias = || from.iter().find(|theirs| field.aliases.contains(&theirs.name));
            match from.iter().find(|theirs| theirs.name == field.name).or_else(by_alias) {
                Some(theirs) => self.pair(theirs.id, field.id, &at),
                None if field.default.is_some() => {}
                None => self.found(&at, "the writer lacks the field, and the reader has no default for it".to_owned()),
            }
        }
    }

    fn names(&mut self, from: &Named, to: &Named, at: &str) {
        if from.full != to.full && !to.aliases.contains(&from.full) {
            self.found(at, format!("{} is read as {}", from.full, to.full));
        }
    }
}

fn logical(node: &Node) -> Logical {
    if let Node::Int(logical) | Node::Long(logical) | Node::Bytes(logical) | Node::Text(logical) = node {
        *logical
    } else {
        Logical::None
    }
}

fn same_kind(a: &Node, b: &Node) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}
