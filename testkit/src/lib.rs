//! What the tests of kvd, kvclient and kvctl share. Nothing in here is part of a program.
//!
//! | room | what it has |
//! |---|---|
//! | [`faulty_disk`] | a disk in memory that loses, tears and refuses on purpose |

pub mod faulty_disk;
