//! Whether two schemas give the same bytes the same meaning.

use std::collections::BTreeSet;

use super::{Id, Named, Node, Schema};

pub(super) fn same(a: &Schema, b: &Schema) -> bool {
    Pair { a, b, assumed: BTreeSet::new() }.same(a.root, b.root)
}

struct Pair<'s> {
    a: &'s Schema,
    b: &'s Schema,
    /// Pairs under comparison or compared: a recursive type is the same unless a difference is found.
    assumed: BTreeSet<(Id, Id)>,
}

impl Pair<'_> {
    fn same(&mut self, left: Id, right: Id) -> bool {
        if !self.assumed.insert((left, right)) {
            return true;
        }
        match (self.a.node(left), self.b.node(right)) {
            (Node::Array(x), Node::Array(y)) | (Node::Map(x), Node::Map(y)) => self.same(*x, *y),
            (Node::Union(x), Node::Union(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| self.same(*x, *y)),
            (Node::Enum { name: n, symbols: x, .. }, Node::Enum { name: m, symbols: y, .. }) => {
                n.full == m.full && x == y
            }
            (Node::Record { name: n, fields: x }, Node::Record { name: m, fields: y }) => {
                n.full == m.full
                    && x.len() == y.len()
                    && x.iter().zip(y).all(|(x, y)| x.name == y.name && self.same(x.id, y.id))
            }
            (Node::Fixed { name: n, size: x, logical: l }, Node::Fixed { name: m, size: y, logical: k }) => {
                n.full == m.full && x == y && l == k
            }
            (
                Node::Decimal { precision: p, scale: s, fixed: x },
                Node::Decimal { precision: q, scale: t, fixed: y },
            ) => p == q && s == t && held(x.as_ref()) == held(y.as_ref()),
            (x, y) => x == y,
        }
    }
}

fn held(fixed: Option<&(Named, usize)>) -> Option<(&str, usize)> {
    fixed.map(|(name, size)| (name.full.as_str(), *size))
}
