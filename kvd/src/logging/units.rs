//! Readable numbers for the log.

/// Returns a number of bytes with up to three digits: `483 B`, `1.2 kB`, `45.6 MB`.
pub(crate) fn bytes(number: u64) -> String {
    let (mut scaled, mut unit) = (number as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        // A number that would be rounded up to the next unit is shown in that unit.
        if scaled < 999.95 {
            break;
        }
        (scaled, unit) = (scaled / 1e3, larger);
    }
    let decimals = usize::from(unit != "B");
    format!("{scaled:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        for (number, text) in [
            (0, "0 B"),
            (483, "483 B"),
            (1_000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (2_000_000_000_000_000, "2000.0 TB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
