//! The table of leases, lease by lease.

use super::*;

fn id(number: u64) -> LeaseId {
    LeaseId::new(number).unwrap()
}

fn over(leases: &Leases, now_ms: u64) -> Vec<(u64, u64)> {
    leases.over(now_ms).map(|(id, ends_ms)| (id.get(), ends_ms)).collect()
}

#[test]
fn leases_are_over_in_the_order_of_their_ends_and_a_renewal_moves_the_end() {
    let mut leases = Leases::default();
    for (number, ttl_ms) in [(1, 900), (2, 700), (3, 800)] {
        leases.grant(id(number), LeaseKind::Granted, ttl_ms, false, 100);
    }
    assert_eq!(over(&leases, 799), []);
    assert_eq!(over(&leases, 900), [(2, 800), (3, 900)]);
    leases.renew(id(2), 500);
    assert_eq!(over(&leases, 1_000), [(3, 900), (1, 1_000)]);
    assert_eq!(over(&leases, 1_200), [(3, 900), (1, 1_000), (2, 1_200)]);
}

#[test]
fn a_lease_that_is_ending_is_over_at_once_and_is_never_renewed() {
    let mut leases = Leases::default();
    leases.grant(id(1), LeaseKind::Granted, 1_000, false, 0);
    leases.attach(id(1), b"k");
    leases.begin_end(id(1));
    leases.end_if_empty(id(1));
    leases.renew(id(1), 500);
    assert_eq!(over(&leases, 0), [(1, 0)], "it has a key left");
    assert!(leases.live(id(1)).is_none() && leases.get(id(1)).is_some());
    leases.detach(id(1), b"k");
    leases.end_if_empty(id(1));
    assert!(leases.get(id(1)).is_none());
    assert_eq!(leases.hash(), HashSum::default());
}

#[test]
fn a_lease_of_a_key_ends_with_the_key_and_another_does_not() {
    let mut leases = Leases::default();
    leases.grant(id(1), LeaseKind::OfKey, 1_000, false, 0);
    leases.grant(id(2), LeaseKind::Granted, 1_000, false, 0);
    for number in [1, 2] {
        leases.attach(id(number), b"k");
        leases.detach(id(number), b"k");
    }
    assert!(leases.get(id(1)).is_none() && leases.get(id(2)).is_some());
}

#[test]
fn chosen_ids_have_sixteen_digits_and_are_positive_with_a_sign() {
    let mut leases = Leases::default();
    let mut seen = BTreeSet::new();
    for round in 0..100 {
        let chosen = leases.next_id(1, 0);
        assert!(seen.insert(chosen), "{chosen} was chosen before");
        assert!((1 << 60..1 << 63).contains(&chosen.get()), "{chosen}");
        assert_eq!(chosen, leases.next_id(1, 0), "it depends on nothing but the state");
        assert_ne!(chosen, leases.next_id(1, 1));
        leases.grant(chosen, LeaseKind::Granted, 1_000, true, round);
    }
    assert_eq!(leases.recompute_hash(), leases.hash());
}
