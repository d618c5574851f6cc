package main

import (
	"time"

	"github.com/prytany/prytany/internal/mutant"
)

// A killer is a test that must fail when the code is a mutant.
type killer struct {
	layer string // for people
	pkg   string
	run   string   // -test.run
	args  []string // of the test
	seeds int      // not 0: it takes -from and -seeds, and stops at the first seed that fails
	limit time.Duration
	tags  string // of the build; "" means mutants
}

// A kill is one killer's part in a row.
type kill struct {
	by  *killer
	why string // a regular expression: what the test says, if it is for the right reason
	// told: the test itself switches the bug on, and passes if it is noticed.
	told bool
}

// A row is one bug.
type row struct {
	number string // that of the plan; C1 to C4 weaken the checkers, E… are extra
	name   mutant.Name
	what   string // for rows without a mutant
	kills  []kill
	// replaced says what stood in the plan under this number, and why it cannot be here.
	replaced string
}

// The killers. Limits are for a machine that does much else.
var (
	exhaustive = &killer{layer: "exhaustive search", pkg: "synod", run: "^TestExhaustive$", limit: 5 * time.Minute}
	search     = &killer{layer: "exhaustive search, its own mutants", pkg: "synod", run: "^TestMutants$/leaves_before_it_is_durable", limit: 2 * time.Minute}
	worlds     = &killer{layer: "paxos, random worlds", pkg: "paxos", run: "^TestRandom$", args: []string{"-test.failfast", "-seeds=40"}, limit: 5 * time.Minute}
	stories    = &killer{layer: "leader, stories and breaches", pkg: "leader", run: "^(TestStories|TestRegressions|TestBreaches)$", args: []string{"-test.failfast"}, limit: 10 * time.Minute}

	counts = &killer{layer: "leader, what a lease needs", pkg: "leader", run: "^(TestQuiets|TestLeaseIsCountedFromSent)$", limit: 2 * time.Minute}

	swarm     = &killer{layer: "simulator", pkg: "internal/sim", run: "^TestBoard$", args: []string{"-board=swarm"}, seeds: 40, limit: 10 * time.Minute}
	everyKind = &killer{layer: "simulator, clients do everything", pkg: "internal/sim", run: "^TestBoard$", args: []string{"-board=all"}, seeds: 10, limit: 10 * time.Minute}
	bereft    = &killer{layer: "simulator, a leader that all others give up at once", pkg: "internal/sim", run: "^TestBoard$", args: []string{"-board=forsaken"}, seeds: 8, limit: 10 * time.Minute}
	rests     = &killer{layer: "simulator, staged leases", pkg: "internal/sim", run: "^TestLeasesRestOnSomething$", limit: 5 * time.Minute}
	simStory  = &killer{layer: "simulator, stories", pkg: "internal/sim", run: "^TestStories$/^one_link_cut", limit: 10 * time.Minute}
	amnesia   = &killer{layer: "simulator, lost disks", pkg: "internal/sim", run: "^TestAmnesiaIsCaught$", limit: 10 * time.Minute}
	rollback  = &killer{layer: "simulator, rolled-back disks", pkg: "internal/sim", run: "^TestRollbackIsCaught$", limit: 10 * time.Minute}
	revival   = &killer{layer: "simulator, dropped groups", pkg: "internal/sim", run: "^TestRevivalIsCaught$", limit: 10 * time.Minute}
	lateReads = &killer{layer: "simulator, its own mutants", pkg: "internal/sim", run: "^TestReadsAndReleasesAreCaught$", limit: 10 * time.Minute}

	rejoin = &killer{layer: "host, members that come back", pkg: "paxos/replica", run: "^TestForgottenVotesDoNotCount$", limit: 2 * time.Minute}

	model    = &killer{layer: "lock model (rapid)", pkg: "locks", run: "^TestMachineIsLikeTheModel$", args: []string{"-rapid.seed=1", "-rapid.nofailfile", "-rapid.shrinktime=2s"}, limit: 5 * time.Minute}
	lessor   = &killer{layer: "lock machine, leases", pkg: "locks", run: "^Test(LeaseRuns|RenewalNever|MassExpiry)", limit: 2 * time.Minute}
	watching = &killer{layer: "service, watches", pkg: "locks/service", run: "^Test(Watch|Resume|Quiet|Streams)", limit: 2 * time.Minute}

	walCuts  = &killer{layer: "append-only log, power cuts", pkg: "internal/storage/wal", run: "^Test(APowerCut|WhatIsAcknowledgedIsSynced)$", limit: 5 * time.Minute}
	walFails = &killer{layer: "append-only log, failed syncs", pkg: "internal/storage/wal", run: "^TestAFailedSync", limit: 2 * time.Minute}
	walFlips = &killer{layer: "append-only log, flipped bits", pkg: "internal/storage/wal", run: "^TestTheLastFrameIsNotDropped$", limit: 2 * time.Minute}
	atomic   = &killer{layer: "storage, kills within a save", pkg: "internal/storage", run: "^TestAKillWithinASave$", limit: 2 * time.Minute}
	snapCuts = &killer{layer: "storage, power cuts within a snapshot", pkg: "internal/storage", run: "^TestAKillOrAPowerCutWithinASnapshot$", limit: 2 * time.Minute}
	records  = &killer{layer: "codec", pkg: "internal/codec", run: "^TestADamagedRecordIsNoticed$", limit: time.Minute}
	newDirs  = &killer{layer: "storage, new directories", pkg: "internal/storage", run: "^TestIdentity$", limit: time.Minute}

	who       = &killer{layer: "roster", pkg: "internal/roster", run: "^Test(WhoIsAdmitted|ADiskAgainst)", limit: time.Minute}
	heard     = &killer{layer: "transport, rolled-back peers", pkg: "internal/transport", run: "^TestARolledBackProcessIsNotHeard$/^an_earlier", args: []string{"-test.failfast"}, limit: 2 * time.Minute}
	strangers = &killer{layer: "transport, strangers", pkg: "internal/transport", run: "^TestStrangersAreRefused$", limit: 2 * time.Minute}
	requests  = &killer{layer: "client, lost replies", pkg: "client", run: "^Test(LostRepliesHaveOneEffect|ChangesAreRepeatedSafely)$", limit: 2 * time.Minute}
	refused   = &killer{layer: "httpapi, refusals", pkg: "httpapi", run: "^Test(Refused|Hosts)$", limit: 2 * time.Minute}
	directory = &killer{layer: "directory", pkg: "internal/directory", run: "^Test(Refusals|RemovedNodes|OfTwoChanges)", limit: 2 * time.Minute}

	checkers = &killer{layer: "checkers' own tests", pkg: "jepsen/check", run: "^TestSabotageIsNoticed$", limit: 5 * time.Minute, tags: "sabotage"}
	guards   = &killer{layer: "guards", pkg: "jepsen/check", run: "^TestNemesisThatDoesNothing$", limit: 2 * time.Minute}
)

const (
	agreement = `two values are chosen|no quorum justifies|it has (told|forgotten|proposed|voted)|went back`
	model1    = `\[rapid\] failed after (.|\n)*model`
	twoLeases = `commits while another node had a lease`
)
