//go:build mutants

// Package mutant plants known bugs in the production code. This is the build in which
// they can be switched on.
package mutant

import "os"

// Variable is the environment variable that names the mutant of a process.
const Variable = "PRYTANY_MUTANT"

// Present is the mutant that this process is; "" for none. Tests may set it before
// they start anything.
var Present = Name(os.Getenv(Variable))

// On reports whether this process is the mutant name.
func On(name Name) bool { return Present == name }
