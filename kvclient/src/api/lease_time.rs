//! Times that a lease can have.

/// Shortest time of a lease, in milliseconds.
///
/// ```
/// assert_eq!(kvclient::api::LEASE_TTL_MS_MIN, 500);
/// ```
pub const LEASE_TTL_MS_MIN: u64 = 500;

/// Longest time of a lease, in milliseconds: 9,000,000,000 seconds, as in etcd.
///
/// ```
/// assert_eq!(kvclient::api::LEASE_TTL_MS_MAX, 9_000_000_000_000);
/// ```
pub const LEASE_TTL_MS_MAX: u64 = 9_000_000_000_000;

/// Checks the time of a lease.
///
/// # Errors
/// A sentence that says how long a lease may be.
///
/// ```
/// use kvclient::api::check_ttl_ms;
///
/// assert_eq!(check_ttl_ms(15_000), Ok(()));
/// assert_eq!(check_ttl_ms(10), Err("`ttl_ms` must be from 500 to 9000000000000 milliseconds".to_owned()));
/// ```
pub fn check_ttl_ms(ttl_ms: u64) -> Result<(), String> {
    if (LEASE_TTL_MS_MIN..=LEASE_TTL_MS_MAX).contains(&ttl_ms) {
        return Ok(());
    }
    Err(format!("`ttl_ms` must be from {LEASE_TTL_MS_MIN} to {LEASE_TTL_MS_MAX} milliseconds"))
}
