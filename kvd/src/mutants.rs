//! Defects that can be put back on purpose, one at a time, to see the simulator turn red. A checker that cannot fail is
//! worthless.
//!
//! Each is a mistake that real Raft stores have shipped, or one that a review found no check for. `put_back` switches
//! one on for this thread; it needs the feature `mutants`, which only the simulator's own test turns on. Without the
//! feature, [`is_on`] is a constant, and no trace of the defects is left in the program.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $mutant:ident = $name:literal),* $(,)?) => {
        /// A defect that can be put back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[doc = $doc])+ $mutant),* }

        impl Mutant {
            /// All defects.
            pub const ALL: &[Self] = &[$(Self::$mutant),*];

            /// Name of the defect in reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$mutant => $name),* }
            }
        }
    };
}

mutants! {
    /// A node's new process is taken to know every level that its previous process knew.
    LevelOfTheDead = "level of a process that is gone counts",
    /// The level is raised without asking the learners.
    LevelByVoters = "level raised though a learner does not know it",
    /// A leader that is about to leave proposes a level that it does not know itself.
    LevelAboveOwn = "level raised that the leader does not know",
    /// Any node that asks is added, whatever level it knows.
    JoinsBelowLevel = "node below the level joins",
    /// A node takes entries that it will not be able to apply.
    TakesAnyLevel = "entries of an unknown level taken",
    /// Entries of earlier terms are committed by counting copies (paper §5.4.2, figure 8).
    PriorTermByCount = "commit prior-term entries by count",
    /// The vote is left out of the write.
    VoteNotSaved = "vote not saved",
    /// The vote is sent before it is durable.
    VoteSavedAfterAnswer = "vote saved after the answer",
    /// A candidate that finds a leader in its term forgets which node it voted for.
    VoteCleared = "vote cleared on same-term step-down",
    /// A follower acknowledges entries that are only in memory.
    AckBeforeSync = "append acknowledged before fsync",
    /// An empty append is acknowledged with entries that are only in memory.
    EmptyAckUnsynced = "empty append acknowledges unsynced entries",
    /// The leader counts its own copy before it is durable.
    LeaderCountsUnsynced = "leader counts itself before fsync",
    /// A new leader appends no entry of its own term, and serves reads anyway.
    NoNoop = "no no-op at term start and ReadIndex allowed",
    /// A leader answers a read without asking whether it still leads.
    ReadWithoutRound = "ReadIndex without heartbeat round",
    /// An answer to an earlier round confirms the present one.
    OldRoundAccepted = "heartbeat ack of an old round accepted",
    /// A read is served as soon as its index is known.
    ReadBeforeApplied = "read before apply reaches the index",
    /// Half of the voters, rounded down, decide.
    QuorumOfHalf = "quorum n/2",
    /// During a change of the voters, the old voters decide alone.
    OldQuorumOnly = "quorum of old configuration only",
    /// The voters change without a joint step.
    NoJoint = "voters changed without a joint configuration",
    /// A change begins before the previous one is done.
    TwoChanges = "second change while one is open",
    /// A leader changes the members before it has committed anything in its term.
    ChangeBeforeCommit = "change allowed before first commit of the term",
    /// An append deletes what it does not conflict with, committed or not.
    TruncateCommitted = "truncation below commit",
    /// The torn remains of a last write are taken as written.
    TornTailKept = "torn tail kept",
    /// Damage in the middle is taken for the end of the log.
    CorruptionCut = "mid-log corruption cut silently",
    /// Checksums of batches are not checked.
    CrcNotChecked = "CRC not checked",
    /// A failed sync is retried, and its success believed.
    SyncRetried = "fsync error retried",
    /// A snapshot gets its name before its bytes are durable.
    SnapshotNotSynced = "snapshot without fsync",
    /// Files that a snapshot replaces are removed before its name is durable.
    SnapshotDirNotSynced = "snapshot without folder fsync",
    /// An acknowledgement of an earlier term counts.
    StaleAckAccepted = "stale ack of an earlier term accepted",
    /// A candidate whose log was replaced by a snapshot keeps counting votes for the old log.
    CandidateKeepsBallot = "votes counted for a log that a snapshot replaced",
    /// The members change although the leader does not hear a majority of the remaining voters.
    RemovalWithoutQuorumCheck = "quorum check left out of a change of the members",
    /// A change of the voters counts on nodes that answer heartbeats, whatever the state of their disks.
    FollowsWithoutDisk = "presence by heartbeats alone",
    /// A leader that was paused counts on nodes that answered before the pause.
    PresenceOverAbsence = "presence from before an absence",
    /// A voter takes the place of another voter, so that there is one voter fewer.
    ReplaceByVoter = "member replaced by one that votes already",
    /// The node named in a request for a change is looked up again whenever the change is restarted.
    NameResolvedAnew = "name of a member resolved anew",
    /// A leader that may have been deposed reports that nothing is left to change.
    DoneWithoutRound = "change done already, without a read round",
    /// A new leader counts every node as heard before it has heard any.
    SilenceIsPresence = "a new leader counts everyone as heard",
    /// Votes are counted, not voters.
    DoubledVoteCounts = "duplicate vote counted twice",
    /// A snapshot lacks the sessions: the table that detects repeated requests.
    SessionsNotInSnapshot = "dedup table not in snapshot",
    /// A snapshot claims to hold one entry more than it does.
    SnapshotIndexOffByOne = "snapshot index off by one",
    /// The ids of questions to the leader start at zero in every incarnation of a node.
    ReadIdsFromZero = "read ids from zero in every life",
    /// A node that was removed may be added again under its id.
    RemovedIdAddedAgain = "removed id added again",
    /// A page at an earlier revision shows the present.
    PageOfThePresent = "page reads the present",
    /// Only the first half of a transaction's operations is executed.
    HalfOfTheTxn = "transaction applied half",
    /// A lease whose time was over when a leader looked ends, though it was renewed since.
    ExpiryIgnoresRenewal = "expiry ignores a renewal before it in the log",
    /// A leader ends leases a second before their time is over.
    LeaseEndsEarly = "lease ended before its time",
    /// Every place in the queue of a lock counts as the holder.
    AnyPlaceHolds = "any place holds the lock",
    /// Nested compares of a transaction are decided when their turn comes, on what was written before them.
    DecidedInTurn = "compares decided one after another with the writes",
    /// A repeated transaction is applied again.
    TxnAppliedAgain = "transaction applied twice on retry",
    /// The deletion of a range leaves its last key.
    LastKeyStays = "range deleted but for its last key",
    /// The past is read as of just before a revision.
    PastTooEarly = "past read one revision too early",
    /// A node that no longer has what a watcher needs next goes on with what it has.
    WatchSkips = "watch skips what is forgotten",
    /// The changes that a snapshot carries are dropped, but the node claims to have them.
    HistoryClaimed = "history of a snapshot claimed and not kept",
    /// Compaction of the history loses a change in its middle.
    HistoryLosesMiddle = "history loses its middle on compaction",
    /// Versions that the history frees are not kept for readers that have yet to read them.
    FreedNotKept = "freed version not kept for a pinned reader",
    /// A cluster that is made from the state of another goes on with its revisions.
    RefoundedInThePast = "new cluster with the revisions of the old one",
    /// The keys of a lease stay when it ends.
    KeysOutliveLease = "keys stay when their lease ends",
    /// The lease of a single key stays when the key is rewritten without it.
    OwnLeaseStays = "lease of a key stays when the key loses it",
    /// A leader ends leases 200 ms late.
    LeaseEndsLate = "lease ended late",
    /// Of keepalives that are logged together, each is answered with the times of the first.
    KeepalivesMixedUp = "keepalives answered with the times of others",
    /// A place in the queue of a lock has the revision before its own as its token.
    TokenRepeats = "token of a lock repeats",
    /// A key that becomes a place in the queue of a lock stands where it would if it had been one from the start.
    PlaceGetsAhead = "key that becomes a place gets ahead of others",
    /// A session is forgotten a thousand times too early.
    SessionForgottenEarly = "session forgotten early",
    /// A repeated request is applied again.
    RetryApplied = "request applied twice on retry",
    /// After a restart the store lacks the last entry that counts as applied.
    AppliedNotAtomic = "applied index not atomic with state",
    /// A node ignores the higher term in a refused pre-vote.
    PreVoteIgnoresTerm = "pre-vote without term adoption",
    /// A voter that hears a leader grants its pre-vote to another node.
    PreVoteDespiteLeader = "pre-vote granted while a leader is heard",
    /// A follower answers a heartbeat only once everything before it is on disk.
    HeartbeatWaitsForDisk = "heartbeat answered after fsync",
    /// A node that was not scheduled for a while takes that pause for silence of the other nodes.
    AbsenceCounts = "own absence taken for that of the others",
    /// A leader that reaches no other node keeps leading.
    NoCheckQuorum = "no check-quorum",
    /// A vote for the target of a transfer is granted whatever its log.
    TransferSkipsLogCheck = "transfer of leadership without the log check",
    /// A node campaigns on the message of a leader that no longer leads.
    LateTimeoutNowAccepted = "TimeoutNow of an earlier term accepted",
    /// A leader whose target never takes over refuses proposals forever.
    TransferNeverGivenUp = "transfer of leadership never given up",
    /// No disk ever counts as stuck, however long a write takes.
    DiskNeverStuck = "a stuck disk goes unnoticed",
    /// A leader whose disk is stuck keeps leading.
    StuckDiskLeads = "leader with a stuck disk goes on",
    /// Replicas compare states after different entries.
    StatesComparedAnywhere = "states compared at different indexes",
    /// A replica considers itself diverged as soon as one voter holds another state.
    OneVoterDecides = "divergence judged by one voter",
    /// A replica that differs from the majority keeps running.
    DivergedGoesOn = "diverged replica goes on",
    /// Heartbeats travel on the bulk lane, and wait behind the entries.
    HeartbeatBehindBulk = "heartbeat behind bulk",
    /// A leader that gets no entries through to a quorum keeps leading, since its heartbeats are answered.
    DeadBulkLaneLeads = "leader without a bulk lane goes on",
    /// A heartbeat commits entries of the follower's log, whether or not they are known to match.
    HeartbeatCommitsMore = "heartbeat commits beyond what matches",
    /// Messages in flight on a broken connection keep filling the window.
    WindowNotFreed = "in-flight window not freed on reconnect",
    /// The first founder does not ask the other founders again after it has met the last of them.
    FoundersFixedAtOnce = "founders fixed without asking again",
    /// A restarted founder is taken for the process that has answered before.
    RestartUnnoticed = "founder started again unnoticed",
    /// A node announces the founders before it has made them durable.
    FoundersToldEarly = "founders told before they are durable",
    /// While a node that was told the founders writes them down, it claims to know of none.
    FoundersForgotten = "founders forgotten while they are written",
    /// A node that has met a member of a cluster does not tell other nodes.
    MemoryNotPassedOn = "memory of a cluster not passed on",
    /// A forming node ignores members that dial it and are not among its peers.
    StrangersUnheard = "members that dial are not heard",
    /// A node founds a cluster although a member has its name under another id.
    ReturningFounds = "node without its data founds",
    /// A node that was told to expect data founds a cluster without it.
    DataNotExpected = "missing data not expected",
    /// A node writes into its identity that it is a member before it has begun its log.
    IdentityBeforeLog = "identity written before the log",
    /// A node that has lost its disk keeps its old id. The code that starts a node draws its id, so this defect is in
    /// the simulator's host of a node.
    OldIdKept = "node without its data keeps its id",
    /// A new leader counts on from the time of its last entry, whatever newer time it has heard.
    TimeRestarts = "time of an idle leader given back",
    /// A time that was heard counts whichever leader told it, also one that was deposed.
    TimeOfAnyLeader = "time of a deposed leader counts",
    /// The time of an entry that was cut off counts for the next leader.
    CutTimeKept = "time of an entry that was cut off counts",
    /// A leader that was paused counts the whole pause.
    PauseCounts = "pause of a leader counts in full",
    /// A leader without writes logs nothing.
    TimeNotMarked = "time of an idle leader not marked in the log",
    /// A leader that cannot commit logs one empty entry after the other.
    MarksPileUp = "marks of the time pile up in the log",
    /// Timers use the wall clock. The core receives its time as an argument, so this defect is in the simulator's host
    /// of a node. The test `tests/architecture` checks that the server passes only a monotonic clock.
    WallClock = "timer by wall clock",
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static PUT_BACK: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Puts a defect back for this thread, or removes it.
    pub fn put_back(mutant: Option<Mutant>) {
        PUT_BACK.set(mutant);
    }

    /// Returns whether a defect is put back.
    pub fn is_on(mutant: Mutant) -> bool {
        PUT_BACK.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod switch {
    /// Returns whether a defect is put back: never in this build.
    pub const fn is_on(_: super::Mutant) -> bool {
        false
    }
}

pub use switch::*;
