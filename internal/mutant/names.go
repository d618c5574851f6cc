package mutant

// A Name names a known bug. It is a string, and not a number, so that a branch which
// the compiler has not left out shows as bytes in the binary.
type Name string

// The bugs of the decree, in package synod.
const (
	NoPromise    Name = "mutant:no-promise"    // an acceptor does not raise its promise
	VotesBelow   Name = "mutant:votes-below"   // an acceptor votes below its promise
	IgnoresVotes Name = "mutant:ignores-votes" // a proposer proposes its wish, whatever was voted for
	LowestVote   Name = "mutant:lowest-vote"   // of the votes the lowest counts, not the highest
	HalfQuorum   Name = "mutant:half-quorum"   // half of the acceptors are a quorum
	CountsTwice  Name = "mutant:counts-twice"  // an acceptor that answers twice is two
	NoMember     Name = "mutant:no-member"     // ballots are compared by round alone
	OldPromise   Name = "mutant:old-promise"   // promises of other ballots count
	MixesBallots Name = "mutant:mixes-ballots" // votes of different ballots add up
)

// The bugs of one member of a log, in package paxos.
const (
	PromiseUnsaved   Name = "mutant:promise-unsaved"    // a promise is told and not written
	VoteEarly        Name = "mutant:vote-early"         // a vote is told before it is written
	ForgetsOwnBallot Name = "mutant:forgets-own-ballot" // a restart forgets the ballot that was promised to itself
	LeavesHoles      Name = "mutant:leaves-holes"       // a new leader leaves holes between inherited slots
	SkipsHoles       Name = "mutant:skips-holes"        // an acceptor says it has voted up to a slot though there is a hole below
	TrustsWatermark  Name = "mutant:trusts-watermark"   // what is said to be chosen is, whatever this member has voted for
	EarlyMembership  Name = "mutant:early-membership"   // a configuration is in force when it is proposed
	AfterStop        Name = "mutant:after-stop"         // commands follow the stop-sign in its configuration
	ForgottenVoter   Name = "mutant:forgotten-voter"    // who has forgotten its votes in a configuration votes in it again
	LocalReads       Name = "mutant:local-reads"        // a leader asks nobody before it answers a read
	SettlesEarly     Name = "mutant:settles-early"      // a value that the own vote helps to choose counts as chosen before that is written
	ReadsSurvive     Name = "mutant:reads-survive"      // a read outlives the leadership in which it got its index
)

// The bugs of the loop and of leaders, in packages paxos/replica and leader.
const (
	SnapshotBehind Name = "mutant:snapshot-behind" // a snapshot says it is of the slot before
	CutsFirst      Name = "mutant:cuts-first"      // the log is cut though the snapshot is not written
	FromReceipt    Name = "mutant:from-receipt"    // a leader counts a lease from the answer on
	NoMargin       Name = "mutant:no-margin"       // a leader counts a lease as long as the acceptor does
	AnyAnswer      Name = "mutant:any-answer"      // a lease rests on any answer, whether the acceptor is bound or not
	LeaseIgnored   Name = "mutant:lease-ignored"   // an acceptor that is bound to a leader promises to another
	TalksAtOnce    Name = "mutant:talks-at-once"   // a new process promises though the one before may be bound
	TakesOver      Name = "mutant:takes-over"      // who does not hear the leader claims, whatever neighbours say
	NoBackoff      Name = "mutant:no-backoff"      // a claim that failed is repeated at once
	SealedLease    Name = "mutant:sealed-lease"    // a leader reads by its lease while its configuration ends
	BindsBelow     Name = "mutant:binds-below"     // an acceptor is bound by a ballot below its promise
	ReleaseKeeps   Name = "mutant:release-keeps"   // a leader that has handed over still leads
)

// The bugs of the lock machine, in package locks and below it.
const (
	OwnCounter         Name = "mutant:own-counter"          // fences come from a counter that falls
	FenceReused        Name = "mutant:fence-reused"         // a session gets its old fence when it acquires again
	DeadWaits          Name = "mutant:dead-waits"           // a session that is over keeps its places in queues
	ExpiryKeepsLock    Name = "mutant:expiry-keeps-lock"    // expiry ends the session and not its grants
	ExpiryKeepsSession Name = "mutant:expiry-keeps-session" // expiry ends the grants and not the session
	ShortTTL           Name = "mutant:short-ttl"            // leases are over when a leader begins
	AnyFence           Name = "mutant:any-fence"            // a release ends the grant, whatever its fence
	GrantsTwice        Name = "mutant:grants-twice"         // who acquires a semaphore again gets one more slot
	Revives            Name = "mutant:revives"              // a session that is over can be opened again
	LowFences          Name = "mutant:low-fences"           // a fence register takes a lower fence
	NoAnswers          Name = "mutant:no-answers"           // snapshots leave out the answers to requests
	ResumesAtSame      Name = "mutant:resumes-at-same"      // a watch tells the revision again after which it resumes
	SwapsEvents        Name = "mutant:swaps-events"         // the events of one change are told in another order
	LosesEvents        Name = "mutant:loses-events"         // a watch that is slow is told the newest change only
	StartsAtHead       Name = "mutant:starts-at-head"       // a watch from before what is kept begins without a word
)

// The bugs at the disk, the network and the edges.
const (
	TwoWrites     Name = "mutant:two-writes"     // votes and header go to the disk in two writes
	HeadFirst     Name = "mutant:head-first"     // a snapshot counts though its bytes were not synced
	SkipsSync     Name = "mutant:skips-sync"     // each 100th write is not synced
	SyncRetried   Name = "mutant:sync-retried"   // a failed sync is tried again
	NoFrameSum    Name = "mutant:no-frame-sum"   // the checksum of a frame is not looked at
	NoRecordSum   Name = "mutant:no-record-sum"  // the checksum of a record is not looked at
	SameIdentity  Name = "mutant:same-identity"  // a directory that was wiped gets its old identity
	RolledBack    Name = "mutant:rolled-back"    // nobody looks whether a process has been seen further on
	AnyCluster    Name = "mutant:any-cluster"    // a node of another cluster may talk
	NewKeys       Name = "mutant:new-keys"       // the client gives each attempt a key of its own
	AnyOrigin     Name = "mutant:any-origin"     // web pages of others may change something
	AnyHost       Name = "mutant:any-host"       // a node answers to any name
	NoBodyLimit   Name = "mutant:no-body-limit"  // a body may have any length
	StaleChange   Name = "mutant:stale-change"   // a change of members that was meant for an earlier configuration is begun
	ForgetsRemove Name = "mutant:forgets-remove" // a node that was removed may be a member again
)
