//! Clusters of real processes: the real binary, killed, paused, restarted, cut off and mistreated, under load from the
//! real client.
//!
//! These tests show that the parts work together in a process that dies. The rules of consensus and of storage have
//! their own tests, which see more: they control every message and every block on a disk.
//!
//! Each test has its own nodes on its own ports, waits for states and never for a fixed time, and fails after a
//! deadline. A failed test prints the end of its nodes' logs.

mod backups;
mod bad_data;
mod bounds;
mod catch_up;
mod command_line;
mod crash;
mod data_directory;
mod data_model;
mod deployment;
mod dev;
mod divergence;
mod failover;
mod forming;
mod forwarding;
mod full_disk;
mod hostile_http;
mod http;
mod identities;
mod killing;
mod listening;
mod logs;
mod lost_disks;
mod members;
mod missing_data;
mod open_files;
mod partitions;
mod pause;
mod quorum;
mod recovery;
mod sizes;
mod slow_links;
mod snapshots;
mod stopping;
mod strangers;
mod streams;
mod transfer;
mod upgrade;
