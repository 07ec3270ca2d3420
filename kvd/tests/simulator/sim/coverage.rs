//! Counts of what happened: a set of runs in which a fault never hit proves nothing about that fault.

use std::fmt::{self, Display, Formatter};
use std::ops::AddAssign;

macro_rules! kinds {
    ($($group:literal: [$($kind:ident = $name:literal),* $(,)?]),* $(,)?) => {
        /// An event worth counting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($($kind),*),* }

        impl Kind {
            /// Every kind, with its group and its name in reports.
            const ALL: &[(Self, &str, &str)] = &[$($((Self::$kind, $group, $name)),*),*];
        }
    };
}

kinds! {
    "consensus": [
        Candidacy = "candidacies",
        Election = "elections won",
        LeaderDeposed = "leaders deposed",
        Truncation = "log suffixes cut off",
        Fetch = "entries read back from disk for a follower",
        TwoLeaders = "moments with two leaders",
        LostLeaderCampaign = "leaders found dead by a follower",
    ],
    "levels": [
        Upgraded = "nodes started as a newer version",
        RolledBack = "nodes started as an older version again",
        RolledBackTooLate = "older versions that do not know the level of their data",
        LevelRaised = "levels raised",
        LevelRefused = "messages with entries of a level that their receiver does not know",
    ],
    "leadership transfer": [
        LeadershipTransfer = "leadership transfers begun",
        LeadershipTransferToLagging = "leadership transfers to followers that are behind",
        LeadershipTransferToDead = "leadership transfers to nodes that are down or stand still",
        LeadershipTransferDone = "leadership transfers done",
        LeadershipTransferGivenUp = "leadership transfers given up",
        LeadershipTransferOvertaken = "leadership transfers after which another leads, or nobody",
        LeadershipTransferToLeave = "leadership transfers of leaders that are to be removed",
        LeadershipTransferRefused = "leadership transfers refused",
        LeadershipTransferInCalm = "leadership transfers where all is well",
        TimeoutNow = "campaigns at the leader's word",
        WriteDuringLeadershipTransfer = "writes refused during a leadership transfer",
    ],
    "snapshots": [
        SnapshotTaken = "snapshots taken",
        SnapshotFailed = "snapshots for which there was no space",
        SegmentRemoved = "log segments removed",
        SnapshotInstalled = "snapshots installed",
        SnapshotNoNews = "snapshots that came too late to be news",
        LogRestarted = "logs begun anew after a snapshot",
        TransferFailed = "snapshots that did not arrive",
        TransferNeedless = "snapshots that their receivers had from elsewhere",
        TransferStalled = "snapshots given up since nothing moves",
        TransferWentOn = "snapshots that went on after they stood still",
        TransferOutdated = "snapshots given up since the log follows them no more",
        TransferRefused = "snapshots refused since another is arriving",
        TransferOutlivesSender = "snapshots durable after their senders have ended or given them up",
        LateSnapshot = "snapshots held back while leaders change",
        SnapshotAtCandidate = "snapshots that arrive at a candidate",
        TransferGarbled = "pieces of snapshots garbled",
        CrashWhileSnapshotting = "crashes during a snapshot",
        StartFromSnapshot = "starts from a snapshot",
    ],
    "members": [
        MembersChanged = "changes of the members begun",
        LeaderRemoved = "leaders removed",
        ChangeRefused = "changes of the members refused",
        JointConfiguration = "joint configurations",
        NewcomerVotes = "new nodes that have become voters",
        DiskLost = "disks lost",
        LostDiskReplaced = "nodes back without their disk",
        SecondOfItsName = "nodes under the name of another",
        ToldRemoved = "nodes told that they are members no more",
        MessageOfStranger = "messages of nodes that are no members",
    ],
    "forming": [
        FoundersFixed = "decisions who founds a cluster",
        FoundersTaken = "founders that were told of the others",
        ClusterFounded = "clusters founded",
        ClusterRemembered = "nodes that remember a cluster, and have no data of it",
        ExpectsData = "starts of nodes that expect data and have none",
        AddressChanged = "starts at another address",
        IntroductionLost = "introductions that are lost on their way, or late",
        IntroductionOutdated = "introductions of nodes that have changed since",
        DialOvertaken = "attempts to dial given up for another",
        DiskLostBefore = "disks lost before there is a cluster",
        EntrantCrashed = "crashes of nodes that are part of no cluster yet",
        CrashWhileBeginning = "crashes while a member begins its log",
        Bereft = "clusters of which so much is lost that they never serve again",
        EntrantPaused = "pauses of nodes that are part of no cluster yet",
    ],
    "joining": [
        AsksToReturn = "nodes without data that ask to return",
        Returned = "nodes let in under the name of an earlier life",
        Joined = "nodes let in that join",
        SentToLeader = "questions sent on to the leader",
        AskedWithoutLeader = "questions to nodes that know no leader",
        AdmissionAnswered = "questions answered by a leader, or by nobody",
        RemovedBeforeFed = "nodes removed before they have anything of their cluster",
    ],
    "requests": [
        ChangeBegun = "changes of the members begun on request",
        ChangeSuperseded = "changes on request in whose place another entry is committed",
        ChangeOvertaken = "leaders that lead again with a change that was overtaken by another leader's",
        ChangeDone = "changes done on request",
        ChangeDoneAlready = "requests for what was so already",
        UrlsRecorded = "members whose recorded URLs are changed on request",
        ChangeRepeated = "requests for a change repeated",
        ChangeOfNobody = "requests that named no member",
        ChangeElsewhere = "requests for a change at a node that does not lead",
        DeposedAsked = "requests to a deposed leader for what was so once",
        RemovedRefused = "requests to add a node again that was removed",
        RequestRefused = "requests for a change refused",
        ChangeUnknown = "requests for a change of unknown outcome",
        ChangeWithdrawn = "requests for a change withdrawn before they began",
    ],
    "divergence": [
        StatesCompared = "states compared with those of another node",
        DivergenceFound = "planted differences found",
    ],
    "network": [
        MessageLost = "messages lost",
        MessageDoubled = "messages doubled",
        MessageReplayed = "messages of the past replayed",
        ReplayedToNewLife = "messages replayed to a node that has restarted",
        ReadAnsweredLate = "answers to earlier questions for a read index",
        AcknowledgedLate = "acknowledgements replayed to a node that leads again",
        MessageOvertaken = "messages overtaken by a later one",
        MessageGarbled = "messages garbled",
        MessageLate = "messages later than an election",
        Split = "splits in two",
        MinorityOfMembers = "minorities cut off while members change",
        Isolation = "nodes cut off from all",
        OneWayCut = "links cut in one direction",
        Bridge = "halves joined by one node alone",
        Ring = "rings",
        FlappingLink = "flapping links",
        ClogLink = "clogged links",
        FalsePeerLost = "broken links taken for dead peers",
        PeerLost = "dead peers noticed",
        ClientsCutOff = "nodes cut off from clients",
    ],
    "lanes": [
        BulkOpened = "bulk lanes opened",
        LostWithStream = "streams that ended with frames on their way",
        FramesOfTheDead = "streams with frames on their way whose sender is dead",
        BulkGivenUp = "bulk streams given up since nothing moves",
        PromptGivenUp = "prompt streams given up since nothing moves",
        BulkStalled = "bulk lanes reported as stalled",
        MadeWay = "leaders that make way since they get no entries through",
        BulkLaneDead = "dead bulk lanes beside prompt ones that work",
        PromptLaneDead = "dead prompt lanes beside bulk ones that work",
        BothLanesDead = "links with both lanes dead",
        LaneBroken = "lanes broken",
        LaneSlow = "slow lanes",
        SlowLinks = "runs over slow links",
        FrameSlow = "frames that take longer than an election",
        LanesDeadForEver = "nodes whose bulk lanes are dead for ever",
    ],
    "process": [
        Kill = "processes killed",
        PowerCut = "power cuts",
        PowerCutOfAll = "power cuts of all nodes",
        CrashWhileWriting = "crashes during a write",
        CrashWhileStarting = "crashes during a start",
        CrashWhileSealing = "crashes while a log is sealed",
        CrashWhileMakingSpare = "crashes while a segment is made",
        NewLeaderStruck = "leaders struck when just elected",
        Restart = "starts on what an earlier life left",
        Pause = "pauses",
        LongPause = "pauses longer than an election",
        PauseOfAll = "pauses of all processes at once",
    ],
    "disk": [
        WriteLost = "unfinished writes lost",
        WriteKept = "unfinished writes kept",
        TornTail = "torn tails cut off",
        DiskError = "calls to the disk that failed",
        DiskFull = "writes for which there was no space",
        DiskErrorWhileStarting = "starts on a disk that fails",
        SlowDisk = "writes to a slow disk",
        StuckDisk = "writes held up by a stuck disk",
        StuckDiskLeft = "leaders that transfer leadership since their disk is stuck",
        BitFlip = "flipped bits",
        StrayWrite = "sectors written over by others",
        RefusedDamage = "damaged nodes that refused to start",
        HarmlessDamage = "damaged nodes that started undamaged",
        FailedStart = "starts that failed for now",
        Segment = "log segments begun",
        Seal = "idle logs sealed",
    ],
    "clock": [
        IdleLeaderGone = "idle leaders that end",
        IdleLeaderPaused = "idle leaders that stand still",
        IdleAllGone = "idle clusters of which all nodes end",
        FastClock = "clocks fast by a tenth or more",
        SlowClock = "clocks slow by a tenth or more",
        WallClockJump = "jumps of the wall clock",
    ],
    "clients": [
        Write = "writes acknowledged",
        ConditionFailed = "conditions that did not hold",
        WriteRetried = "writes repeated under their request id",
        RepeatAnswered = "repeats answered from memory",
        WriteUnknown = "writes of unknown outcome",
        WriteRefused = "writes refused",
        Superseded = "writes superseded by another leader's",
        Redirect = "redirects",
        LeaderRead = "linearizable reads at a leader",
        FollowerRead = "linearizable reads at a follower",
        StaleRead = "stale reads",
        SessionsFull = "writes refused since too many clients are remembered",
        ReplyDropped = "repeats whose reply is remembered no more",
        AppliedAgain = "writes applied again after their client was forgotten",
        ReadFailed = "reads not answered",
        ReadWhileTwoLead = "linearizable reads answered by a leader while two lead",
    ],
    "data": [
        TxnThen = "transactions whose compares held",
        TxnElse = "transactions whose compares did not hold",
        ReadTxn = "transactions that only read",
        RangeDeleted = "ranges of several keys deleted",
        KeyRead = "keys read",
        FirstPage = "pages of the present",
        NextPage = "further pages of what is still the present",
        PageOfThePast = "pages of the past",
        PastRead = "keys read in the past",
        HistoryRead = "histories of keys read",
        PastForgotten = "reads of a forgotten past",
        Compacted = "pasts forgotten on request",
        BelowLevel = "requests of a level that the cluster has not reached",
    ],
    "watchers": [
        WatchChange = "changes told",
        WatchElsewhere = "watchers that go on at another node",
        WatchAhead = "watchers ahead of their node",
        WatchAfterSnapshot = "watchers that go on at a node that began with a snapshot",
        WatchCompacted = "watchers that begin anew since their place is forgotten",
        Refounded = "new clusters made from the state of an old one",
    ],
    "leases": [
        LeaseGranted = "leases granted",
        LeaseExists = "leases that exist already",
        LeaseNotFound = "requests for a lease that is gone",
        LeaseRevoked = "leases revoked, with keys",
        LeaseRead = "leases looked at",
        KeptAlive = "leases kept alive",
        KeptAliveTooLate = "leases kept alive too late",
        LeaseEnded = "leases ended because their time was over",
        LeaseEndedWithKeys = "of these, with keys",
    ],
    "locks": [
        LockTaken = "locks taken",
        PlaceTaken = "places in the queue of a lock taken",
        LockHeld = "attempts to take a lock that is held",
        LockLost = "locks lost unnoticed",
        Unlocked = "locks given up",
        LockRead = "locks looked at",
    ],
    "endings": [
        QuietRun = "runs in which nothing goes wrong until the end",
        AllServe = "runs in which all nodes recover",
        MajorityServes = "runs in which only a majority recovers",
        PartialServes = "runs that end with some links cut in one direction",
        HinderedServe = "runs that end with a minority hindered",
        LeaderUnheard = "idle leaders that a few no longer hear",
        StuckForEver = "disks stuck for ever",
        FullForEver = "disks full for ever",
        PausedForEver = "processes that stand still for ever",
    ],
}

/// Counts of everything.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    counts: [u64; Kind::ALL.len()],
}

impl Default for Coverage {
    fn default() -> Self {
        Self { counts: [0; Kind::ALL.len()] }
    }
}

impl Coverage {
    pub(crate) fn count(&mut self, kind: Kind) {
        self.counts[kind as usize] += 1;
    }

    pub(crate) fn add(&mut self, kind: Kind, times: u64) {
        self.counts[kind as usize] += times;
    }

    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// Returns the names of all kinds that never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let missing = Kind::ALL.iter().filter(|(kind, ..)| self.of(*kind) == 0);
        missing.map(|(_, _, name)| *name).collect()
    }
}

impl AddAssign<&Self> for Coverage {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }
}

impl Display for Coverage {
    /// Writes a line for each kind, by group.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut last_group = "";
        for (kind, group, name) in Kind::ALL {
            let shown = if *group == last_group { "" } else { group };
            writeln!(f, "{shown:<10} {:>12}  {name}", self.of(*kind))?;
            last_group = group;
        }
        Ok(())
    }
}
