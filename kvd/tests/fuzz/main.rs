//! Bytes from outside: data from disks, peers and clients may be anything, and must do no harm.
//!
//! The properties of any bytes are stated once, in a function `check` for each place where they enter the daemon: see
//! [`testkit::fuzz`]. The fuzzer (`kvd/fuzz`) calls these functions with inputs that reach new code. Here every
//! ordinary run of the tests calls them with
//! - every file of the corpus `kvd/fuzz/corpus/<target>`: notable cases, and everything that a fuzzer ever found;
//! - random changes of those files ([`mutations`]), different ones each time.

mod corpus;
mod mutations;

use proptest::prelude::*;
use testkit::fuzz::{body, command, frame, identity, snapshot, wal};

#[test]
fn no_log_of_the_corpus_does_harm() {
    corpus::files("wal").iter().for_each(|file| file.try_out(wal::check));
}

#[test]
fn no_snapshot_of_the_corpus_does_harm() {
    corpus::files("snapshot").iter().for_each(|file| file.try_out(snapshot::check));
}

#[test]
fn no_identity_of_the_corpus_does_harm() {
    corpus::files("identity").iter().for_each(|file| file.try_out(identity::check));
}

#[test]
fn no_frame_of_the_corpus_does_harm() {
    corpus::files("frame").iter().for_each(|file| file.try_out(frame::check));
}

#[test]
fn no_body_of_the_corpus_does_harm() {
    corpus::files("body").iter().for_each(|file| file.try_out(body::check));
}

#[test]
fn no_command_of_the_corpus_does_harm() {
    corpus::files("command").iter().for_each(|file| file.try_out(command::check));
}

proptest! {
    #[test]
    fn no_change_to_a_log_does_harm(bytes in mutations::of("wal")) {
        wal::check(&bytes);
    }

    #[test]
    fn no_change_to_a_snapshot_does_harm(bytes in mutations::of("snapshot")) {
        snapshot::check(&bytes);
    }

    #[test]
    fn no_change_to_an_identity_does_harm(bytes in mutations::of("identity")) {
        identity::check(&bytes);
    }

    #[test]
    fn no_change_to_a_frame_does_harm(bytes in mutations::of("frame")) {
        frame::check(&bytes);
    }

    #[test]
    fn no_change_to_a_body_does_harm(bytes in mutations::of("body")) {
        body::check(&bytes);
    }

    #[test]
    fn no_change_to_a_command_does_harm(bytes in mutations::of("command")) {
        command::check(&bytes);
    }
}
