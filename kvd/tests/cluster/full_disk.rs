//! The disk of one node is full: that node ends and says why, the other nodes serve, and once it has space it rejoins.
//!
//! The disk is a separate file system for this test, which only root may mount. The behaviour of storage on a full
//! disk, call by call, is covered by its own tests.

use kvclient::NodeState;
use testkit::{Cluster, Recorder, SmallDisk, skip, until};

/// Size with room for one log segment and not for two, in mebibytes; and for several.
const SMALL_MIB: u32 = 24;
const LARGE_MIB: u32 = 96;

/// Size of the values that are written until the log needs its next segment.
const VALUE_BYTES: usize = 256 << 10;
const VALUES_MAX: usize = 128;

#[test]
fn a_leader_and_a_follower_whose_disk_is_full_end_the_others_serve_and_space_brings_them_back() {
    for leads in [true, false] {
        let mut cluster = Cluster::prepare(3);
        let disk = match SmallDisk::mount(cluster[0].data_dir(), SMALL_MIB) {
            Ok(disk) => disk,
            Err(why) => return skip(&format!("it may not mount a disk: {why}")),
        };
        cluster[0].run_through(&disk.enter());
        cluster.start_all();
        // A segment created ahead of use may not fit, and may briefly take the room that the node needs just then.
        until("the first node has formed the cluster", || {
            if cluster[0].has_ended().is_some() {
                cluster[0].start();
            }
            cluster[0].health().filter(|health| health.state != NodeState::Forming)
        });
        make_leader(&mut cluster, 0, leads);
        let recorder = Recorder::start(&cluster);
        recorder.flow_at(0, 20);

        let code = fill(&mut cluster);
        assert_eq!(code, Some(3), "the disk is the reason");
        let error = cluster[0].logged(" ERROR [node1]");
        assert!(error.contains("No space left on device"), "{error}");
        recorder.flow(200);

        disk.resize(LARGE_MIB);
        cluster[0].start();
        recorder.flow_at(0, 20);
        recorder.flow(100);
        let history = recorder.stop();
        history.check(&cluster);
    }
}

/// Kills leaders until this node leads, or until it does not.
fn make_leader(cluster: &mut Cluster, node: usize, leads: bool) {
    loop {
        let leader = cluster.leader();
        if (leader == node) == leads {
            return;
        }
        cluster[leader].kill();
        cluster[leader].start();
        cluster.catch_up();
    }
}

/// Writes until the first node has ended; returns its exit code.
fn fill(cluster: &mut Cluster) -> Option<i32> {
    let client = cluster.client();
    for number in 0..VALUES_MAX {
        client.set(format!("large/{number}"), vec![b'v'; VALUE_BYTES]).expect("a majority has space");
        if let Some(code) = cluster[0].has_ended() {
            return code;
        }
    }
    cluster[0].end()
}
