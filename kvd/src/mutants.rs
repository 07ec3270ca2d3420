//! Defects that can be put back on purpose, one at a time, to see the simulator turn red. A checker that cannot fail is
//! worthless.
//!
//! Each is a mistake that real Raft stores have shipped, or one that a review found no check for. With the feature
//! `mutants`, which nothing but the simulator's own test turns on, `put_back` switches one on for this thread. Without
//! it [`is_on`] is a constant, and nothing of all this is left in the program.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $mutant:ident = $name:literal),* $(,)?) => {
        /// A defect that can be put back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[doc = $doc])+ $mutant),* }

        impl Mutant {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$mutant),*];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$mutant => $name),* }
            }
        }
    };
}

mutants! {
    /// What the process of a node knew, the next one is taken to know as well.
    LevelOfTheDead = "level of a process that is gone counts",
    /// The level is raised without asking the learners.
    LevelByVoters = "level raised though a learner does not know it",
    /// A leader that is about to leave proposes a level that it does not know itself.
    LevelAboveOwn = "level raised that the leader does not know",
    /// Whoever asks is added, whatever it knows.
    JoinsBelowLevel = "node below the level joins",
    /// A node takes entries that it will not be able to apply.
    TakesAnyLevel = "entries of an unknown level taken",
    /// Entries of earlier terms are committed by counting copies (paper §5.4.2, figure 8).
    PriorTermByCount = "commit prior-term entries by count",
    /// The vote is not among what is written.
    VoteNotSaved = "vote not saved",
    /// The vote leaves before it is durable.
    VoteSavedAfterAnswer = "vote saved after the answer",
    /// A candidate that finds a leader in its term forgets whom it voted for.
    VoteCleared = "vote cleared on same-term step-down",
    /// A follower acknowledges what is in memory alone.
    AckBeforeSync = "append acknowledged before fsync",
    /// An empty append is answered with what is in memory alone.
    EmptyAckUnsynced = "empty append acknowledges unsynced entries",
    /// The leader counts its own copy before it is durable.
    LeaderCountsUnsynced = "leader counts itself before fsync",
    /// No entry opens a term, and reads are served all the same.
    NoNoop = "no no-op at term start and ReadIndex allowed",
    /// A leader answers a read without asking whether it still leads.
    ReadWithoutRound = "ReadIndex without heartbeat round",
    /// An answer to an earlier round confirms the present one.
    OldRoundAccepted = "heartbeat ack of an old round accepted",
    /// A read is served as soon as its index is known.
    ReadBeforeApplied = "read before apply reaches the index",
    /// Half of the voters, rounded down, decide.
    QuorumOfHalf = "quorum n/2",
    /// While the voters change, the old ones decide alone.
    OldQuorumOnly = "quorum of old configuration only",
    /// The voters change without a joint step.
    NoJoint = "voters changed without a joint configuration",
    /// A change begins before the one before it is done.
    TwoChanges = "second change while one is open",
    /// A leader changes the members before it has committed anything in its term.
    ChangeBeforeCommit = "change allowed before first commit of the term",
    /// An append deletes what it does not conflict with, committed or not.
    TruncateCommitted = "truncation below commit",
    /// What a crash left of the last write is taken for written.
    TornTailKept = "torn tail kept",
    /// Damage in the middle is taken for the end of the log.
    CorruptionCut = "mid-log corruption cut silently",
    /// Checksums of batches are not looked at.
    CrcNotChecked = "CRC not checked",
    /// A failed sync is tried again, and believed.
    SyncRetried = "fsync error retried",
    /// A snapshot gets its name before its bytes are durable.
    SnapshotNotSynced = "snapshot without fsync",
    /// What a snapshot replaces goes before its name is durable.
    SnapshotDirNotSynced = "snapshot without folder fsync",
    /// An acknowledgement of an earlier term counts.
    StaleAckAccepted = "stale ack of an earlier term accepted",
    /// A candidate whose log a snapshot has replaced goes on counting votes for the log before.
    CandidateKeepsBallot = "votes counted for a log that a snapshot replaced",
    /// The members change though the leader does not hear a majority of the voters that are left.
    RemovalWithoutQuorumCheck = "quorum check left out of a change of the members",
    /// A change of the voters counts on nodes that answer heartbeats, whatever their disks do.
    FollowsWithoutDisk = "presence by heartbeats alone",
    /// A leader that stood still counts on nodes that answered before.
    PresenceOverAbsence = "presence from before an absence",
    /// A voter takes the place of another, so that there is one voter fewer.
    ReplaceByVoter = "member replaced by one that votes already",
    /// Whom a request for a change names is looked up again whenever it is begun anew.
    NameResolvedAnew = "name of a member resolved anew",
    /// A leader that may have been deposed says that nothing is left to change.
    DoneWithoutRound = "change done already, without a read round",
    /// A new leader takes everyone for heard before it has heard anyone.
    SilenceIsPresence = "a new leader counts everyone as heard",
    /// Votes are counted, not voters.
    DoubledVoteCounts = "duplicate vote counted twice",
    /// A snapshot has no sessions: the table that tells repeats.
    SessionsNotInSnapshot = "dedup table not in snapshot",
    /// A snapshot claims to hold one entry more than it does.
    SnapshotIndexOffByOne = "snapshot index off by one",
    /// The numbers of questions to the leader start at zero in every life of a node.
    ReadIdsFromZero = "read ids from zero in every life",
    /// A node that was removed may be added again under its id.
    RemovedIdAddedAgain = "removed id added again",
    /// A session is forgotten a thousand times too early.
    SessionForgottenEarly = "session forgotten early",
    /// A repeated request is applied again.
    RetryApplied = "request applied twice on retry",
    /// After a restart the store lacks the last entry that counts as applied.
    AppliedNotAtomic = "applied index not atomic with state",
    /// A refused pre-vote of a higher term teaches nothing.
    PreVoteIgnoresTerm = "pre-vote without term adoption",
    /// A voter that hears a leader promises its vote to another.
    PreVoteDespiteLeader = "pre-vote granted while a leader is heard",
    /// A follower answers a heartbeat only when all that came before it is on disk.
    HeartbeatWaitsForDisk = "heartbeat answered after fsync",
    /// A node that was not scheduled for a while takes that for the silence of the others.
    AbsenceCounts = "own absence taken for that of the others",
    /// A leader that reaches nobody goes on leading.
    NoCheckQuorum = "no check-quorum",
    /// A vote for the target of a transfer is granted whatever its log is like.
    TransferSkipsLogCheck = "transfer of leadership without the log check",
    /// A node campaigns at the word of a leader that leads no more.
    LateTimeoutNowAccepted = "TimeoutNow of an earlier term accepted",
    /// A leader whose target never takes over goes on taking no proposals.
    TransferNeverGivenUp = "transfer of leadership never given up",
    /// No disk ever counts as stuck, however long a write takes.
    DiskNeverStuck = "a stuck disk goes unnoticed",
    /// A leader whose disk is stuck goes on leading.
    StuckDiskLeads = "leader with a stuck disk goes on",
    /// Replicas compare states after different entries.
    StatesComparedAnywhere = "states compared at different indexes",
    /// A replica takes itself for diverged as soon as one voter holds another state.
    OneVoterDecides = "divergence judged by one voter",
    /// A replica that differs from the majority goes on.
    DivergedGoesOn = "diverged replica goes on",
    /// Heartbeats travel on the lane of the entries, and wait behind them.
    HeartbeatBehindBulk = "heartbeat behind bulk",
    /// A leader that gets no entries through to a quorum goes on leading, since its heartbeats are answered.
    DeadBulkLaneLeads = "leader without a bulk lane goes on",
    /// A heartbeat commits what the follower has, known to match or not.
    HeartbeatCommitsMore = "heartbeat commits beyond what matches",
    /// What was on its way on a broken connection goes on filling the window.
    WindowNotFreed = "in-flight window not freed on reconnect",
    /// The first of the founders does not ask the others again when it has met the last of them.
    FoundersFixedAtOnce = "founders fixed without asking again",
    /// A founder that was started again passes for the one that has answered before.
    RestartUnnoticed = "founder started again unnoticed",
    /// A node tells of the founders before it has written down who they are.
    FoundersToldEarly = "founders told before they are durable",
    /// A node that is told of the founders passes for one that knows of none until it is one itself.
    FoundersForgotten = "founders forgotten while they are written",
    /// A node that has met a member of a cluster does not say so to others.
    MemoryNotPassedOn = "memory of a cluster not passed on",
    /// A node that forms a cluster takes no notice of members that dial it and are no peers of its own.
    StrangersUnheard = "members that dial are not heard",
    /// A node whose namesake is a member under another id founds a cluster.
    ReturningFounds = "node without its data founds",
    /// A node that is to expect data founds a cluster without it.
    DataNotExpected = "missing data not expected",
    /// A member writes into its identity that it is one before it has begun its log.
    IdentityBeforeLog = "identity written before the log",
    /// A node that has lost its disk goes on under the id that it had. Ids are drawn by who starts a node, so this one is in
    /// the simulator's host of a node.
    OldIdKept = "node without its data keeps its id",
    /// Timers go by the wall clock. The core is handed its time, so this one is in the simulator's host of a node; that
    /// the server hands over nothing but a monotonic clock is for `tests/architecture` to say.
    WallClock = "timer by wall clock",
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static PUT_BACK: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Puts a defect back for this thread, or takes it away.
    pub fn put_back(mutant: Option<Mutant>) {
        PUT_BACK.set(mutant);
    }

    /// Whether a defect is put back.
    pub fn is_on(mutant: Mutant) -> bool {
        PUT_BACK.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod switch {
    /// Whether a defect is put back: in this build, none ever is.
    pub const fn is_on(_: super::Mutant) -> bool {
        false
    }
}

pub use switch::*;
