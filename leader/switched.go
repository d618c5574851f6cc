package leader

import known "github.com/prytany/prytany/internal/mutant"

// switched returns what this process has switched off: nothing, but in a build with
// the tag mutants.
func switched() mutant {
	return mutant{
		noBackoff:    known.On(known.NoBackoff),
		takeOver:     known.On(known.TakesOver),
		noMute:       known.On(known.TalksAtOnce),
		fromReceipt:  known.On(known.FromReceipt),
		sealedLeases: known.On(known.SealedLease),
		releaseKeeps: known.On(known.ReleaseKeeps),
		bindsBelow:   known.On(known.BindsBelow),
		noMargin:     known.On(known.NoMargin),
		boundUnsaid:  known.On(known.AnyAnswer),
		leaseIgnored: known.On(known.LeaseIgnored),
	}
}
