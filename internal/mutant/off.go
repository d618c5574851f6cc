//go:build !mutants

// Package mutant plants known bugs in the production code, so that the board can show
// that the tests find them. Each has a name, and one line at the place of the rule that
// it breaks:
//
//	if b.Less(a.Promised) && !mutant.On(mutant.VotesBelow) {
//
// Without the build tag mutants [On] is false whatever the name, the compiler leaves
// out all that depends on it, and no name is in the binary; a test looks. With the tag
// a process is the mutant that PRYTANY_MUTANT names when it starts, or none.
//
// synod, paxos and leader stay pure: they import only this package, and in the build
// without the tag there is nothing in it but constants. Package board runs them all.
package mutant

// On reports whether this process is the mutant name.
func On(Name) bool { return false }
