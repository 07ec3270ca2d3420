use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn put(key: &'static str) -> Op {
    Op::Put(Put::new(key, ""))
}

fn delete(key: &'static str) -> Op {
    Op::Delete { key: key.into(), prev: false }
}

fn delete_range(from: &'static str, to: Option<&'static str>) -> Op {
    let range = KeyRange { from: from.into(), to: to.map(Bytes::from) };
    Op::DeleteRange(DeleteRange { range, limit: None, prev: false })
}

fn txn(then: Vec<Op>, or_else: Vec<Op>) -> Txn {
    Txn { compares: Vec::new(), then, or_else }
}

fn nested(then: Vec<Op>, or_else: Vec<Op>) -> Op {
    Op::Txn(txn(then, or_else))
}

#[test]
fn no_path_writes_a_key_twice() {
    for (case, ops, twice) in [
        ("two keys", vec![put("a"), put("b")], None),
        ("a key twice", vec![put("a"), put("b"), put("a")], Some("a")),
        ("a key written and deleted", vec![put("a"), delete("a")], Some("a")),
        ("a key deleted and written", vec![delete("a"), put("a")], Some("a")),
        ("a key deleted twice", vec![delete("a"), delete("a")], None),
        ("a key within a deleted range", vec![delete_range("a", Some("c")), put("b")], Some("b")),
        ("a range around a written key", vec![put("b"), delete_range("a", None)], Some("b")),
        ("a key at the end of a deleted range", vec![delete_range("a", Some("b")), put("b")], None),
        ("ranges that overlap", vec![delete_range("a", Some("c")), delete_range("b", Some("d"))], None),
        (
            "a key between joined ranges",
            vec![delete_range("a", Some("c")), delete_range("e", None), delete_range("b", Some("d")), put("d")],
            None,
        ),
        (
            "a key within joined ranges",
            vec![delete_range("a", Some("c")), delete_range("b", Some("d")), put("c")],
            Some("c"),
        ),
        ("an empty range", vec![put("b"), delete_range("c", Some("a"))], None),
        ("both branches", vec![nested(vec![put("a")], vec![put("a"), put("b")])], None),
        ("a branch and around it", vec![nested(vec![], vec![put("a")]), put("a")], Some("a")),
        ("a branch and before it", vec![put("a"), nested(vec![put("a")], vec![])], Some("a")),
        ("a branch that deletes", vec![nested(vec![delete("a")], vec![]), put("a")], Some("a")),
        ("neighbours", vec![nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])], Some("a")),
        ("branches that put and delete", vec![nested(vec![put("a")], vec![delete("a")])], None),
        (
            "deep branches that put and delete",
            vec![nested(vec![nested(vec![put("a")], vec![])], vec![delete("a")]), put("b")],
            None,
        ),
        ("reads", vec![put("a"), Op::Get { key: "a".into() }, Op::Get { key: "a".into() }], None),
    ] {
        let expected = twice.map_or(Ok(()), |key| Err(InvalidCommand::WrittenTwice { key: key.into() }));
        assert_eq!(txn(ops.clone(), vec![]).validate(), expected, "{case}");
        assert_eq!(txn(vec![], ops).validate(), expected, "{case}, in the other branch");
    }
}

#[test]
fn transactions_have_bounds() {
    let deep = |levels| (0..levels).fold(txn(vec![], vec![]), |inner, _| txn(vec![], vec![Op::Txn(inner)]));
    assert_eq!(deep(TXN_DEPTH_MAX).validate(), Ok(()));
    assert_eq!(deep(TXN_DEPTH_MAX + 1).validate(), Err(InvalidCommand::TooDeep));

    let of_size = |ops: usize| {
        let get = |_| Op::Get { key: "a".into() };
        txn((0..ops / 2).map(get).collect(), vec![nested((0..ops - ops / 2 - 1).map(get).collect(), vec![])])
    };
    assert_eq!(of_size(TXN_OPERATIONS_MAX).validate(), Ok(()));
    let compare = Compare::Keys { range: KeyRange::ALL, test: Test::Present };
    let compared = Txn { compares: vec![compare; 2], ..of_size(TXN_OPERATIONS_MAX) };
    assert_eq!(compared.validate(), Ok(()), "compares are no operations");
    assert_eq!(of_size(TXN_OPERATIONS_MAX + 1).validate(), Err(InvalidCommand::TooManyOperations));

    let no_key = txn(vec![nested(vec![], vec![put("")])], vec![]);
    assert_eq!(no_key.validate(), Err(InvalidCommand::KeyEmpty));
}

fn key() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xff), Just(0)], 1..4).prop_map(Bytes::from)
}

fn range() -> impl Strategy<Value = KeyRange> {
    (key(), prop::option::of(key())).prop_map(|(from, to)| KeyRange { from, to })
}

fn op(depth: u32) -> BoxedStrategy<Op> {
    let leaf = prop_oneof![
        key().prop_map(|key| Op::Put(Put::new(key, ""))),
        key().prop_map(|key| Op::Delete { key, prev: false }),
        range().prop_map(|range| Op::DeleteRange(DeleteRange { range, limit: None, prev: false })),
        key().prop_map(|key| Op::Get { key }),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![4 => leaf, 1 => branches(depth - 1).prop_map(Op::Txn)].boxed()
}

fn branches(depth: u32) -> impl Strategy<Value = Txn> {
    (vec(op(depth), 0..4), vec(op(depth), 0..4)).prop_map(|(then, or_else)| txn(then, or_else))
}

/// Returns the operations of every path.
fn paths(txn: &Txn) -> Vec<Vec<&Op>> {
    [&txn.then, &txn.or_else].into_iter().flat_map(|ops| paths_of_branch(ops)).collect()
}

fn paths_of_branch(ops: &[Op]) -> Vec<Vec<&Op>> {
    ops.iter().fold(vec![vec![]], |before, op| {
        let next = match op {
            Op::Txn(nested) => paths(nested),
            op => vec![vec![op]],
        };
        before.iter().flat_map(|path| next.iter().map(|more| [&path[..], more].concat())).collect()
    })
}

/// Returns true if two operations must not be on one path.
fn collide(one: &Op, other: &Op) -> bool {
    match (one, other) {
        (Op::Put(one), Op::Put(other)) => one.key == other.key,
        (Op::Put(put), Op::Delete { key, .. }) | (Op::Delete { key, .. }, Op::Put(put)) => put.key == *key,
        (Op::Put(put), Op::DeleteRange(delete)) | (Op::DeleteRange(delete), Op::Put(put)) => {
            delete.range.contains(&put.key)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn exactly_those_are_valid_whose_every_path_has_no_collision(txn in branches(2)) {
        let collides =
            |path: &Vec<&Op>| (0..path.len()).any(|at| path[..at].iter().any(|before| collide(before, path[at])));
        prop_assert_eq!(txn.validate().is_err(), paths(&txn).iter().any(collides), "{:?}", txn.validate());
    }
}
